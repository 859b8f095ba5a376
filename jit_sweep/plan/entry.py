"""What a plan consists of: its entries, and what makes it the plan of one sweep and no other."""

from collections.abc import Iterable
from typing import Any, Literal, Self

from jit_sweep.plan.choice import ArmChoice
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import Frozen, content_hash, identity
from trainables.config.recipe import Recipe
from trainables.config.trial import MATHS_VERSION, TrialConfig
from trainables.data import DataDescription


class Entry(Frozen):
    """One planned piece of a sweep: a trial, how far it goes and how it is scored there."""

    stage: int
    """Place of its stage in the sweep file, from 0."""
    stage_id: str
    """What its stage is known by (`jit_sweep.plan.places`)."""
    content: str = ""
    """The content of its stage."""
    base: dict[str, AxisValue] = {}
    """What its arm stands on, by axis values: of a proposal the cell that it changes, of a tuning trial the arm that it tunes,
    of a tuned arm its best setting; else nothing."""
    position: int
    """Order within the stage."""
    arm: dict[str, AxisValue]
    """The values of the stage's axes; trials of one arm differ only in their seed."""
    seed: int
    trial: TrialConfig
    images: int
    evaluation: EvaluationConfig
    rungs: tuple[int, ...]
    origin: Literal["grid", "search", "tuning"]
    gates: tuple[int, ...] = ()
    """The rungs at which the sweep's scheduler decides whether it goes on."""
    race: str = ""
    """What it is compared with there: the entries of the same race."""
    protected: bool = False
    """Part of a planned contrast: never stopped early."""

    def with_seed(self, seed: int, *, position: int) -> Self:
        """The entry of the same cell with another seed: nothing that was checked of the one depends on it."""
        trial = self.trial.model_copy(update={"seed": seed})
        return self.model_copy(update={"seed": seed, "position": position, "trial": trial})

    @property
    def racer(self) -> str:
        """Names its arm within the race: trials that differ in their seed only go on together."""
        return recipe_id(self.trial)

    @property
    def trial_id(self) -> str:
        return self.trial.id

    @property
    def key(self) -> str:
        """Names the entry within its sweep."""
        return f"{self.stage_id}:{self.trial_id}:{self.evaluation.id}:{self.images}"

    @property
    def label(self) -> str:
        return arm_label(self.arm)

    @property
    def judged(self) -> dict[str, AxisValue]:
        """The arm that verdicts are about: of a tuning trial the one that it tunes."""
        return self.base if self.origin == "tuning" else self.arm


class Plan(Frozen):
    """A sweep resolved: what its grids train, and the searches whose trials are proposed as it runs."""

    spec: SweepSpec
    data: DataDescription
    baseline: Recipe
    entries: tuple[Entry, ...]
    left_out: dict[int, int] = {}
    """Cells above the limits of their grid, by stage: they are not among the entries."""
    choices: tuple[ArmChoice, ...] = ()
    """The arms of earlier stages that later ones build on as the best of several."""
    later: tuple[Entry, ...] = ()
    """Of the stages that wait for such an arm, as they would be with the one that is costliest: none of them is trained."""

    @property
    def whole(self) -> tuple[Entry, ...]:
        """What its grids train, of those that wait for an arm as it would be."""
        return (*self.entries, *self.later)

    @property
    def waiting(self) -> dict[int, list[ArmChoice]]:
        """The stages that wait for an arm of an earlier one, and for which."""
        found: dict[int, list[ArmChoice]] = {}
        for choice in self.choices:
            for stage in () if choice.made else choice.by:
                found.setdefault(stage, []).append(choice)
        return found

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two runs of a name the same sweep."""
        return {
            "baseline": identity(self.baseline),
            "data": {"digest": self.data.digest, "flip": self.spec.data.flip},
            "objective": self.spec.objective,
            "evaluation": identity(self.spec.evaluation),
            "device": self.spec.resources.device,
            "maths_version": MATHS_VERSION,
        }

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of the hash of its identity."""
        return content_hash(self.identity)


def one_a_cell(entries: Iterable[Entry]) -> list[Entry]:
    """The first entry of each cell: what holds of it holds of its other seeds."""
    first: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        first.setdefault((entry.stage_id, entry.label), entry)
    return list(first.values())


def recipe_id(trial: TrialConfig) -> str:
    """Names what trials share that differ in their seed only."""
    return trial.model_copy(update={"seed": 0}).id
