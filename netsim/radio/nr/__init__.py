"""5G NR between a signal-to-noise ratio and bits: modulation and coding, block errors, link adaptation, HARQ."""
