"""The simulated world: seconds, bits, FLOPs, joules and metres of a wireless edge. It never sees a tensor."""
