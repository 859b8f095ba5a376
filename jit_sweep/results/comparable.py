"""Why the arms of a question do not compare, whatever their scores; said before any test."""

from collections.abc import Mapping, Sequence

from jit_sweep.plan.questions import PATCH_SIZE, Question
from jit_sweep.results.arms import Arm, Convergence
from jit_sweep.results.scales import in_words, scale_of
from jit_sweep.spec.budget import Matched
from search_spaces.cells import differing_axes
from trainables.evaluation.metrics.metric import Samples
from trainables.evaluation.metrics.registry import metric_of

LEAST_SHARED_SEEDS = 3
"""Of two seeds the 95 % interval is 12.7 standard errors wide to each side, and rests on one degree of freedom."""
WHOLE_BATCHES = 0.02
"""Share by which budgets of equal FLOPs may differ, since each is a whole number of batches."""
Marks = Mapping[str, float]
"""Scores that images get which no model made, such as white ones, by metric: what is no better has learned nothing."""


_SET_BY: Mapping[str, set[str]] = {
    "batch_size": {"batch_size", "preset"},
    "evaluation.steps": {"sampling_steps"},
    "evaluation.shift": {"sampling_shift"},
    "evaluation.t_eps_sample": {"t_eps_sample", "t_eps_train", "preset"},
    "evaluation.weights": {"weights", "preset"},
}
"""Axes that set a setting of another name; the clamp of sampling is that of training where none is given."""
_IMAGES = ("drawn from noise", "held-out ones made again", "none at all")
"""By `EntryRow.apart`."""


def refusal(question: Question, arms: Sequence[Arm], *, objective: str, marks: Marks, matched: Matched = "images") -> str:
    """The field that keeps the arms from being compared, and its values; empty where nothing does."""
    return (
        _unmatched(arms, matched)
        or _differing(question, arms)
        or _blind(question, arms, objective)
        or _made_again(arms)
        or _of_no_images(arms, objective)
        or _counted("unfinished", sum(arm.unfinished for arm in arms))
        or _counted("stopped early", sum(arm.pruned for arm in arms))
        or _too_few_shared(arms, objective)
        or _trivial(arms, marks if is_of_samples(objective) else {})
        or _unconverged(question, arms)
    )


def same_run(arms: Sequence[Arm]) -> bool:
    """Whether two arms' scores of every seed that both have are equal to the last bit."""
    if len(arms) != 2 or arms[0].images != arms[1].images:
        return False
    a, b = (arm.scores for arm in arms)
    shared = a.keys() & b.keys()
    return bool(shared) and all(a[seed] == b[seed] for seed in shared)


def is_of_samples(metric: str) -> bool:
    """Whether a metric scores generated images. An error of the network is told by itself: a young network's may be well below
    that of guessing the mean while its samples still look like noise."""
    return isinstance(metric_of(metric).needs, Samples)


def learned_nothing(arm: Arm, marks: Marks) -> bool:
    """Whether all that it scored collapsed, or a mean is no better than a mark."""
    if arm.scored and arm.collapsed == arm.scored:
        return True
    means = {metric: spread.mean for metric, spread in arm.metrics.items() if metric in marks} if marks else {}
    return any(metric_of(metric).loss(mean) >= metric_of(metric).loss(marks[metric]) for metric, mean in means.items())


def _unmatched(arms: Sequence[Arm], matched: Matched) -> str:
    """What the arms of a sweep are given the same of, where they were not; FLOPs come in whole batches, and seconds were
    matched by the plan."""
    if matched == "device_seconds":
        return ""
    given = [arm.training_flops if matched == "flops" else arm.images for arm in arms]
    if max(given) <= min(given) * (1 + WHOLE_BATCHES if matched == "flops" else 1):
        return ""
    values = [f"{value:.3g}" if matched == "flops" else f"{value:,}" for value in dict.fromkeys(given)]
    return f"{'training FLOPs' if matched == 'flops' else matched}: {' and '.join(values)}"


def _unconverged(question: Question, arms: Sequence[Arm]) -> str:
    """Which arms were still learning: of two patch sizes the one that learns slower may overtake the other."""
    if PATCH_SIZE not in question.axes or question.kind == "interaction":
        return ""
    for arm in arms:
        if arm.convergence is None:
            return f"convergence: not known of {arm.label}, which needs three rungs"
        if not arm.convergence.converged:
            return f"convergence: {arm.label} {still_learning(arm.convergence)}"
    return ""


def still_learning(convergence: Convergence) -> str:
    """Such as `would gain 1.2 % in heldout_v_error with a quarter more training, and a seed's noise is 0.4 %`."""
    scale = scale_of(convergence.metric)
    gain, noise = (in_words(scale, value, sign=False) for value in (convergence.gain, convergence.noise))
    return f"would gain {gain} in {convergence.metric} with a quarter more training, and a seed's noise is {noise}"


def _differing(question: Question, arms: Sequence[Arm]) -> str:
    for field in dict.fromkeys(field for arm in arms for field in arm.settings):
        values = dict.fromkeys(arm.settings[field] for arm in arms if field in arm.settings)  # in others it changes nothing
        if len(values) > 1 and _SET_BY.get(field, {field.removeprefix("evaluation.")}).isdisjoint(question.axes):
            return f"{field}: {' and '.join(values)}"
    if len({arm.trials[0].entry.sweep for arm in arms}) > 1 and len(maths := {arm.maths_version: None for arm in arms}) > 1:
        return f"maths_version: {' and '.join(maths)}"
    return ""


def _blind(question: Question, arms: Sequence[Arm], objective: str) -> str:
    """A preset differs along axes that a question does not name."""
    blind = metric_of(objective).blind_to
    along = {*question.axes}
    if "preset" in question.axes and blind:
        along |= differing_axes([arm.axis_values for arm in arms])
    blind &= along
    return f"objective: {objective} says nothing along {', '.join(sorted(blind))}" if blind else ""


def _made_again(arms: Sequence[Arm]) -> str:
    made = sorted({arm.trials[0].entry.apart for arm in arms})
    return f"images: {' and '.join(_IMAGES[apart] for apart in made)}" if len(made) > 1 else ""


def _of_no_images(arms: Sequence[Arm], objective: str) -> str:
    undrawn = is_of_samples(objective) and not all(arm.trials[0].entry.draws for arm in arms)
    return f"objective: {objective} is of samples, and these draw none" if undrawn else ""


def _counted(what: str, count: int) -> str:
    return f"{what}: {count} {'trial' if count == 1 else 'trials'}" if count else ""


def _too_few_shared(arms: Sequence[Arm], objective: str) -> str:
    shared = set.intersection(*({*arm.by_seed(objective)} for arm in arms))
    few = len(shared) < LEAST_SHARED_SEEDS
    return f"seeds: {len(shared)} shared, and a verdict needs {LEAST_SHARED_SEEDS}" if few else ""


def _trivial(arms: Sequence[Arm], marks: Marks) -> str:
    for pair in zip(arms[::2], arms[1::2], strict=True):
        if all(learned_nothing(arm, marks) for arm in pair):
            least = ", ".join(f"{metric} {mark:.4g}" for metric, mark in marks.items())
            blank = f"blank images{f' ({least})' if least else ''}"
            return f"trivial: neither {' nor '.join(arm.label for arm in pair)} is better than {blank}"
    return ""
