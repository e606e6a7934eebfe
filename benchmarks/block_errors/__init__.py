"""Block errors of 5G NR codes over white noise: how they were counted, and the curves that netsim ships."""
