"""Triton's interpreter computes the kernels of these tests, on the CPU. It must be chosen before Triton is first imported."""

import os
import sys

if "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
