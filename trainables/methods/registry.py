"""The methods by name. A new one is a file beside this, a variant in `trainables.config.method` and a line here."""

from trainables.config.trial import TrialConfig
from trainables.methods.autoencoder import Reconstruction
from trainables.methods.classifier import Classification
from trainables.methods.denoiser import Denoiser
from trainables.methods.encoder_pretraining import EncoderPretraining
from trainables.methods.masked_tokens import MaskedTokens
from trainables.methods.method import Method, Training

DRAWING: dict[str, Method] = {
    "denoiser": Denoiser(),
    "autoencoder": Reconstruction(),
    "masked_tokens": MaskedTokens(),
}
"""By the kind of a trial's `method`: those by which samples are drawn."""
METHODS: dict[str, Training] = {
    **DRAWING,
    "classifier": Classification(),
    "encoder_pretraining": EncoderPretraining(),
}
"""All of them."""


def training_of(trial: TrialConfig) -> Training:
    """That of a trial."""
    return METHODS[trial.method.kind]


def method_of(trial: TrialConfig) -> Method:
    """That of a trial of which samples are drawn (`TrialConfig.draws`)."""
    return DRAWING[trial.method.kind]
