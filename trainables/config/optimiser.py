"""The optimiser of a trial: its method, its learning rate over the images, and what limits an update."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from trainables.config.fields import (
    JOINED_LATER,
    Fraction,
    Frozen,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    without,
)

MUON_VERSION = 2
"""Raised in the commit that changes the numbers of trials with Muon, and of no others."""


class Constant(Frozen):
    """The learning rate stays as it is after the warm-up (JiT)."""

    kind: Literal["constant"] = "constant"


class Cosine(Frozen):
    """After the warm-up, half a cosine from the full rate down to `final` of it."""

    kind: Literal["cosine"] = "cosine"
    total_images: PositiveInt | None = None
    """Images at which it ends; None in a sweep file: the trial's own budget."""
    final: Fraction = 0.0
    """Share of the rate that is left at the end."""


Schedule = Annotated[Constant | Cosine, Field(discriminator="kind")]


class WarmupEpochs(Frozen):
    """A warm-up of so many passes over the training images (JiT: 5)."""

    kind: Literal["epochs"] = "epochs"
    epochs: Annotated[PositiveFloat, Field(le=1e6)]
    """Passes over the training split; a part of one counts as its part."""


class WarmupShare(Frozen):
    """A warm-up that takes a share of the trial's budget. Another budget is then another trial."""

    kind: Literal["share"] = "share"
    share: Annotated[float, Field(gt=0, lt=1, strict=True)]
    """Of the trial's images."""


def _form_of_warmup(value: Any) -> str | None:
    if isinstance(value, dict):
        return str(value.get("kind"))
    return "images" if isinstance(value, int | float) else getattr(value, "kind", None)


Warmup = Annotated[
    Annotated[NonNegativeInt, Tag("images")] | Annotated[WarmupEpochs, Tag("epochs")] | Annotated[WarmupShare, Tag("share")],
    Discriminator(
        _form_of_warmup,
        custom_error_type="warmup_form",
        custom_error_message="must be a number of images, or a mapping with `kind` epochs or share",
    ),
]


class OptimiserConfig(Frozen):
    """AdamW, or Muon with AdamW; biases and one-dimensional parameters are not decayed."""

    method: Annotated[Literal["adamw", "muon"], JOINED_LATER] = "adamw"
    """muon: Muon for the blocks' and the modulation's matrices, q, k and v each by itself; AdamW for the rest.
    Muon's updates are scaled by 0.2 sqrt(longer side), to AdamW's size, so that both have one rate at every width."""
    momentum: Annotated[Fraction, JOINED_LATER] = 0.95
    """Share of the gradient's running mean that Muon keeps."""
    learning_rate: PositiveFloat = 2e-4
    """After the warm-up; of 256 images where `scale_with_batch` is set."""
    scale_with_batch: bool = False
    """The rate is learning_rate x batch_size / 256, as JiT's `blr`."""
    schedule: Schedule = Constant()
    """The learning rate after the warm-up."""
    beta1: Fraction = 0.9
    """Share of the gradient's running mean that an update keeps."""
    beta2: Fraction = 0.95
    """Share of the squared gradient's running mean that an update keeps."""
    weight_decay: Annotated[NonNegativeFloat, Field(le=1000)] = 0.0
    """Decoupled: an update takes learning rate x this, as a share, off every weight."""
    warmup_images: Warmup = 0
    """Images over which the learning rate grows linearly from zero; in a sweep file also epochs, or a share of the budget."""
    grad_clip: Annotated[PositiveFloat, Field(ge=1e-9, le=1e9)] | None = None
    """Largest norm of an update's whole gradient; a longer one is scaled down to it."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Muon alone reads `momentum`, and has a version of its own."""
        return without(content, {"momentum"}) if self.method == "adamw" else {**content, "muon": MUON_VERSION}

    @property
    def warmup(self) -> int:
        """A trial's warm-up in images."""
        assert isinstance(self.warmup_images, int), "a trial's warm-up is in images"
        return self.warmup_images
