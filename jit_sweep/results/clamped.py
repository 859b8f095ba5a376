"""What the clamp of sampling does to a verdict along `prediction`: it does not change all predictions' samples alike. Pure."""

from collections.abc import Mapping

from jit_sweep.plan.clamp_remarks import FAIR
from jit_sweep.results.findings import Answers, Finding, Findings, Outcome, Unread
from search_spaces.axis import AxisValue
from trainables.diffusion.clamp import clamp_bias

CLAMP = "t_eps_sample"


def without_clamp(found: Findings) -> Answers:
    """What was asked, planned or not, of arms that sample with the clamp off."""
    return found.every.of(_is_off)


def clamp_note(finding: Finding, unclamped: Answers) -> str:
    """Whether a verdict rests on the clamp, by the same question's among the `unclamped` where that was scored too.

    Empty where the clamp is off, or changes the arms' samples alike.
    """
    if "prediction" not in finding.question.axes or not finding.arms or not _apart(finding):
        return ""
    clamp = finding.arms[0].trials[0].entry.evaluation.t_eps_sample
    off = next((other for other in unclamped if other.effect and _turned(other, finding)), None)
    if off is None:
        by = f"the clamp of sampling alone sets exact networks' samples {100 * _apart(finding):.1f} % apart in their deviation"
        return f"{by}; `{CLAMP}: [{clamp:g}, 0]` among the axes says whether the verdict rests on it"
    how = f"with the clamp of sampling off ({off.question.label}: {off.effect})"
    alike = _side(finding) == _turned(off, finding) * _side(off)
    return f"the same {how}" if alike else f"the verdict rests on the clamp: it is another one {how}"


def _side(finding: Finding) -> int:
    """Which arm is better: of a verdict by its outcome, of what was not planned by its own interval; 0 where neither is."""
    effect = finding.effect
    unplanned = finding.outcome is Outcome.POST_HOC
    if effect is None or not (finding.outcome is Outcome.REAL or (unplanned and effect.interval.excludes_zero)):
        return 0
    return 1 if effect.estimate > 0 else -1


def _apart(finding: Finding) -> float:
    """Between the arms' biases by an exact network; 0 where they hardly differ."""
    entries = [arm.trials[0].entry for arm in finding.arms]
    if any(entry.trial.method.kind != "denoiser" for entry in entries):
        return 0.0
    biases = [clamp_bias(entry.trial.diffusion, entry.evaluation) for entry in entries]
    apart = max(biases) - min(biases)
    return apart if apart > FAIR else 0.0


def _is_off(asked: Unread) -> bool:
    return bool(asked.arms) and all(arm.trials[0].entry.evaluation.t_eps_sample == 0 for arm in asked.arms)


def _turned(off: Finding, finding: Finding) -> int:
    """1 where a finding asks the same but for the clamp, -1 where it asks it the other way round, else 0."""
    cells, own = _cells(off), _cells(finding)
    return 1 if cells == own else -1 if cells == own[::-1] and len(own) == 2 else 0


def _cells(finding: Finding) -> list[Mapping[str, AxisValue]]:
    return [{axis: value for axis, value in cell.items() if axis != CLAMP} for cell in finding.question.cells]
