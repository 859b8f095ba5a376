"""What terms of the loss that read a network's tokens should find, from the clean images of a batch and their classes."""

from collections.abc import Callable

from torch import Tensor

from trainables.config.trial import TrialConfig

Truth = Callable[[Tensor, Tensor], Tensor]
"""Of uint8 images [B, C, H, W] as they are trained on, mirrored or not, and their classes int64 [B], none of them dropped."""


def truths_of(trial: TrialConfig) -> dict[str, Truth]:
    """By the term's kind."""
    return {term.kind: TRUTHS[term.kind](trial) for term in trial.diffusion.tapped}


def _classes(_: TrialConfig) -> Truth:
    return lambda images, classes: classes


TRUTHS: dict[str, Callable[[TrialConfig], Truth]] = {
    "classifier": _classes,
}
"""By the kind of a term that reads tokens."""
