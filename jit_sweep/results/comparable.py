"""Why the arms of a question do not compare, whatever their scores; said before any test."""

from collections.abc import Callable, Mapping, Sequence

from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm
from trainables.evaluation.metrics.registry import metric_of

LEAST_SHARED_SEEDS = 3
"""Of two seeds the 95 % interval is 12.7 standard errors wide to each side, and rests on one degree of freedom."""
Marks = Mapping[str, float]
"""Scores that images get which no model made, such as white ones, by metric: what is no better has learned nothing."""

_FIELDS: Mapping[str, Callable[[Arm], object]] = {
    "images": lambda arm: f"{arm.images:,}",
    "data": lambda arm: arm.trials[0].entry.trial.data.digest,
    "batch_size": lambda arm: arm.trials[0].entry.trial.batch_size,
    "precision": lambda arm: arm.trials[0].entry.trial.precision,
    "evaluation.n": lambda arm: arm.trials[0].entry.evaluation.n,
    "evaluation.sampler": lambda arm: arm.trials[0].entry.evaluation.sampler,
}
"""What must be equal for scores to compare, unless it is what the question is about."""


def refusal(question: Question, arms: Sequence[Arm], *, objective: str, marks: Marks) -> str:
    """The field that keeps the arms from being compared, and its values; empty where nothing does."""
    reasons = (
        _differing(question, arms),
        _blind(question, objective),
        _counted("unfinished", sum(arm.unfinished for arm in arms)),
        _counted("stopped early", sum(arm.pruned for arm in arms)),
        _too_few_shared(arms, objective),
        _trivial(question, arms, marks),
    )
    return next(filter(None, reasons), "")


def same_run(arms: Sequence[Arm]) -> bool:
    """Whether two arms' scores of every seed that both have are equal to the last bit."""
    if len(arms) != 2 or arms[0].images != arms[1].images:
        return False
    a, b = ({trial.entry.seed: trial.score.by_name for trial in arm.trials if trial.score} for arm in arms)
    shared = a.keys() & b.keys()
    return bool(shared) and all(a[seed] == b[seed] for seed in shared)


def learned_nothing(arm: Arm, marks: Marks) -> bool:
    """Whether all that it scored collapsed, or a mean is no better than a mark."""
    if arm.scored and arm.collapsed == arm.scored:
        return True
    means = {metric: spread.mean for metric, spread in arm.metrics.items() if metric in marks}
    return any(metric_of(metric).loss(mean) >= metric_of(metric).loss(marks[metric]) for metric, mean in means.items())


def _differing(question: Question, arms: Sequence[Arm]) -> str:
    for field, of in _FIELDS.items():
        values = list(dict.fromkeys(str(of(arm)) for arm in arms))
        if len(values) > 1 and field.removeprefix("evaluation.") not in question.axes:
            return f"{field}: {' and '.join(values)}"
    return ""


def _blind(question: Question, objective: str) -> str:
    blind = metric_of(objective).blind_to & {*question.axes}
    return f"objective: {objective} says nothing along {', '.join(sorted(blind))}" if blind else ""


def _counted(what: str, count: int) -> str:
    return f"{what}: {count} {'trial' if count == 1 else 'trials'}" if count else ""


def _too_few_shared(arms: Sequence[Arm], objective: str) -> str:
    shared = set.intersection(*({*arm.by_seed(objective)} for arm in arms))
    few = len(shared) < LEAST_SHARED_SEEDS
    return f"seeds: {len(shared)} shared, and a verdict needs {LEAST_SHARED_SEEDS}" if few else ""


def _trivial(question: Question, arms: Sequence[Arm], marks: Marks) -> str:
    by_label = {arm.label: arm for arm in arms}
    for pair in question.pair_labels:
        if all(learned_nothing(by_label[label], marks) for label in pair):
            return f"trivial: neither {' nor '.join(pair)} is better than images that no model made"
    return ""
