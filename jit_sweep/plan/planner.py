"""From a sweep file to the trials it means: every cell resolved and checked before anything is started."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from jit_sweep.errors import UserError
from jit_sweep.plan.rungs import rungs_of
from jit_sweep.spec.read import explain
from jit_sweep.spec.schedulers import Ladder, NoScheduler
from jit_sweep.spec.stages import Grid, GridStage, Range, SearchSpec, SearchStage
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axes import AxisValue, Cell, arm_label, put
from search_spaces.quantities import excess
from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import Frozen, content_hash
from trainables.config.trial import MATHS_VERSION, DataConfig, Recipe, TrialConfig
from trainables.data import DataDescription, describe

MOST_COMBINATIONS = 4096


class Entry(Frozen):
    """One planned piece of a sweep: a trial, how far it goes and how it is scored there."""

    stage: int
    position: int
    """Order within the stage."""
    arm: dict[str, AxisValue]
    """The values of the stage's axes; trials of one arm differ only in their seed."""
    seed: int
    trial: TrialConfig
    images: int
    evaluation: EvaluationConfig
    rungs: tuple[int, ...]
    origin: Literal["grid", "search"]
    gates: tuple[int, ...] = ()
    """The rungs at which the sweep's scheduler decides whether it goes on."""
    race: str = ""
    """What it is compared with there: the entries of the same race."""
    protected: bool = False
    """Part of a planned contrast: never stopped early."""

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
        return f"{self.stage}:{self.trial_id}:{self.evaluation.id}:{self.images}"

    @property
    def label(self) -> str:
        return arm_label(self.arm)


class Plan(Frozen):
    """A sweep resolved: what its grids train, and the searches whose trials are proposed as it runs."""

    spec: SweepSpec
    data: DataDescription
    baseline: Recipe
    entries: tuple[Entry, ...]
    left_out: dict[int, int] = {}
    """Cells above the limits of their grid, by stage: they are not among the entries."""

    @property
    def facts(self) -> dict[str, Any]:
        """What makes two runs of a name the same sweep."""
        return {
            "baseline": self.baseline.model_dump(mode="json"),
            "data": {"digest": self.data.digest, "flip": self.spec.data.flip},
            "objective": self.spec.objective,
            "evaluation": self.spec.evaluation.model_dump(mode="json"),
            "device": _device(self.spec),
            "maths_version": MATHS_VERSION,
        }

    @property
    def fingerprint(self) -> str:
        return content_hash(self.facts)


def recipe_id(trial: TrialConfig) -> str:
    """Names what trials share that differ in their seed only."""
    return trial.model_copy(update={"seed": 0}).id


def plan(spec: SweepSpec, *, source: str) -> Plan:
    """Resolve a sweep. UserError: data, baseline, or a combination of axis values is unsound; all faults at once."""
    data = _described(spec, source=source)
    try:
        baseline = spec.baseline.recipe()
    except ValidationError as error:
        raise UserError(explain(error, source=source, model=Recipe, at="baseline")) from None
    _check_counts(spec, data, baseline, source=source)
    faults: list[tuple[str, str, str]] = []
    entries: list[Entry] = []
    left_out: dict[int, int] = {}
    for index, stage in enumerate(spec.stages):
        try:
            if isinstance(stage, GridStage):
                cells = _grid_entries(spec, data, baseline, stage=index, grid=stage.grid, faults=faults)
                within = _within_limits(cells, stage.grid.limits)
                entries += within
                left_out[index] = len({entry.label for entry in cells} - {entry.label for entry in within})
            else:
                _check_search(spec, data, baseline, stage=index, search=stage.search, faults=faults)
        except ValueError as error:
            faults.append((f"stages[{index}]", "", str(error)))
    if faults:
        raise UserError("\n".join(f"{source}: {fault}" for fault in _told_once(faults)))
    left_out = {stage: count for stage, count in left_out.items() if count}
    return Plan(spec=spec, data=data, baseline=baseline, entries=tuple(entries), left_out=left_out)


def entry_of(
    spec: SweepSpec,
    data: DataDescription,
    cell: Cell,
    *,
    stage: int,
    position: int,
    seed: int,
    images: int,
    origin: Literal["grid", "search"],
    protected: bool = False,
) -> Entry:
    """The planned piece for one cell and seed. ValueError: the cell makes no valid trial."""
    trial = trial_of(spec, data, cell.recipe, seed=seed, images=images)
    evaluation = _evaluation(spec, cell, trial)
    unit = math.lcm(trial.batch_size, *_batch_sizes(spec))
    rungs = rungs_of(spec.scheduler, trial, images=images, count=spec.budget.rungs, unit=unit)
    return Entry(
        stage=stage,
        position=position,
        arm=cell.values,
        seed=seed,
        trial=trial,
        images=images,
        evaluation=evaluation,
        rungs=rungs.measured,
        gates=rungs.gates,
        race=race_of(spec, cell, stage=stage, images=images),
        protected=protected,
        origin=origin,
    )


def _evaluation(spec: SweepSpec, cell: Cell, trial: TrialConfig) -> EvaluationConfig:
    """A cell's evaluation: its own settings, else the sweep's, else what the trial has."""
    sweeps = spec.evaluation.resolved(t_eps_sample=trial.diffusion.t_eps_train, weights=trial.rung_weights)
    evaluation = EvaluationConfig.model_validate({**sweeps.model_dump(), **cell.evaluation})
    trial.check_weights(evaluation.weights)
    if trial.diffusion.prediction == "eps" and not evaluation.t_eps_sample:
        raise ValueError("`t_eps_sample` must be above 0 for eps-prediction, which divides by t, got 0; try 0.05")
    if evaluation.guidance != 1 and trial.data.num_classes == 1:
        raise ValueError(f"`guidance` must be 1 without class labels, got {evaluation.guidance:g}")
    return evaluation


def trial_of(spec: SweepSpec, data: DataDescription, recipe: Recipe, *, seed: int, images: int) -> TrialConfig:
    """A recipe on a sweep's data, trained to `images`. ValueError: they do not fit."""
    config = DataConfig(
        digest=data.digest,
        image_size=data.image_size,
        channels=data.channels,
        num_classes=data.num_classes,
        flip=spec.data.flip,
    )
    unit = math.lcm(recipe.batch_size, *_batch_sizes(spec))
    _check_batch(recipe.batch_size, unit=unit, images=images, workers=spec.resources.workers)
    tree = recipe.model_dump()
    if tree["optimiser"]["schedule"].get("total_images", 0) is None:
        tree["optimiser"]["schedule"]["total_images"] = images
    return TrialConfig.model_validate({**tree, "data": config, "seed": seed, "device": _device(spec)})


def _check_batch(batch_size: int, *, unit: int, images: int, workers: int) -> None:
    """An axis may bring a batch size that the budget and the workers do not fit; all of them divide `unit`."""
    if images % batch_size:
        rule = "`images_per_trial` must be a multiple of batch_size"
        nearest_multiple = max(1, round(images / unit)) * unit
        raise ValueError(f"{rule}, got {images}, batch_size={batch_size}; try {nearest_multiple}")
    if batch_size % workers:
        raise ValueError(f"`workers` must divide batch_size, got workers={workers}, batch_size={batch_size}")


def _device(spec: SweepSpec) -> str:
    return "cuda" if spec.resources.gpus else "cpu"


def race_of(spec: SweepSpec, cell: Cell, *, stage: int, images: int) -> str:
    """What a cell is compared with early: cells of its stage that share the `compare_within` axes, and where the rungs depend
    on the budget, that too."""
    if isinstance(spec.scheduler, NoScheduler):
        return ""
    within = {axis: cell.values[axis] for axis in spec.scheduler.compare_within if axis in cell.values}
    budget = {} if isinstance(spec.scheduler, Ladder) else {"images": images, "rungs": spec.budget.rungs}
    return f"stage={stage} {arm_label({**within, **budget}) if within or budget else ''}".strip()


def _batch_sizes(spec: SweepSpec) -> set[int]:
    """Every batch size that a stage's axes give."""
    axes = [stage.grid.axes if isinstance(stage, GridStage) else stage.search.axes for stage in spec.stages]
    spaces = [given["batch_size"] for given in axes if "batch_size" in given]
    return {size for space in spaces if isinstance(space, tuple) for size in space}


def combinations(axes: Mapping[str, Any]) -> Iterator[dict[str, AxisValue]]:
    """Every combination of the axes' values (a range's are its ends), the first axis slowest.

    ValueError: there are more than MOST_COMBINATIONS.
    """
    ends = [(space.low, space.high) if isinstance(space, Range) else space for space in axes.values()]
    count = math.prod(len(values) for values in ends)
    if count > MOST_COMBINATIONS:
        raise ValueError(
            f"the axes must have at most {MOST_COMBINATIONS} combinations, got {count}; split the stage or search it"
        )
    for values in itertools.product(*ends):
        yield dict(zip(axes, values, strict=True))


def _described(spec: SweepSpec, *, source: str) -> DataDescription:
    try:
        return describe(spec.data.address, holdout=spec.data.holdout)
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: data: {error}") from None


def _check_counts(spec: SweepSpec, data: DataDescription, baseline: Recipe, *, source: str) -> None:
    batch = baseline.batch_size
    rules = [rule for stage in spec.stages if isinstance(stage, GridStage) for rule in stage.grid.cells]
    budgets = [("budget.images_per_trial", spec.budget.images_per_trial)]
    budgets += [
        (f"cells.images_per_trial (where {rule.where})", rule.images_per_trial) for rule in rules if rule.images_per_trial
    ]
    faults = [
        f"{source}: {key}: must be a multiple of batch_size={batch}, got {images}; try {max(1, round(images / batch)) * batch}"
        for key, images in budgets
        if images % batch and not _batch_sizes(spec)
    ]
    if not _batch_sizes(spec) and batch % spec.resources.workers:
        faults.append(f"{source}: resources.workers: must divide batch_size={batch}, got {spec.resources.workers}")
    if spec.evaluation.n > data.heldout_count:
        rule = f"must be at most {data.heldout_count}, the held-out images: scores are read against as many real ones"
        faults.append(f"{source}: evaluation.n: {rule}, got {spec.evaluation.n}")
    if faults:
        raise UserError("\n".join(faults))


def _told_once(faults: list[tuple[str, str, str]]) -> list[str]:
    """Each reason with the first cell that has it, and how many more do. A fault is a place, a cell and a reason."""
    cells: dict[str, list[str]] = {}
    for place, cell, reason in faults:
        cells.setdefault(reason, []).append(": ".join(filter(None, (place, cell))))
    more = {reason: f" (and {len(named) - 1} more cells)" if len(named) > 1 else "" for reason, named in cells.items()}
    return [f"{named[0]}{more[reason]}: {reason}" for reason, named in cells.items()]


def _grid_entries(
    spec: SweepSpec, data: DataDescription, baseline: Recipe, *, stage: int, grid: Grid, faults: list[tuple[str, str, str]]
) -> list[Entry]:
    entries: dict[str, Entry] = {}
    protected = contrasted(grid)
    for values in combinations(grid.axes):
        try:
            cell = put(baseline, values)
            images = _images(grid, values) or spec.budget.images_per_trial
            for seed in _seeds(grid, values):
                entry = entry_of(
                    spec,
                    data,
                    cell,
                    stage=stage,
                    position=len(entries),
                    seed=seed,
                    images=images,
                    origin="grid",
                    protected=protected(values),
                )
                entries.setdefault(entry.key, entry)
        except ValueError as error:
            faults.append((f"stages[{stage}].grid", arm_label(values), _reason(error)))
    return list(entries.values())


def _within_limits(cells: Sequence[Entry], limits: Mapping[str, float]) -> list[Entry]:
    """The entries that cost no more than a grid's limits. ValueError: there were some, and none is left."""
    within = [entry for entry in cells if not excess(limits, entry.trial, images=entry.images)]
    if cells and not within:
        raise ValueError(f"`limits` must leave some trials, got none of {len(cells)} within {_shown(limits)}; raise a limit")
    return within


def _shown(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={most:g}" for name, most in limits.items())


def _check_search(
    spec: SweepSpec,
    data: DataDescription,
    baseline: Recipe,
    *,
    stage: int,
    search: SearchSpec,
    faults: list[tuple[str, str, str]],
) -> None:
    """Every combination of choices and of ranges' ends must be a valid trial from the baseline, and one of them within the
    limits. A proposal between the ends, or from another cell, that makes no such trial is never made."""
    images = spec.budget.images_per_trial
    over: list[bool] = []
    for values in combinations(search.axes):
        try:
            cell = put(baseline, values)
            trial = trial_of(spec, data, cell.recipe, seed=search.seed, images=images)
            _evaluation(spec, cell, trial)
            over.append(bool(excess(search.limits, trial, images=images)))
        except ValueError as error:
            faults.append((f"stages[{stage}].search", arm_label(values), _reason(error)))
    if over and all(over) and search.start == "baseline":
        rule = "`limits` must leave some trials, got none at the ends of the axes within"
        faults.append((f"stages[{stage}].search", "", f"{rule} {_shown(search.limits)}; raise a limit"))


def contrasted(grid: Grid) -> Callable[[Mapping[str, AxisValue]], bool]:
    """Whether the cell with these axis values is part of a planned contrast of its grid."""
    planned = [contrast for contrast in grid.planned_contrasts() if len(grid.axes[contrast.axis]) > 1]
    return lambda values: any(_matches(contrast.where, values) for contrast in planned)


def _seeds(grid: Grid, values: Mapping[str, AxisValue]) -> tuple[int, ...]:
    given = [rule.seeds for rule in grid.cells if rule.seeds and _matches(rule.where, values)]
    return given[-1] if given else grid.seeds


def _images(grid: Grid, values: Mapping[str, AxisValue]) -> int | None:
    given = [rule.images_per_trial for rule in grid.cells if rule.images_per_trial and _matches(rule.where, values)]
    return given[-1] if given else None


def _matches(where: Mapping[str, AxisValue], values: Mapping[str, AxisValue]) -> bool:
    return all(axis in values and values[axis] == value for axis, value in where.items())


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(str(item["msg"]).removeprefix("Value error, ") for item in error.errors())
    return str(error)


def searches(spec: SweepSpec) -> dict[int, SearchSpec]:
    """The sweep's searches by stage."""
    return {index: stage.search for index, stage in enumerate(spec.stages) if isinstance(stage, SearchStage)}


def proposals(found: Plan) -> dict[int, int]:
    """How many trials each search brings, by stage: what it asks for, or as many as a space of choices only has."""
    return {stage: _proposals(found, search) * search.seeds for stage, search in searches(found.spec).items()}


def _proposals(found: Plan, search: SearchSpec) -> int:
    if not all(isinstance(space, tuple) for space in search.axes.values()):
        return search.trials
    cells = [put(found.baseline, values) for values in combinations(search.axes)]
    return min(search.trials, len({arm_label(cell.values) for cell in cells if _may_be_proposed(found, search, cell)}))


def _may_be_proposed(found: Plan, search: SearchSpec, cell: Cell) -> bool:
    """Whether a cell is within the limits, as far as that is known before the cell that a search starts from."""
    if search.start == "best_cell" or not search.limits:
        return True
    images = found.spec.budget.images_per_trial
    trial = trial_of(found.spec, found.data, cell.recipe, seed=search.seed, images=images)
    return not excess(search.limits, trial, images=images)
