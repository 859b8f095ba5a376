"""From a cell to the entry it means in a sweep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Self

from jit_sweep.plan.asked import cells_of, images_asked, is_where, seeds_of
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.places import Place, places
from jit_sweep.plan.rungs import rungs_of
from jit_sweep.plan.trial import evaluation_of, trial_of, update_unit
from jit_sweep.spec.schedulers import Ladder, NoScheduler
from jit_sweep.spec.stages import PlannedStage, SearchStage
from jit_sweep.spec.sweep import Matched, SweepSpec
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, arm_label, put
from search_spaces.quantities import excess
from trainables.config.autoencoder import AutoencoderTrunk
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import choices, counted
from trainables.config.recipe import Recipe
from trainables.config.shape import SpeedShape, speed_shape
from trainables.config.space import LatentSpace, StageEncoder, TrialEncoder
from trainables.config.spelling import did_you_mean
from trainables.config.trial import TrialConfig
from trainables.data import DataDescription
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

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The one that a plan was made by."""
        return cls(plan.spec, plan.data, plan.baseline)

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
        batch = cell.recipe.batch_size
        whole, of_cell = (self._cost(recipe, matched, images=given) for recipe in (self.baseline, cell.recipe))
        return max(1, round(given * whole / of_cell / batch)) * batch

    def resolved(self, recipe: Recipe) -> Recipe:
        """The recipe, with the trial itself in the place of a stage that is to encode its images. ValueError: that stage trains
        no autoencoder that is known before anything starts."""
        space = recipe.space
        if not isinstance(space, LatentSpace) or not isinstance(space.encoder, StageEncoder):
            return recipe
        entry = self._encoding(space.encoder)
        trunk = entry.trial.model.trunk
        if not isinstance(trunk, AutoencoderTrunk):
            rule = "`space.encoder` must name a stage that trains an autoencoder"
            raise ValueError(f"{rule}, got {space.encoder.stage}, which trains {trunk.kind}; name another")
        encoder = TrialEncoder(trial=entry.trial_id, images=entry.images, weights=entry.trial.rung_weights)
        found = LatentSpace.model_validate({**space.model_dump(), "encoder": encoder, "trunk": trunk})
        return recipe.model_copy(update={"space": found})

    def _encoding(self, encoder: StageEncoder) -> Entry:
        """The first seed of the arm that it names. ValueError: there is no such stage, or it has several such arms."""
        key = encoder.model_dump_json()
        if key not in self._encoders:
            self._encoders[key] = None
            self._encoders[key] = self._found(encoder.stage, encoder.where)
        if (found := self._encoders[key]) is None:
            rule = f"the arms of the stage {encoder.stage} must have images of their own where the baseline sees their codes"
            raise ValueError(f"{rule}, got `matched`, which asks for the baseline's cost; give them `cells: images_per_trial`")
        return found

    @cached_property
    def _encoders(self) -> dict[str, Entry | None]:
        """None: it is being sought."""
        return {}

    @cached_property
    def encoding(self) -> frozenset[str]:
        """The stages that encode the images of others."""
        axes = [stage.search.axes if isinstance(stage, SearchStage) else stage.design.axes for stage in self.spec.stages]
        given = [axis["encoder"] for axis in axes if isinstance(axis.get("encoder"), tuple)]
        named = [str(value).split()[0] for values in given for value in values if value is not None]
        space = self.baseline.space
        own = [space.encoder.stage] if isinstance(space, LatentSpace) and isinstance(space.encoder, StageEncoder) else []
        return frozenset((*named, *own))

    def _found(self, name: str, where: Mapping[str, AxisValue]) -> Entry:
        planned = {each.name: (at, each.design) for at, each in enumerate(self.spec.stages) if isinstance(each, PlannedStage)}
        if name not in planned:
            rule, known = "`space.encoder` must name a grid of the sweep", [known for known in planned if known]
            raise ValueError(f"{rule}, got {name!r}; {did_you_mean(name, known, otherwise='give a stage this `name`')}")
        stage, design = planned[name]
        arms = list(cells_of(design))
        named = [values for values in arms if is_where(where, values)]
        if len(named) != 1:
            rule = f"`space.encoder` must name one arm of the stage {name}"
            got = f"{arm_label(where)}, which {counted(len(named), 'arm')} of it have" if where else f"none of its {len(arms)}"
            raise ValueError(f"{rule}, got {got}; try {name} {arm_label(arms[0])}")
        (first,) = named
        cell = put(self.baseline, first)
        images = images_asked(design, first) or self.images_of(cell, stage=stage)
        entry = self.entry(cell, stage=stage, position=0, seed=seeds_of(design, first)[0], images=images)
        if design.nuisance is not None or excess(getattr(design, "limits", {}), entry.trial, images=images):
            why = (
                "`nuisance`, by which its setting is known later"
                if design.nuisance is not None
                else "`limits`, which leave it out"
            )
            rule = f"`space.encoder` must name an arm of the stage {name} that is trained as it stands there"
            raise ValueError(f"{rule}, got one with {why}; leave that out of the stage")
        return entry

    def _cost(self, recipe: Recipe, matched: Matched, *, images: int) -> float:
        """FLOPs or seconds of a recipe's trial. ValueError: its speed is not measured."""
        trial = trial_of(self.resolved(recipe), spec=self.spec, data=self.data, seed=0, images=images)
        if matched == "flops":
            return training_flops(trial, images=images)
        speed = (self.speeds or {}).get(speed_shape(trial))
        if speed is None:
            rule = "`matched: device_seconds` needs the speed of the baseline and of each arm, got none of this one here"
            raise ValueError(f"{rule}; measure it with `plan --probe`")
        return images / speed

    def trial(self, cell: Cell, *, seed: int, images: int) -> TrialConfig:
        """A cell's trial with one seed. ValueError: there is no such trial."""
        return trial_of(self.resolved(cell.recipe), spec=self.spec, data=self.data, seed=seed, images=images)

    def evaluation(self, cell: Cell, trial: TrialConfig, *, images: int) -> EvaluationConfig:
        """How a cell's trial is scored after `images`. ValueError: the trial cannot be scored so."""
        return evaluation_of(trial, cell=cell, spec=self.spec, images=images)

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
        self._check_order(cell.recipe, stage)
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
            gates=rungs.gates,
            race=self._race(cell, stage=place.id, images=images),
            protected=protected,
            origin=place.origin,
        )

    def _check_order(self, recipe: Recipe, stage: int) -> None:
        """ValueError: what encodes a stage's images is trained by itself, or by a later stage."""
        encoder = recipe.space.encoder if isinstance(recipe.space, LatentSpace) else None
        earlier = {each.name for each in self.spec.stages[:stage]}
        if isinstance(encoder, StageEncoder) and encoder.stage not in earlier:
            rule = "`space.encoder` must name an earlier stage of the sweep"
            known = [name for name in earlier if name]
            otherwise = "put one before it" if not known else f"try {choices(known)}"
            raise ValueError(f"{rule}, got {encoder.stage!r}; {did_you_mean(encoder.stage, known, otherwise=otherwise)}")

    def _race(self, cell: Cell, *, stage: str, images: int) -> str:
        """What a cell is compared with early: cells of its stage that share the `compare_within` axes, and where the rungs
        depend on the budget, that too."""
        scheduler = self.spec.scheduler
        if isinstance(scheduler, NoScheduler):
            return ""
        within = {axis: cell.values[axis] for axis in scheduler.compare_within if axis in cell.values}
        budget = {} if isinstance(scheduler, Ladder) else {"images": images, "rungs": self.spec.budget.rungs}
        return f"stage={stage} {arm_label({**within, **budget}) if within or budget else ''}".strip()
