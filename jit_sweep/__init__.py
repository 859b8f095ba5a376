"""Sweeps of diffusion transformers on Ray. Each public name is loaded when it is asked for, since some start torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jit_sweep.errors import UserError
    from jit_sweep.models.model_folder import load_network
    from jit_sweep.report.frames import open_sweep

__all__ = ["UserError", "load_network", "open_sweep"]

_MODULES = {
    "UserError": "jit_sweep.errors",
    "load_network": "jit_sweep.models.model_folder",
    "open_sweep": "jit_sweep.report.frames",
}


def __getattr__(name: str) -> Any:
    """A public name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
