"""Training of diffusion transformers. Each public name is loaded when it is asked for, since some start torch.

The loop itself is `trainables.train.train`: its module's name leaves no room for it here.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainables.assignment import Assignment
    from trainables.config.evaluation import EvaluationConfig
    from trainables.config.trial import TrialConfig
    from trainables.data import describe, open_images
    from trainables.networks.noise_time import NoiseTime, reversed_time

__all__ = [
    "Assignment",
    "EvaluationConfig",
    "NoiseTime",
    "TrialConfig",
    "describe",
    "open_images",
    "reversed_time",
]

_MODULES = {
    "Assignment": "trainables.assignment",
    "EvaluationConfig": "trainables.config.evaluation",
    "NoiseTime": "trainables.networks.noise_time",
    "TrialConfig": "trainables.config.trial",
    "describe": "trainables.data",
    "open_images": "trainables.data",
    "reversed_time": "trainables.networks.noise_time",
}


def __getattr__(name: str) -> Any:
    """A public name from its module (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
