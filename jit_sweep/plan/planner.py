"""From a cell to the entry it means in a sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Self

from jit_sweep.plan.earlier import EarlierStages
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.places import Place, places
from jit_sweep.plan.rungs import rungs_of
from jit_sweep.plan.trial import evaluation_of, trial_of, update_unit
from jit_sweep.spec.budget import Matched
from jit_sweep.spec.schedulers import Ladder, NoScheduler
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, arm_label
from trainables.config.evaluation import EvaluationConfig
from trainables.config.recipe import Recipe
from trainables.config.shape import SpeedShape, speed_shape
from trainables.config.trial import TrialConfig
from trainables.data import DataDescription
from trainables.evaluation.metrics.registry import has_score
from trainables.networks.cost import training_flops


@dataclass(frozen=True)
class Planner:
    """What all cells of a sweep are planned from."""

    spec: SweepSpec
    data: DataDescription
    baseline: Recipe
    speeds: Mapping[SpeedShape, float] | None = None
    """Images a second here, by which arms are matched in device-seconds; None: they are planned with equal images."""
    promised: Mapping[str, int] = field(default_factory=dict)
    """Images that arms were given at launch by the speeds of then, by the arm's label: those stay."""
    chosen: Mapping[str, Mapping[str, AxisValue]] = field(default_factory=dict)
    """The arms that are the best of several, by what they are named as; of others the first in the file stands there."""

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The one that a plan was made by."""
        return cls(plan.spec, plan.data, plan.baseline, chosen={choice.name: choice.arm for choice in plan.choices})

    @cached_property
    def places(self) -> tuple[Place, ...]:
        """The stages of the sweep file."""
        return places(self.spec)

    def images_of(self, cell: Cell, *, stage: int) -> int:
        """What a cell of a grid or an ablation trains on, by what its stage's arms have the same of. ValueError: there is no
        such trial."""
        given = self.spec.budget.images_per_trial
        matched = self.spec.matched_in(stage)
        if matched == "device_seconds" and (promised := self.promised.get(arm_label(cell.values))) is not None:
            return promised
        if matched == "images" or (matched == "device_seconds" and self.speeds is None):
            return given
        batch, count = cell.recipe.batch_size, self.spec.budget.count_earlier_stages
        whole, of_cell = (self._cost(recipe, matched, images=given) for recipe in (self.baseline, cell.recipe))
        before = [self._cost_before(recipe, matched) if count else 0.0 for recipe in (self.baseline, cell.recipe)]
        left = whole + before[0] - before[1]
        if left <= 0:
            unit, scale = ("training TFLOPs", 1e12) if matched == "flops" else ("device-seconds", 1.0)
            rule = f"with `count_earlier_stages` the earlier trials of an arm must cost less {unit} than the baseline in all"
            got = f"{before[1] / scale:.3g} of {(whole + before[0]) / scale:.3g}"
            raise ValueError(f"{rule}, got {got}; give the baseline more images, or the earlier stage fewer")
        return max(1, round(given * left / of_cell / batch)) * batch

    @cached_property
    def earlier(self) -> EarlierStages:
        """The trials that later stages build on."""
        return EarlierStages(self)

    def _cost(self, recipe: Recipe, matched: Matched, *, images: int) -> float:
        """FLOPs or seconds of a recipe's trial. ValueError: its speed is not measured."""
        trial = trial_of(self.earlier.resolved(recipe), spec=self.spec, data=self.data, seed=0, images=images)
        return self._cost_of(trial, matched, images=images)

    def _cost_before(self, recipe: Recipe, matched: Matched) -> float:
        """Of the trials that a recipe's own is trained with. ValueError: of one of them that is not known."""
        earlier = self.earlier.trained_with(recipe)
        return sum(self._cost_of(entry.trial, matched, images=entry.images) for entry in earlier.values())

    def _cost_of(self, trial: TrialConfig, matched: Matched, *, images: int) -> float:
        if matched == "flops":
            return training_flops(trial, images=images)
        speed = (self.speeds or {}).get(speed_shape(trial))
        if speed is None:
            rule = "`matched: device_seconds` needs the speed of the baseline and of each arm, got none of this one here"
            raise ValueError(f"{rule}; measure it with `plan --probe`")
        return images / speed

    def trial(self, cell: Cell, *, seed: int, images: int) -> TrialConfig:
        """A cell's trial with one seed. ValueError: there is no such trial."""
        trial = trial_of(self.earlier.resolved(cell.recipe), spec=self.spec, data=self.data, seed=seed, images=images)
        self.earlier.check_parent(trial, named=cell.recipe)
        return trial

    def evaluation(self, cell: Cell, trial: TrialConfig, *, images: int) -> EvaluationConfig:
        """How a cell's trial is scored after `images`. ValueError: the trial cannot be scored so."""
        classifier = self.earlier.classifier(cell, trial)
        return evaluation_of(trial, cell=cell, spec=self.spec, images=images, classifier=classifier)

    def entry(
        self,
        cell: Cell,
        *,
        stage: int,
        position: int,
        seed: int,
        images: int,
        protected: bool = False,
        base: Mapping[str, AxisValue] = MappingProxyType({}),
    ) -> Entry:
        """The planned piece for one cell and seed; `base`: the cell that it changes. ValueError: the cell makes no valid
        trial."""
        self.earlier.check_order(cell, stage=stage)
        if self.spec.budget.count_earlier_stages:
            self.earlier.trained_with(cell.recipe)
        spec, trial, place = self.spec, self.trial(cell, seed=seed, images=images), self.places[stage]
        unit = update_unit(spec, trial.batch_size)
        rungs = rungs_of(spec.scheduler, trial, images=images, count=spec.budget.rungs, unit=unit)
        return Entry(
            stage=stage,
            stage_id=place.id,
            content=place.content,
            base=dict(base),
            position=position,
            arm=cell.values,
            seed=seed,
            trial=trial,
            images=images,
            evaluation=self.evaluation(cell, trial, images=images),
            rungs=rungs.measured,
            gates=rungs.gates if self._is_raced(trial) else (),
            race=self._race(cell, stage=place.id, images=images),
            protected=protected,
            origin=place.origin,
        )

    def _is_raced(self, trial: TrialConfig) -> bool:
        """Whether gates are of use to it: what draws nothing is no rival of what does, and may lack what they compare."""
        scheduler = self.spec.scheduler
        return trial.draws or (not isinstance(scheduler, NoScheduler) and has_score(trial.error_kind, scheduler.metric))

    def _race(self, cell: Cell, *, stage: str, images: int) -> str:
        """What a cell is compared with early: cells of its stage that share the `compare_within` axes, and where the rungs
        depend on the budget, that too."""
        scheduler = self.spec.scheduler
        if isinstance(scheduler, NoScheduler):
            return ""
        within = {axis: cell.values[axis] for axis in scheduler.compare_within if axis in cell.values}
        budget = {} if isinstance(scheduler, Ladder) else {"images": images, "rungs": self.spec.budget.rungs}
        return f"stage={stage} {arm_label({**within, **budget}) if within or budget else ''}".strip()
