"""What a trial holds, and what follows from it: the shapes that its network sees, and the kind that it is of."""

from typing import Any, NamedTuple, Self

from pydantic import model_validator

from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.average import RAW, EmaConfig
from trainables.config.fields import (
    Frozen,
    NonNegativeInt,
    PositiveInt,
    Ruled,
    without,
)
from trainables.config.method import (
    AutoencoderMethod,
    ClassifierMethod,
    DenoiserMethod,
    EncoderPretrainingMethod,
    MaskedTokensMethod,
)
from trainables.config.objective import AuxiliaryTerm, ClassifierTerm, TeacherConfig
from trainables.config.recipe import Device, Parent, Precision, Recipe, default_precision
from trainables.config.space import LatentSpace


class DataConfig(Frozen):
    """The training images, by content."""

    digest: str
    """Fingerprint of the images, labels and held-out list."""
    image_size: PositiveInt
    """Height and width in pixels."""
    channels: PositiveInt = 3
    num_classes: PositiveInt
    """1 means an unconditional model."""
    flip: bool = True
    """Mirror each image left to right with probability one half, as the official JiT trainer does."""


class Canvas(NamedTuple):
    """What a network's patches are of."""

    channels: int
    side: int
    """Pixels along the image, or places along its code."""


class TrialFields(Ruled, Recipe):
    """Everything that decides a trial's numbers, before the rules that hold between it (`TrialConfig`)."""

    data: DataConfig
    parent: Parent | None = None
    """What the weights start from: no stage of a sweep, but the trial itself; null: the seed."""
    seed: NonNegativeInt = 0
    device: Device = "cpu"
    precision: Precision = "fp32"
    """bf16: autocast around the network; weights and optimiser stay fp32. Left out: bf16 on a GPU, fp32 on a CPU."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """An autoencoder knows no noise and no class; a classifier's times and noise are all that it knows of `diffusion`, an
        encoder's pre-training knows the noise, and masked tokens the share of dropped classes."""
        read = {
            "classifier": ("noise_scale", "t_sampling"),
            "masked_tokens": ("label_drop",),
            "encoder_pretraining": ("noise_scale",),
        }
        if self.method.kind == "autoencoder":
            return without(content, {"diffusion"})
        if self.method.kind in read:
            return {**content, "diffusion": {name: content["diffusion"][name] for name in read[self.method.kind]}}
        return content

    @model_validator(mode="before")
    @classmethod
    def precision_follows_the_device(cls, given: Any) -> Any:
        """By what the trial says it runs on, never by the machine that reads it: a trial has one id everywhere."""
        if isinstance(given, dict) and given.get("precision") is None:
            return {**given, "precision": default_precision(given.get("device", "cpu"))}
        return given

    @property
    def rung_weights(self) -> str:
        """The weights that stand at the rungs: the first average, or the weights themselves."""
        return self.ema[0].name if self.ema else RAW

    @property
    def own_averages(self) -> tuple[EmaConfig, ...]:
        """Averages that its method keeps beside those of `ema`, for its loss alone."""
        return (self.method.target,) if isinstance(self.method, EncoderPretrainingMethod) else ()

    @property
    def averages(self) -> tuple[EmaConfig, ...]:
        """All that an update goes on with."""
        return (*self.ema, *self.own_averages)

    @property
    def grid(self) -> int:
        """Patches along one side; pixels, where the trunk sees no patches."""
        return self.canvas.side // self.model.patch

    @property
    def canvas(self) -> Canvas:
        """What patches are of: the image, or its code."""
        data, space = self.data, self.space
        if not isinstance(space, LatentSpace) or space.trunk is None:
            return Canvas(data.channels, data.image_size)
        return Canvas(space.trunk.code_channels, data.image_size >> space.trunk.halvings)

    @property
    def grids(self) -> tuple[int, ...]:
        """Patches along one side in each stage of its path."""
        return tuple(side // self.model.patch_size for side in self.diffusion.path.sides(self.canvas.side))

    @property
    def stage_views(self) -> tuple[Self, ...]:
        """The trial as each stage of its path has it: with images of the stage's size."""
        sides = self.diffusion.path.sides(self.data.image_size)
        if len(sides) == 1:
            return (self,)
        return tuple(self.model_copy(update={"data": self.data.model_copy(update={"image_size": side})}) for side in sides)

    @property
    def channels(self) -> int:
        """Of what the network sees: the canvas's, or the dimensions that they are lifted to."""
        return self.diffusion.dimensions or self.canvas.channels

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the network sees: the image, or its lifted patches, a pixel each."""
        side = self.grid * self.seen_patch
        return (self.channels, side, side)

    @property
    def canvas_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the image, or of its code."""
        return (self.canvas.channels, self.canvas.side, self.canvas.side)

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what noise is drawn for: all that the network sees, or an autoencoder's code; repeats,
        tokens and their numbers where the head draws tokens."""
        trunk = self.model.trunk
        if isinstance(self.method, MaskedTokensMethod):
            return (self.method.head_repeats, self.grid**2, self.token_dim)
        if not isinstance(trunk, AutoencoderTrunk):
            return self.shape
        side = self.data.image_size >> trunk.halvings
        return (trunk.code_channels, side, side)

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise: a code's and a token's is scaled by nothing."""
        return 1.0 if isinstance(self.method, (AutoencoderMethod, MaskedTokensMethod)) else self.diffusion.noise_scale

    @property
    def error_kind(self) -> str:
        """What the error of a network alone is of, its method, space or path: of two kinds they do not compare."""
        if not isinstance(self.method, DenoiserMethod):
            return self.method.kind
        return self.diffusion.path.kind if self.space.kind == "pixels" else self.space.kind

    @property
    def draws(self) -> bool:
        """Whether samples are drawn of it."""
        return not isinstance(self.method, (ClassifierMethod, EncoderPretrainingMethod))

    @property
    def auxiliary(self) -> tuple[AuxiliaryTerm, ...]:
        """The terms of its loss for which a module stands beside the network."""
        return self.method.taught if isinstance(self.method, AutoencoderMethod) else self.diffusion.tapped

    @property
    def teachers(self) -> tuple[TeacherConfig, ...]:
        """The frozen networks that it learns from, each once."""
        return tuple(dict.fromkeys(term.teacher for term in self.auxiliary if not isinstance(term, ClassifierTerm)))

    @property
    def taught_grid(self) -> int:
        """Places along one side of what a teacher's tokens are compared with: patches, or an autoencoder's code."""
        trunk = self.model.trunk
        return self.data.image_size >> trunk.halvings if isinstance(trunk, AutoencoderTrunk) else self.grid

    @property
    def label_drop(self) -> float:
        """Share of labels that training replaces by the null one; a classifier is to find them all."""
        return 0.0 if isinstance(self.method, ClassifierMethod) else self.diffusion.label_drop

    @property
    def seen_patch(self) -> int:
        """Side of a patch in what the network sees."""
        return self.model.patch if self.diffusion.dimensions is None else 1

    @property
    def token_dim(self) -> int:
        """Numbers of a token: channels x patch_size^2 of its patch, or the dimensions that it is lifted to."""
        return self.channels * self.seen_patch**2
