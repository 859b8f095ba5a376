"""The stages of a sweep file: grids, ablations and searches. Free of torch and Ray."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from jit_sweep.spec.ablations import Ablation
from jit_sweep.spec.axis_spaces import AxisSpace, Choices, Range, holds_value, refuse_unknown, remedy, sound_axes
from jit_sweep.spec.nuisance import Nuisance, check_tuned
from jit_sweep.spec.sampler_options import option_faults
from jit_sweep.spec.seeds import PlannedSeeds, RacingSeeds, SeedCount, Seeds, first_seeds
from search_spaces.axis import AxisValue
from search_spaces.quantities import QUANTITIES
from trainables.config.fields import Frozen, NonNegativeInt, PositiveFloat, PositiveInt
from trainables.config.spelling import did_you_mean
from trainables.evaluation.metrics.registry import score_names

SAMPLERS = ("bruteforce", "cmaes", "gp", "nsgaii", "nsgaiii", "qmc", "random", "tpe")
"""Optuna's samplers that need nothing but options, by their classes' names in lower case without `Sampler`."""


def _known_quantities(limits: dict[str, float]) -> dict[str, float]:
    refuse_unknown(limits, QUANTITIES, rule="`limits` must name registered quantities")
    return limits


def key_of(*keys: str) -> Discriminator:
    """Tells variants apart by the one key each must have, and no other of them."""

    def which(value: Any) -> str | None:
        found = [key for key in keys if (key in value if isinstance(value, dict) else hasattr(value, key))]
        return found[0] if len(found) == 1 else None

    return Discriminator(
        which,
        custom_error_type="variant_key",
        custom_error_message="must be a mapping with one of the keys {keys}",
        custom_error_context={"keys": ", ".join(keys)},
    )


MOST_TRIALS = 50_000
"""Of a sweep, over all its stages and seeds."""
Limits = Annotated[dict[str, PositiveFloat], AfterValidator(_known_quantities)]
"""The most that a trial may cost, by `search_spaces.quantities`."""


class CellRule(Frozen):
    """Other seeds or another budget for the cells where the axes have these values."""

    where: Annotated[dict[str, AxisValue], Field(min_length=1)]
    """The cells that have these values of the grid's axes."""
    seeds: Seeds | None = None
    """Their seeds; null: the grid's."""
    images_per_trial: PositiveInt | None = None
    """Their images; null: the budget's."""


BASELINE = "baseline"
"""The level of an axis that the baseline has; where the grid lacks it, the first in the file."""


class PlannedContrast(Frozen):
    """A question that the sweep is there to answer: arms that differ in this axis alone are never stopped early."""

    axis: str
    """The axis along which the arms are to be compared, one of the grid's."""
    where: dict[str, AxisValue] = {}
    """Only among the cells where the axes have these values."""
    against: AxisValue = BASELINE
    """The level that every other one is compared with: a value of the axis, or `baseline`."""


class Grid(Frozen):
    """Every combination of the axes' values, each with every seed."""

    axes: Annotated[dict[str, Choices], Field(min_length=1), AfterValidator(sound_axes)]
    """The values of each axis; every combination is a cell."""
    seeds: PlannedSeeds = (0,)
    """A count N for the seeds 0 to N - 1, or a list of seeds: each makes one trial of a cell. `{min: 3, max: 8}`: a race."""
    cells: tuple[CellRule, ...] = ()
    """Rules for some of the cells; the last that matches a cell counts."""
    contrasts: tuple[PlannedContrast, ...] | None = None
    """Questions whose arms are never stopped early. None: along every axis but the patch size where there are several seeds,
    which are there for a verdict, each level against the baseline's with the other axes at theirs; else none."""
    interactions: tuple[tuple[str, str], ...] | None = None
    """Pairs of axes: does what the second one does depend on the first one? None: every pair, where `contrasts` is null too;
    else none."""
    limits: Limits = {}
    """Cells above one of them are left out."""
    nuisance: Nuisance | None = None
    """Axes that each arm gets its own best value of before it is compared; null: none."""

    def planned_contrasts(self) -> tuple[PlannedContrast, ...]:
        """The contrasts whose arms are never stopped early."""
        crossed = tuple(PlannedContrast(axis=axis) for _, axis in self.interactions or ())
        if self.contrasts is not None:
            return self.contrasts + crossed
        several = len(first_seeds(self.seeds)) > 1 or any(len(rule.seeds or ()) > 1 for rule in self.cells)
        return tuple(PlannedContrast(axis=axis) for axis in self.axes if axis != "patch_size") if several else ()

    @model_validator(mode="after")
    def cells_name_grid_values(self) -> Self:
        refuse_unknown(
            [axis for cell in self.cells for axis in cell.where], self.axes, rule="`where` must name axes of this grid"
        )
        for axis, value in (item for cell in self.cells for item in cell.where.items()):
            if value not in self.axes[axis]:
                meant = remedy(str(value), [str(known) for known in self.axes[axis]])
                raise ValueError(f"`where` must name a value of this grid's axis {axis}, got {value}; {meant}")
        return self

    @model_validator(mode="after")
    def cells_race_together(self) -> Self:
        if isinstance(self.seeds, RacingSeeds) and any(rule.seeds for rule in self.cells):
            raise ValueError("`cells` must leave `seeds` out where the grid's seeds race, got both; write a list of seeds")
        return self

    @model_validator(mode="after")
    def arms_can_be_tuned(self) -> Self:
        of_cells = [seed for rule in self.cells for seed in rule.seeds or ()]
        seeds = self.seeds if isinstance(self.seeds, RacingSeeds) else (*self.seeds, *of_cells)
        check_tuned(self.nuisance, axes=self.axes, seeds=seeds)
        return self

    @model_validator(mode="after")
    def contrasts_name_grid_axes(self) -> Self:
        named = [axis for contrast in self.contrasts or () for axis in (contrast.axis, *contrast.where)]
        refuse_unknown(named, self.axes, rule="`contrasts` must name axes of this grid")
        for planned in self.contrasts or ():
            if planned.against not in (BASELINE, *self.axes[planned.axis]):
                meant = remedy(str(planned.against), [BASELINE, *map(str, self.axes[planned.axis])])
                rule = f"`against` must be `baseline` or a value of this grid's axis {planned.axis}"
                raise ValueError(f"{rule}, got {planned.against}; {meant}")
        return self

    @model_validator(mode="after")
    def interactions_name_two_grid_axes(self) -> Self:
        named = [axis for axes in self.interactions or () for axis in axes]
        refuse_unknown(named, self.axes, rule="`interactions` must name axes of this grid")
        for one, other in self.interactions or ():
            if one == other:
                raise ValueError(f"`interactions` must name two axes each, got {one} twice; name another one of this grid")
        return self


class SearchSpec(Frozen):
    """Trials that a sampler proposes, one after the other, from what it has seen."""

    start: Annotated[Literal["baseline", "best_cell"], Field(alias="from")] = "baseline"
    """What a proposal changes: the sweep's baseline, or the best cell of the stages before."""
    sampler: str = "tpe"
    """A sampler of Optuna's by its short name."""
    options: dict[str, Any] = {}
    """Of the sampler, as Optuna names them."""
    trials: Annotated[PositiveInt, Field(le=MOST_TRIALS)]
    """Proposals."""
    axes: Annotated[dict[str, AxisSpace], Field(min_length=1), AfterValidator(sound_axes)]
    """The values of each axis: a list of choices, or a range."""
    seed: NonNegativeInt = 0
    """Of the sampler, and the first of every proposal's trials."""
    seeds: SeedCount = 1
    """Trials of each proposal, with the seeds from `seed` on; the sampler is told their mean."""
    limits: Limits = {}
    """What is above one of them is never proposed."""
    objectives: tuple[str, ...] | None = None
    """Registered metrics, and quantities that can be limited, to improve together; None: the sweep's objective alone."""
    warm_start: tuple[str, ...] = ()
    """Earlier sweeps in the same ledger whose scored trials the sampler is told first."""

    @field_validator("sampler")
    @classmethod
    def sampler_is_known(cls, name: str) -> str:
        if name not in SAMPLERS:
            remedy = did_you_mean(name, SAMPLERS, otherwise="try one of them")
            raise ValueError(f"`sampler` must be one of {', '.join(SAMPLERS)}, got {name!r}; {remedy}")
        return name

    @field_validator("options")
    @classmethod
    def the_sampler_takes_its_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if faults := option_faults(sampler, options) if (sampler := info.data.get("sampler")) else []:
            raise ValueError("; ".join(faults))
        return options

    @field_validator("objectives")
    @classmethod
    def objectives_are_several_and_registered(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        scores = score_names()
        known = [*scores, *QUANTITIES]
        refuse_unknown(names or (), known, rule="`objectives` must be registered metrics or quantities")
        if names is not None and (len(set(names)) < max(2, len(names)) or not set(names) & set(scores)):
            rule = "`objectives` must be two or more, each once, with a metric among them"
            raise ValueError(f"{rule}, got {list(names)}; a single one is the sweep's `objective`")
        return names

    @field_validator("warm_start")
    @classmethod
    def earlier_sweeps_do_not_repeat(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"`warm_start` must not repeat a sweep, got {list(names)}")
        return names

    @model_validator(mode="after")
    def the_sampler_suits_the_search(self) -> Self:
        endless = [name for name, space in self.axes.items() if isinstance(space, Range) and not space.whole]
        if self.sampler == "bruteforce" and endless:
            rule = "`sampler` bruteforce needs axes of choices or whole numbers"
            raise ValueError(f"{rule}, got a range of {endless[0]}; list its values, or try sampler=tpe")
        if self.sampler == "cmaes" and self.objectives:
            raise ValueError("`sampler` cmaes has one objective, got `objectives`; try sampler=tpe, gp or nsgaii")
        return self

    def holds(self, values: Mapping[str, AxisValue]) -> bool:
        """Whether all values are of these axes, and in their ranges or among their choices."""
        return all(name in self.axes and holds_value(self.axes[name], value) for name, value in values.items())


LONGEST_NAME = 63
STAGE_NAME = f"[a-z0-9][a-z0-9-]{{0,{LONGEST_NAME - 1}}}"
StageName = Annotated[str, Field(pattern=f"^{STAGE_NAME}$")]
StageMatched = Literal["images", "flops"]


FLOPS = "-flops"
"""Behind the name of a stage, in that of its form at equal FLOPs."""


def flops_name(name: str | None) -> str | None:
    """Of a stage's form at equal FLOPs: a name where the stage has one."""
    return name if name is None else f"{name}{FLOPS}"


class GridStage(Frozen):
    """A stage that is planned whole, before anything starts."""

    name: StageName | None = None
    """What it is known by when the file changes: lower-case letters, digits and hyphens. null: it is known by its axes."""
    grid: Grid
    """Every combination of values."""
    matched: StageMatched | None = None
    """What its arms are given the same of: images, or the training FLOPs of the baseline's. null: by `budget.matched`."""

    @property
    def design(self) -> Grid:
        """What its arms follow from."""
        return self.grid

    def at_equal_flops(self) -> Self:
        """The same arms, each with as many images as cost the baseline's FLOPs, whatever its cells were given."""
        cells = tuple(rule.model_copy(update={"images_per_trial": None}) for rule in self.grid.cells)
        grid = self.grid.model_copy(update={"cells": tuple(rule for rule in cells if rule.seeds)})
        return self.model_copy(update={"grid": grid, "matched": "flops", "name": flops_name(self.name)})


class AblationStage(Frozen):
    """A stage of named changes, planned whole, before anything starts."""

    name: StageName | None = None
    """What it is known by when the file changes: lower-case letters, digits and hyphens. null: by its kind."""
    ablation: Ablation
    """Changes of the baseline, and what each is worth."""
    matched: StageMatched | None = None
    """What its arms are given the same of: images, or the training FLOPs of the baseline's. null: by `budget.matched`."""

    @property
    def design(self) -> Ablation:
        """What its arms follow from."""
        return self.ablation

    def at_equal_flops(self) -> Self:
        """The same arms, each with as many images as cost the baseline's FLOPs."""
        return self.model_copy(update={"matched": "flops", "name": flops_name(self.name)})


class SearchStage(Frozen):
    """A stage whose trials are proposed as it runs."""

    name: StageName | None = None
    """What it is known by when the file changes: lower-case letters, digits and hyphens. null: by its space, start and
    sampler."""
    search: SearchSpec
    """Trials that a sampler proposes."""


Design = Grid | Ablation
PlannedStage = GridStage | AblationStage
"""A stage whose trials are known before anything starts."""
Stage = Annotated[
    Annotated[GridStage, Tag("grid")] | Annotated[AblationStage, Tag("ablation")] | Annotated[SearchStage, Tag("search")],
    key_of("grid", "ablation", "search"),
]
StageWord = Literal["grid", "ablation", "search"]


def word_of(stage: Stage) -> StageWord:
    """The key that a stage is written by."""
    if isinstance(stage, SearchStage):
        return "search"
    return "grid" if isinstance(stage, GridStage) else "ablation"
