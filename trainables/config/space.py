"""What a network's numbers are of: pixels, or the codes of a frozen autoencoder."""

from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.average import RAW
from trainables.config.features import Sha256
from trainables.config.fields import JOINED_LATER, FiniteFloat, Frozen, PositiveFloat, PositiveInt, Ruled, must_hold, without
from trainables.config.stage_arm import StageArm

Mean = Annotated[FiniteFloat, Field(ge=-1000, le=1000)]
Spread = Annotated[PositiveFloat, Field(ge=1e-6, le=1000)]


class PixelSpace(Frozen):
    """Pixels, from -1 to 1."""

    kind: Literal["pixels"] = "pixels"


class TrialEncoder(Frozen):
    """What a trial of `method` autoencoder has trained, from its checkpoint in the same storage."""

    kind: Literal["trial"] = "trial"
    trial: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """The trial's id."""
    images: PositiveInt
    """The image count of the checkpoint."""
    weights: Annotated[str, Field(min_length=1)] = RAW
    """`raw`, or the name of one of the trial's averages."""


class StageEncoder(StageArm):
    """What an earlier stage of the sweep trains."""

    kind: Literal["stage"] = "stage"


class FileEncoder(Frozen):
    """Weights from a file: as `export` writes them, or of diffusers' `AutoencoderKL` and `VQModel`; `trunk` has their sizes (of
    Stable Diffusion's first one: width 128, multipliers 1, 2, 4, 4, blocks 2)."""

    kind: Literal["file"] = "file"
    weights: Annotated[str, Field(min_length=1)]
    """Path or URI of a .safetensors file. It runs no code, and a copy elsewhere is the same."""
    sha256: Sha256
    """Of the file."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """What the file holds counts, and not where it lies."""
        return without(content, {"weights"})


Encoder = Annotated[TrialEncoder | StageEncoder | FileEncoder, Field(discriminator="kind")]


class LatentSpace(Ruled):
    """The codes of a frozen autoencoder (latent diffusion, arXiv 2112.10752). The training split is encoded once for all trials
    of a storage; samples are decoded, and scored as images."""

    kind: Literal["latent"] = "latent"
    encoder: Encoder
    """Whose codes."""
    trunk: AutoencoderTrunk | None = None
    """The autoencoder's network, as it was trained; null where a stage says it."""
    mean: Annotated[tuple[Mean, ...] | None, Field(min_length=1)] = None
    """What is taken from each channel of the code; null: its mean over the training split."""
    std: Annotated[tuple[Spread, ...] | None, Field(min_length=1)] = None
    """What each channel is divided by then; null: its standard deviation there."""
    sample: Literal["mean", "draw"] = "mean"
    """A Gaussian code's mean, or a draw from it for each image and epoch. A quantised code is neither: it is what entries are
    sought next to."""
    quantise: Annotated[bool, Field(strict=True), JOINED_LATER] = True
    """Whether each place of a sample becomes its nearest entry before it is decoded, where the code has entries."""

    @must_hold
    def statistics_are_of_the_code(self) -> None:
        for name, given in (("mean", self.mean), ("std", self.std)):
            if self.trunk is not None and given is not None and len(given) != self.trunk.code_channels:
                rule = f"`{name}` must have a number for each channel of the code"
                raise ValueError(f"{rule}, got {len(given)}, code_channels={self.trunk.code_channels}; or try null")

    @must_hold
    def only_a_gaussian_is_drawn_from(self) -> None:
        if self.sample == "draw" and self.trunk is not None and self.trunk.code.kind != "kl":
            raise ValueError(f"`sample` draw needs a Gaussian code, got code={self.trunk.code.kind}; try sample: mean")


Space = Annotated[PixelSpace | LatentSpace, Field(discriminator="kind")]

PIXELS = PixelSpace()
