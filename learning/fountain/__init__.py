"""Rateless codes on the physical layer: LT codes, belief propagation, and density evolution.

Luby, LT codes, FOCS 2002; Shokrollahi, Raptor codes, IEEE Transactions on Information Theory 52(6), 2006; Etesami and
Shokrollahi, Raptor codes on binary memoryless symmetric channels, the same 52(5), 2006.

Conventions of this package: an LT code has k input bits and an unlimited number of coded symbols, each the exclusive or
(XOR) of its neighbours; LLR is ln p(0)/p(1), and the decoder's bit is 1 where it is negative; a degree distribution is
a tensor of shape (D,) whose element d - 1 is the probability of degree d.
"""
