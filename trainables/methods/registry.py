"""The methods by name. A new one is a file beside this, a variant in `trainables.config.method` and a line here."""

from trainables.config.trial import TrialConfig
from trainables.methods.autoencoder import Reconstruction
from trainables.methods.denoiser import Denoiser
from trainables.methods.method import Method

METHODS: dict[str, Method] = {"denoiser": Denoiser(), "autoencoder": Reconstruction()}
"""By the kind of a trial's `method`."""


def method_of(trial: TrialConfig) -> Method:
    """That of a trial."""
    return METHODS[trial.method.kind]
