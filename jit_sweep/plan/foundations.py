"""The trials of earlier stages that later ones build on, and what these have cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import counted
from trainables.config.recipe import Parent
from trainables.config.space import LatentSpace, TrialEncoder
from trainables.config.trial import TrialConfig
from trainables.networks.cost import training_flops


class Buildable(Protocol):
    """What a sweep plans, or its ledger has."""

    @property
    def stage(self) -> int: ...
    @property
    def arm(self) -> Mapping[str, AxisValue]: ...
    @property
    def seed(self) -> int: ...
    @property
    def trial(self) -> TrialConfig: ...
    @property
    def trial_id(self) -> str: ...
    @property
    def evaluation(self) -> EvaluationConfig: ...


TRAINED_WITH = frozenset({"codes", "weights"})
"""What a trial needs before it trains, of what others give; the rest is for its samples."""


class Foundation(NamedTuple):
    """A trial whose codes another stage's trials see, whose weights they start from, or which guides their samples."""

    stage: int
    """Who builds on it."""
    gives: str
    """`codes`, `weights` or `guidance`."""
    arm: str
    seed: int
    trial: str
    images: int
    training_tflops: float
    arms: int
    """How many of that stage build on it."""
    is_counted: bool = False
    """Whether the budget counts it in their cost."""

    @property
    def line(self) -> str:
        """Such as `2 arms have the codes of code=vq seed=3 (0a1b2c3d4e5f): ...`."""
        of = (
            f"{counted(self.arms, 'arm')} {'has' if self.arms == 1 else 'have'} the {self.gives} of {self.arm} seed={self.seed}"
        )
        where = "counted in their cost" if self.is_counted else "in no cost of theirs"
        return f"{of} ({self.trial}): {self.images:,} images, {self.training_tflops:,.3g} training TFLOPs, {where}"


def foundations(entries: Sequence[Buildable], *, is_counted: bool = False) -> list[Foundation]:
    """Who builds on which trial of the same sweep, in the order of its stages. `is_counted`: `budget.count_earlier_stages`."""
    known = {each.trial_id: each for each in reversed(entries)}
    found: dict[tuple[int, str, str], Foundation] = {}
    for each in _one_an_arm(entries):
        for gives, trial, images in built_on(each.trial, each.evaluation):
            if (base := known.get(trial)) is not None:
                if (key := (each.stage, gives, trial)) not in found:
                    tflops = training_flops(base.trial, images=images) / 1e12
                    own = is_counted and gives in TRAINED_WITH
                    found[key] = Foundation(each.stage, gives, arm_label(base.arm), base.seed, trial, images, tflops, 0, own)
                found[key] = found[key]._replace(arms=found[key].arms + 1)
    return [*found.values()]


def earlier_flops(entries: Sequence[Buildable]) -> dict[tuple[int, str], int]:
    """Training FLOPs of the trials of the same sweep that arms of later stages are trained with, by stage and label; each trial
    once an arm."""
    known = {each.trial_id: each for each in reversed(entries)}
    return {
        (each.stage, arm_label(each.arm)): sum(
            training_flops(known[trial].trial, images=images) for trial, images in _beneath(each, known).items()
        )
        for each in _one_an_arm(entries)
    }


def _beneath(each: Buildable, known: Mapping[str, Buildable]) -> dict[str, int]:
    """The trials that one is trained with, and these with, by id, and on how many images they were."""
    found: dict[str, int] = {}
    for gives, trial, images in built_on(each.trial, each.evaluation):
        if gives in TRAINED_WITH and trial in known:
            found |= {trial: images, **_beneath(known[trial], known)}
    return found


def _one_an_arm(entries: Sequence[Buildable]) -> list[Buildable]:
    """Of later stages: seeds of an arm build on the same."""
    return [*{(each.stage, arm_label(each.arm)): each for each in reversed(entries) if each.stage}.values()][::-1]


def built_on(trial: TrialConfig, evaluation: EvaluationConfig) -> Iterator[tuple[str, str, int]]:
    """What a trial and its evaluation take from others: what that is, whose, and at how many images."""
    if isinstance(trial.space, LatentSpace) and isinstance(trial.space.encoder, TrialEncoder):
        yield "codes", trial.space.encoder.trial, trial.space.encoder.images
    if isinstance(trial.parent, Parent):
        yield "weights", trial.parent.trial, trial.parent.images
    if (guide := evaluation.guide) is not None:
        yield "guidance", guide.trial, guide.images
