"""Triton's interpreter computes the kernels of these tests, on the CPU. It must be chosen before Triton is first imported."""

import os
import sys

assert "triton" not in sys.modules or os.environ.get("TRITON_INTERPRET") == "1"
os.environ["TRITON_INTERPRET"] = "1"
