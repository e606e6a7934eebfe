"""Token transmission: multimodal users send as many tokens as a controller of bandwidth, power and lengths grants."""

from learning.schemes.token_fusion.scheme import TokenFusion

__all__ = ["TokenFusion"]
