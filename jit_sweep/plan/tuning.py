"""An arm at the settings that it is tried at, before it is judged at its best one."""

from collections.abc import Mapping

from jit_sweep.plan.entry import Entry
from jit_sweep.plan.foundations import TRAINED_WITH, built_on
from jit_sweep.plan.planner import Planner
from jit_sweep.spec.nuisance import Nuisance
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell, arm_label, put


def tuning_of(nuisance: Nuisance, arm: Entry, planner: Planner) -> list[Entry]:
    """The arm at each setting, one that tuning seeds are to be given: nothing stops such a trial early, so that all arms get
    the same effort.

    ValueError: a setting makes no trial, or one that arms do not compare at.
    """
    return [_as_tuning(tuned_at(setting, arm, planner)) for setting in nuisance.settings]


def tuned_at(setting: Mapping[str, AxisValue], arm: Entry, planner: Planner) -> Entry:
    """An arm at one setting, to be judged. ValueError: there is no such trial, or it does not compare with others."""
    cell = put(planner.baseline, {**arm.arm, **setting})
    taken = {axis: value for axis, value in cell.values.items() if axis not in arm.arm}
    own = Cell(cell.recipe, arm.arm, cell.evaluation)
    tuned = planner.entry(
        own, stage=arm.stage, position=0, seed=arm.seed, images=arm.images, protected=arm.protected, base=taken
    )
    if planner.spec.budget.count_earlier_stages and _begins_from(arm) != _begins_from(tuned):
        rule = (
            "with `count_earlier_stages` the settings of `nuisance` must build on the same trials, or arms would cost otherwise"
        )
        raise ValueError(f"{rule}, got {arm_label(setting)}; make that an axis of the stage")
    if changed := _changed(arm, tuned):
        rule = "`nuisance` must leave network, batch size, precision and evaluation as they are, or arms would not compare"
        raise ValueError(f"{rule}, got another {' and '.join(changed)}; make it an axis of the stage")
    return tuned


def _as_tuning(tuned: Entry) -> Entry:
    both = {**tuned.arm, **tuned.base}
    return tuned.model_copy(update={"origin": "tuning", "arm": both, "base": tuned.arm, "gates": (), "race": ""})


def _begins_from(entry: Entry) -> set[str]:
    return {trial for gives, trial, _ in built_on(entry.trial, entry.evaluation) if gives in TRAINED_WITH}


def _changed(arm: Entry, tuned: Entry) -> list[str]:
    one, other = arm.trial, tuned.trial
    same = {
        "network": one.model == other.model,
        "batch size": one.batch_size == other.batch_size,
        "precision": one.precision == other.precision,
        "evaluation": arm.evaluation == tuned.evaluation,
    }
    return [what for what, is_same in same.items() if not is_same]
