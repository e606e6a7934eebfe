"""Matrix products whose bits do not depend on where in memory their operands begin.

Intel's library, which torch uses on x86, rounds differently for matrices that are aligned differently. Within a stack
that depends on a matrix's place, and so on its group, unless the library is configured to be reproducible. It is
configured by an environment variable that it reads before its first product ("Conditional Numerical Reproducibility" in
the developer guide of oneMKL), so this must be imported before anything is computed.
"""

import os

import torch

VARIABLE = "MKL_CBWR"

os.environ.setdefault(VARIABLE, "AVX2" if "AVX" in torch.backends.cpu.get_cpu_capability() else "COMPATIBLE")
