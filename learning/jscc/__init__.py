"""Joint source-channel coding of images: learned transforms, the rateless code behind them, and their training.

[Qin et al., Rateless DeepJSCC for broadcast channels, arXiv 2603.21616; transforms with side information follow Ballé
et al., ICLR 2018]
"""
