"""How an image becomes noise: all at once, or in stages from a small or blurred image on."""

from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.config.fields import Frozen, PositiveInt, Ruled, must_hold, without

SINGULAR = -1 / 3
"""The least correlation that four numbers can have with one another."""


class FlowPath(Frozen):
    """z = t x + (1 - t) e: a straight line from noise to the image (JiT)."""

    kind: Literal["flow"] = "flow"

    @property
    def count(self) -> int:
        """Of its stages."""
        return 1

    def sides(self, image_size: int) -> tuple[int, ...]:
        """Pixels along the image of each stage."""
        return (image_size,)


FLOW = FlowPath()


class StagedPath(Ruled):
    """A straight line a stage, from the noisiest on; each stage shows more of the image than the one before (PixelFlow,
    arXiv 2504.07963; Pyramidal Flow, arXiv 2410.05954). A batch holds equal shares of the stages: image i trains stage i modulo
    `stages`."""

    kind: Literal["staged"] = "staged"
    stages: Annotated[PositiveInt, Field(ge=2, le=8)] = 4
    """How many (PixelFlow: 4, Pyramidal Flow: 3)."""
    transform: Literal["downsample", "blur"] = "downsample"
    """What an earlier stage has of the image: half as many pixels along a side as the next, or as many, of a Gaussian blur
    twice as wide (the idea of f-DM, arXiv 2210.04955, and no replica of it)."""
    noise: Literal["shared", "halved"] = "shared"
    """The noise of a smaller stage: fresh, for both of its ends (PixelFlow), or the next stage's, averaged over 2 x 2 pixels
    and doubled (Pyramidal Flow)."""
    gamma: Annotated[float, Field(ge=SINGULAR, le=-0.01, strict=True)] = SINGULAR
    """Correlation over 2 x 2 pixels of the noise that a sample gets at the border to a larger stage; it decides where that
    begins."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """A blurred image has no border of that kind."""
        return without(content, {"gamma", "noise"}) if self.transform == "blur" else content

    @property
    def count(self) -> int:
        """Of its stages."""
        return self.stages

    def sides(self, image_size: int) -> tuple[int, ...]:
        """Pixels along the image of each stage."""
        halvings = range(self.stages - 1, -1, -1)
        return tuple(image_size if self.transform == "blur" else image_size >> count for count in halvings)

    @must_hold
    def a_blur_keeps_its_pixels(self) -> None:
        if self.transform == "blur" and (self.noise != "shared" or self.gamma != SINGULAR):
            rule = "`noise` and `gamma` are of stages of several sizes, which transform blur has not"
            raise ValueError(f"{rule}, got noise={self.noise}, gamma={self.gamma:g}; leave them out, or try downsample")


class KarrasPath(Frozen):
    """The flow's line at the noise levels of EDM's grid (EPG, arXiv 2510.12586), sigma = (1 - t) / t from 80 down to 0.002.

    A time that is drawn trains the level next to it. The network sees z / sqrt((1 - t)^2 s^2 + t^2 / 4) and is told
    250 ln(s sigma), where s is `noise_scale`; EPG's is image_size / 64. It predicts x, whose squared error counts by one over
    the distance to the next level. Samples go from level to level by rules in sigma, without a clamp.
    """

    kind: Literal["karras"] = "karras"
    levels: Annotated[PositiveInt, Field(ge=2, le=100_000)] = 1280
    """Of the grid in training (EPG: 1280); sampling has one of its own, a level a step."""

    @property
    def count(self) -> int:
        """Of its stages."""
        return 1

    def sides(self, image_size: int) -> tuple[int, ...]:
        """Pixels along the image of each stage."""
        return (image_size,)


DiffusionPath = FlowPath | StagedPath | KarrasPath
Path = Annotated[DiffusionPath, Field(discriminator="kind")]
