"""What stands beside the squared error, and what weighs it by time."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trainables.config.features import Sha256
from trainables.config.fields import FiniteFloat, Frozen, NonNegativeFloat, PositiveFloat, PositiveInt
from trainables.config.network import ModelConfig

TermWeight = Annotated[PositiveFloat, Field(le=1e6)]


class WeightedTerm(Frozen):
    """A term that is added to the squared error."""

    kind: Literal["cosine", "frequency", "multiscale"]
    """`cosine`: one minus the cosine over channels at each pixel (LightningDiT). `frequency`: JPEG's weights on DCT blocks in
    YCbCr (DeCo). `multiscale`: squared errors of the image averaged down to 4 pixels and more (simple diffusion)."""
    weight: TermWeight = 1.0
    """By which it is multiplied."""


class ClassifierTerm(Frozen):
    """Cross entropy of an image's class by a linear map of its mean token after some blocks (JiT, table 11).

    Those blocks do not hear the class, in sampling neither: they are modulated by the time alone. A label that is dropped for
    guidance is still the class that is to be found.
    """

    kind: Literal["classifier"]
    weight: TermWeight = 5e-4
    """By which it is multiplied. JiT's 100 stands beside a squared error that is summed over the 3 x 256^2 numbers of an image;
    here that is a mean, and 100 / (3 x 256^2) = 5e-4 the same share."""
    block: PositiveInt | None = None
    """The blocks that the tokens have gone through; none: a third of the depth (JiT: 4 of B's 12, 8 of L's 24), and not beyond
    the block before which class tokens join."""

    def tap(self, model: ModelConfig) -> int:
        """Blocks before the tokens are read."""
        first = model.class_tokens_start if model.class_tokens else model.depth
        return self.block or max(1, min(model.depth // 3, first))


class TeacherConfig(Frozen):
    """A frozen vision transformer, DINOv2's or one with timm's names, whose patch tokens of the clean image are to be found."""

    weights: Annotated[str, Field(min_length=1)]
    """Path or URI of a state dict, .safetensors or what torch.save wrote. It runs no code, and a copy elsewhere is the same."""
    sha256: Sha256
    """Of the file."""
    width: PositiveInt = 768
    """Of its tokens; this and the next two are what its file says, since a plan counts what it costs."""
    depth: PositiveInt = 12
    """Its blocks."""
    patch: PositiveInt = 14
    """Side of its patches in pixels."""
    grid: Annotated[PositiveInt, Field(le=256)] = 16
    """Patches along a side of the images as it sees them: they are resized to grid x patch pixels."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """The weights' content, and not where they lie."""
        return {name: value for name, value in content.items() if name != "weights"}


class RepresentationTerm(Frozen):
    """One minus the cosine between a frozen teacher's patch tokens of the clean image and what a projector, three linear maps
    with SiLU between, makes of the network's tokens after some blocks, mean over the tokens (REPA, arXiv 2410.06940).

    Where the teacher's grid is another than the network's, its tokens are interpolated to that, bilinearly and with antialias.
    """

    kind: Literal["representation"]
    weight: TermWeight = 0.5
    """By which it is multiplied (REPA: 0.5)."""
    block: PositiveInt | None = None
    """The blocks that the tokens have gone through; none: a third of the depth (REPA: 4 of B's 12, 8 of L's 24)."""
    hidden: Annotated[PositiveInt, Field(le=65_536)] | None = None
    """Width between the projector's maps; none: the network's (DeCo). REPA's is 2048."""
    teacher: TeacherConfig
    """It must not be the network that scores."""

    @model_validator(mode="before")
    @classmethod
    def a_teacher_is_named(cls, given: Any) -> Any:
        if isinstance(given, dict) and "teacher" not in given:
            form = "{kind: representation, teacher: {weights: FILE, sha256: ...}} in `baseline.diffusion.terms`"
            raise ValueError(f"the term representation needs its teacher, got none; try {form}")
        return given

    def tap(self, model: ModelConfig) -> int:
        """Blocks before the tokens are read."""
        return self.block or max(1, model.depth // 3)


TappedTerm = ClassifierTerm | RepresentationTerm
"""A term of what a module that trains beside the network makes of its tokens after some blocks."""
Margin = Annotated[NonNegativeFloat, Field(le=2)]


class AlignmentTerm(Frozen):
    """How far a linear map of an autoencoder's code is from a frozen teacher's patch tokens at the same places, as cosines of
    each place, and of each two places of an image (VA-VAE, arXiv 2501.01423). Where the teacher's grid is another than the
    code's, its tokens are interpolated to that."""

    kind: Literal["alignment"] = "alignment"
    weight: TermWeight = 0.1
    """By which it is multiplied (VA-VAE: 0.1, times a ratio of gradients that changes as it trains)."""
    margin_of_place: Margin = 0.5
    """1 - cosine of a place that costs nothing (VA-VAE: 0.5)."""
    margin_of_two: Margin = 0.25
    """Difference between the code's and the teacher's cosine of two places that costs nothing (VA-VAE: 0.25)."""
    teacher: TeacherConfig
    """It must not be the network that scores."""


class PerceptualTerm(Frozen):
    """Squared distance between a frozen teacher's patch tokens, each of length 1, of an image and of what an autoencoder makes
    of it, mean over the tokens: LPIPS (arXiv 1801.03924) without the weights that it learned of people's judgements, on a
    vision transformer's last tokens. Neither image is clipped before it is seen."""

    kind: Literal["perceptual"] = "perceptual"
    weight: TermWeight = 1.0
    """By which it is multiplied (latent diffusion: 1)."""
    teacher: TeacherConfig
    """It must not be the network that scores; `alignment` may have the same one."""


TaughtTerm = AlignmentTerm | PerceptualTerm
"""A term of an autoencoder's loss with a frozen teacher."""
AuxiliaryTerm = ClassifierTerm | RepresentationTerm | TaughtTerm
"""A term for which a module stands beside the network in training, and is thrown away."""
LossTermConfig = Annotated[WeightedTerm | ClassifierTerm | RepresentationTerm, Field(discriminator="kind")]


class NoWeighting(Frozen):
    """The space of the loss alone weighs the times (JiT)."""

    kind: Literal["none"] = "none"


class SigmoidWeighting(Frozen):
    """The squared x-error times e^b sigmoid(log-SNR - b), whatever `loss` is (SiD2, arXiv 2410.19324)."""

    kind: Literal["sigmoid"] = "sigmoid"
    bias: Annotated[FiniteFloat, Field(ge=-20, le=20)] = -1.0
    """b."""
    importance: bool = False
    """Divide by the density of the log-SNR under `t_sampling`, so that this no longer weighs the times."""


class MinSnrWeighting(Frozen):
    """The squared x-error times min(SNR, gamma), whatever `loss` is (arXiv 2303.09556)."""

    kind: Literal["min_snr"] = "min_snr"
    gamma: Annotated[PositiveFloat, Field(le=1e6)] = 5.0
    """Largest weight."""


Weighting = Annotated[NoWeighting | SigmoidWeighting | MinSnrWeighting, Field(discriminator="kind")]
