"""What tuning the sampling of trained networks will draw, said before it does."""

from jit_sweep.plan.entry import Entry, Plan
from trainables.config.evaluation_rules import weight_names
from trainables.config.fields import counted
from trainables.config.tuning import Tuning


def samples_to_tune(tuning: Tuning, entry: Entry) -> int:
    """Samples that tuning draws of a trial at most: of each setting, and twice the evaluation's to confirm."""
    n = entry.evaluation.n
    return _settings(tuning, entry) * tuning.images(n) + 2 * n


def sampling_remarks(plan: Plan) -> list[str]:
    """How many samples are drawn beside the trials' own scores; nothing where nothing is tuned."""
    tuning = plan.spec.evaluation.tune
    if tuning is None:
        return []
    few, n = tuning.images(plan.spec.evaluation.n), plan.spec.evaluation.n
    trials = {entry.trial_id: entry for entry in plan.whole}.values()
    each = [samples_to_tune(tuning, entry) for entry in trials]
    most = max((_settings(tuning, entry) for entry in trials), default=tuning.trials)
    how = f"at most {counted(most, 'setting')} on {few:,} images each, and two on {n:,} to confirm"
    drawn = f"{max(each):,} samples a trial, {sum(each):,} in all" if each else "none yet"
    return [f"once trained, each trial's sampling is tuned: {how}: {drawn}"]


def _settings(tuning: Tuning, entry: Entry) -> int:
    return tuning.most(tuning.listed(entry.evaluation, weights=weight_names(entry.trial)))
