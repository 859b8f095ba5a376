"""Triton's interpreter computes the kernels of these tests, on the CPU. It must be chosen before Triton is first imported."""

import os
import sys
from importlib.util import find_spec

if "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
collect_ignore_glob = [] if find_spec("triton") else ["test_*.py"]
"""Triton has no wheel for some machines."""
