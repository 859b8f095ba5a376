"""What tuning the sampling of trained networks will draw, said before it does."""

from jit_sweep.plan.entry import Plan
from trainables.config.evaluation_rules import weight_names
from trainables.config.fields import counted


def sampling_remarks(plan: Plan) -> list[str]:
    """How many samples are drawn beside the trials' own scores; nothing where nothing is tuned."""
    tuning = plan.spec.evaluation.tune
    if tuning is None:
        return []
    few, n = tuning.images(plan.spec.evaluation.n), plan.spec.evaluation.n
    settings = {
        entry.trial_id: tuning.most(tuning.listed(entry.evaluation, weights=weight_names(entry.trial)))
        for entry in plan.entries
    }
    each = [count * few + 2 * n for count in settings.values()]
    most = max(settings.values(), default=tuning.trials)
    how = f"at most {counted(most, 'setting')} on {few:,} images each, and two on {n:,} to confirm"
    drawn = f"{max(each):,} samples a trial, {sum(each):,} in all" if each else "none yet"
    return [f"once trained, each trial's sampling is tuned: {how}: {drawn}"]
