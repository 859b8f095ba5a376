"""What tuning the sampling of trained networks will draw, said before it does."""

from jit_sweep.plan.entry import Plan
from trainables.config.fields import counted


def sampling_remarks(plan: Plan) -> list[str]:
    """How many samples are drawn beside the trials' own scores; nothing where nothing is tuned."""
    tuning = plan.spec.evaluation.tune
    if tuning is None:
        return []
    trials = {entry.trial_id: entry.evaluation.n for entry in plan.entries}
    each = [tuning.trials * tuning.images(n) + 2 * n for n in trials.values()]
    few, n = tuning.images(plan.spec.evaluation.n), plan.spec.evaluation.n
    how = f"at most {counted(tuning.trials, 'setting')} on {few:,} images each, and two on {n:,} to confirm"
    drawn = f"{max(each):,} samples a trial, {sum(each):,} in all" if each else "none yet"
    return [f"once trained, each trial's sampling is tuned: {how}: {drawn}"]
