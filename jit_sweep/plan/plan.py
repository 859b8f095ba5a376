"""From a sweep file to the trials it means: every cell resolved and checked before anything is started."""

from collections.abc import Iterable

from jit_sweep.errors import UserError
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.fault import Fault, by_reason
from jit_sweep.plan.grid import planned_grid
from jit_sweep.plan.planner import Planner
from jit_sweep.plan.search import search_faults, searches
from jit_sweep.plan.trial import batch_sizes
from jit_sweep.spec.read import override_faults
from jit_sweep.spec.stages import GridStage
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.presets import resolution_of
from trainables.config.evaluation_rules import check_heldout
from trainables.config.trial import Recipe, default_precision
from trainables.data import describe


def plan(spec: SweepSpec, *, source: str) -> Plan:
    """Resolve a sweep. UserError: data, baseline, or a combination of axis values is unsound; all faults at once."""
    planner = _planner(spec, source=source)
    _refuse(map(str, [*preset_faults(planner), *count_faults(planner)]), source=source)
    faults: list[Fault] = []
    entries: list[Entry] = []
    left_out: dict[int, int] = {}
    for index, stage in enumerate(spec.stages):
        try:
            if isinstance(stage, GridStage):
                grid = planned_grid(stage.grid, planner=planner, stage=index)
                entries += grid.entries
                faults += grid.faults
                left_out |= {index: grid.left_out} if grid.left_out else {}
            else:
                faults += search_faults(stage.search, planner=planner, stage=index)
        except ValueError as error:
            faults.append(Fault(f"stages[{index}]", str(error)))
    faults += budget_faults(spec, entries)
    _refuse(by_reason(faults), source=source)
    return Plan(spec=spec, data=planner.data, baseline=planner.baseline, entries=tuple(entries), left_out=left_out)


def budget_faults(spec: SweepSpec, entries: Iterable[Entry]) -> list[Fault]:
    """A fault where the sweep's images bring no trial to its end."""
    total, proposed = spec.budget.total_images, [spec.budget.images_per_trial] if searches(spec) else []
    smallest = min([*(entry.images for entry in entries), *proposed], default=0)
    if total is None or total >= smallest:
        return []
    rule = f"must bring one trial to its end, got {total:,}; the smallest trains on {smallest:,}"
    return [Fault("budget.total_images", f"{rule}, so give as many, or lower `images_per_trial`")]


def count_faults(planner: Planner) -> list[Fault]:
    """Counts that no trial of the sweep can have, whatever its axes: images in no whole batches, too many held-out ones."""
    spec, batch = planner.spec, planner.baseline.batch_size
    faults: list[Fault] = []
    if not batch_sizes(spec):
        faults = [
            Fault(key, f"must be a multiple of batch_size={batch}, got {images}; try {max(1, round(images / batch)) * batch}")
            for key, images in _budgets(spec)
            if images % batch
        ]
        if batch % spec.resources.workers:
            faults.append(Fault("resources.workers", f"must divide batch_size={batch}, got {spec.resources.workers}"))
    try:
        check_heldout(spec.evaluation, heldout=planner.data.heldout_count)
    except ValueError as error:
        faults.append(Fault("evaluation.n", str(error)))
    return faults


def preset_faults(planner: Planner) -> list[Fault]:
    """A fault where the preset is the recipe for images of another size."""
    name, size = planner.spec.baseline.preset, planner.data.image_size
    if resolution_of(name) in (None, size):
        return []
    rule = f"{name} is the official run on images of {resolution_of(name)} px"
    return [Fault("baseline.preset", f"{rule}, got images of {size} px; try {name.partition('@')[0]}")]


def _budgets(spec: SweepSpec) -> list[tuple[str, int]]:
    """Every count of images that the file gives trials, by its key."""
    rules = [rule for stage in spec.stages if isinstance(stage, GridStage) for rule in stage.grid.cells]
    given = [(rule.where, rule.images_per_trial) for rule in rules if rule.images_per_trial]
    own = [(f"cells.images_per_trial (where {where})", images) for where, images in given]
    return [("budget.images_per_trial", spec.budget.images_per_trial), *own]


def _planner(spec: SweepSpec, *, source: str) -> Planner:
    """UserError: the data cannot be described, or an override does not fit; both are told."""
    faults = override_faults(spec.baseline, source=source)
    try:
        data = describe(spec.data.address, holdout=spec.data.holdout)
    except (OSError, ValueError) as error:
        raise UserError("\n".join([f"{source}: data: {error}", *faults])) from None
    if faults:
        raise UserError("\n".join(faults))
    return Planner(spec, data, _baseline(spec))


def _baseline(spec: SweepSpec) -> Recipe:
    """With the precision of its trials, which belongs to the sweep's identity."""
    recipe = spec.baseline.recipe()
    return recipe.model_copy(update={"precision": recipe.precision or default_precision(spec.resources.device)})


def _refuse(reasons: Iterable[str], *, source: str) -> None:
    """UserError with all reasons, where there are any."""
    if lines := [f"{source}: {reason}" for reason in reasons]:
        raise UserError("\n".join(lines))
