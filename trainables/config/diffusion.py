"""What the network predicts, the space of its loss, and the noise that it sees."""

from typing import Annotated, Any, Literal

from pydantic import Field

from trainables.config.fields import JOINED_LATER, Fraction, PositiveFloat, PositiveInt, Ruled, must_hold, without
from trainables.config.objective import LossTermConfig, NoWeighting, SigmoidWeighting, TappedTerm, WeightedTerm, Weighting
from trainables.config.path import FLOW, KarrasPath, Path, StagedPath
from trainables.config.times import LogitNormal, TSampling

Target = Literal["x", "eps", "v"]


class DiffusionConfig(Ruled):
    """What the network predicts, in which space the loss is taken, and how the noisy input is drawn."""

    prediction: Target = "x"
    """What the network's output means."""
    loss: Target = "v"
    """The space in which the squared error is taken."""
    t_sampling: TSampling = LogitNormal()
    """The distribution of t in training."""
    t_eps_train: Fraction = 0.05
    """Smallest 1 - t (and t) that a conversion divides by in training; 0 is off."""
    noise_scale: Annotated[PositiveFloat, Field(ge=1e-3, le=1000)] = 1.0
    """Standard deviation of the noise e."""
    label_drop: Fraction = 0.1
    """Share of labels replaced by the null label; unused by unconditional models."""
    terms: Annotated[tuple[LossTermConfig, ...], Field(max_length=8), JOINED_LATER] = ()
    """What is added to the squared error."""
    weighting: Annotated[Weighting, JOINED_LATER] = NoWeighting()
    """How much the squared error counts by its time; other than none, it is of x and not in the space of the loss."""
    dimensions: Annotated[PositiveInt | None, Field(le=65_536), JOINED_LATER] = None
    """Lift each patch, channels x patch_size^2 numbers, by a fixed orthonormal matrix into so many dimensions, where it is
    noised and predicted, and samples back from there; null: as it is."""

    path: Annotated[Path, JOINED_LATER] = FLOW
    """How an image becomes noise: the flow, stages, or the flow at EDM's noise levels."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Nothing reads `loss` where a weighting puts the squared error into x and no term compares outputs beside it, nor
        `t_eps_train` where x itself is compared at noise levels."""
        content = without(content, {"t_eps_train"}) if isinstance(self.path, KarrasPath) else content
        read = not self.weighs_x or any(isinstance(term, WeightedTerm) for term in self.terms)
        return content if read else {**content, "loss": "v"}

    @property
    def tapped(self) -> tuple[TappedTerm, ...]:
        """The terms that read tokens of the network, by a module of their own."""
        return tuple(term for term in self.terms if isinstance(term, TappedTerm))

    @property
    def error_space(self) -> Target:
        """The space of the squared error."""
        return "x" if self.weighs_x else self.loss

    @property
    def weighs_x(self) -> bool:
        """Whether a weighting by time counts errors of x: the configured one, or that of a path which has its own."""
        return self.weighting.kind != "none" or isinstance(self.path, KarrasPath)

    @must_hold
    def importance_knows_the_density(self) -> None:
        weighting, drawn = self.weighting, self.t_sampling.kind
        if isinstance(weighting, SigmoidWeighting) and weighting.importance and drawn not in ("logit_normal", "uniform"):
            rule = "`weighting.importance` divides by the density of t under logit_normal or uniform"
            raise ValueError(f"{rule}, got t_sampling={drawn}; try one of the two, or importance=false")

    @must_hold
    def each_term_is_there_once(self) -> None:
        kinds = [term.kind for term in self.terms]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"`terms` must have each kind once, got {', '.join(kinds)}; add up their weights")

    @must_hold
    def a_stage_has_a_velocity_and_an_image(self) -> None:
        if not isinstance(self.path, StagedPath):
            return
        spaces = (self.prediction, self.error_space, self.loss)
        if "eps" in spaces or (self.prediction == "v" and "x" in spaces) or self.weighting.kind != "none":
            rule = "a `path` of stages predicts v under v-loss, or x under x- or v-loss, and has no weighting by log-SNR"
            got = f"prediction={self.prediction}, loss={self.loss}, weighting={self.weighting.kind}"
            raise ValueError(f"{rule}, got {got}; try prediction=v, loss=v")

    @must_hold
    def noise_levels_have_an_image(self) -> None:
        weighted = any(isinstance(term, WeightedTerm) for term in self.terms)
        elsewhere = weighted and self.loss != "x"
        if isinstance(self.path, KarrasPath) and (self.prediction != "x" or self.weighting.kind != "none" or elsewhere):
            rule = "a `path` karras predicts x, has a weighting of its own, and takes `terms` under loss=x"
            got = f"prediction={self.prediction}, weighting={self.weighting.kind}, loss={self.loss}"
            raise ValueError(f"{rule}, got {got}; try prediction=x, weighting=none, loss=x")

    @must_hold
    def stages_are_of_images(self) -> None:
        if isinstance(self.path, StagedPath) and self.dimensions is not None:
            rule = "a `path` of stages is of images as they are"
            raise ValueError(f"{rule}, got dimensions={self.dimensions}; try dimensions: null, or path: {{kind: flow}}")
