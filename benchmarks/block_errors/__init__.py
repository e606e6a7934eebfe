"""Block error rates of 5G NR codes over white Gaussian noise: simulation, and fit of the curves in netsim."""
