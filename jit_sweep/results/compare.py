"""Two sweeps, arms or trials beside each other: what differs in configuration, and in results by the verdicts' own test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from jit_sweep.errors import UserError
from jit_sweep.ledger.differences import Change, changes
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.plan.foundations import built_on
from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm, Spread, TrialResult, scored_of, scored_of_trials
from jit_sweep.results.compared import Compared, Kind, differing_field, read_compared
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.findings import Asking, Finding, Outcome, reply
from jit_sweep.results.leaderboard import marks_of, read_asking
from search_spaces.axis import AxisValue
from trainables.evaluation.metrics.registry import ScoreKinds, verdict_metrics

_GIVEN_BY = {"encoder": "codes", "parent": "weights", "classifier": "guidance"}
"""What the stage gives that each of these axes names."""
_Baselines = tuple[Mapping[str, AxisValue], Mapping[str, AxisValue]]
"""The value of each axis, of both sides."""


@dataclass(frozen=True)
class ComparedRow:
    """One score of both sides."""

    label: str
    """The arm, where several are compared; else empty."""
    metric: str
    first: Spread | None
    second: Spread | None
    effect: Effect | None = None
    """The first less the second, over shared seeds; None of single trials, and where the two do not compare."""


@dataclass(frozen=True)
class Comparison:
    """The two, and what differs."""

    kind: Kind
    first: str
    second: str
    objective: str
    configuration: tuple[Change, ...]
    rows: tuple[ComparedRow, ...]
    findings: tuple[Finding, ...]
    """The verdict for each arm that both have; none of trials: one seed each may differ by luck alone."""
    refused: str = ""
    """Why results do not compare: a field and its two values; empty where they do."""
    only_first: tuple[str, ...] = ()
    """Arms that the first sweep alone has."""
    only_second: tuple[str, ...] = ()

    @property
    def is_refused(self) -> bool:
        """Whether no result compares."""
        return bool(self.refused) or (bool(self.findings) and all(f.outcome is Outcome.NOT_COMPARABLE for f in self.findings))


def read_comparison(reader: LedgerReader, first: str, second: str) -> Comparison:
    """Compare what two names mean. UserError: a name that means nothing or several things, or a sweep beside an arm."""
    one, other = read_compared(reader, first), read_compared(reader, second)
    if one.kind != other.kind:
        raise UserError(
            f"`compare` needs two sweeps, two arms or two trials, got {one.kind[:-1]} {one.name!r} and "
            f"{other.kind[:-1]} {other.name!r}; name two of a kind"
        )
    if one.name == other.name:
        raise UserError(f"`compare` needs two that differ, got {one.name!r} twice; name another")
    made = Comparison(
        kind=one.kind,
        first=one.name,
        second=other.name,
        objective=one.results.objective,
        configuration=tuple(changes(one.configuration, other.configuration)),
        rows=(),
        findings=(),
        refused=differing_field(one.sweep.identity, other.sweep.identity),
    )
    if made.refused:
        return made
    if one.trial is not None and other.trial is not None:
        return _of_trials(made, one.trial, other.trial)
    asking = replace(read_asking(reader, one.sweep), marks=marks_of(reader.heldout(one.sweep.name)))
    baselines = asking.baseline, read_asking(reader, other.sweep).baseline
    return _of_arms(made, one, other, asking, baselines)


def _of_trials(made: Comparison, one: TrialResult, other: TrialResult) -> Comparison:
    judging = _metrics(made.objective, scored_of_trials([one]))
    metrics = [name for name in judging if one.value(name) is not None or other.value(name) is not None]
    images = one.entry.images, other.entry.images
    if images[0] != images[1]:
        return replace(made, refused=f"images: {images[0]:,} and {images[1]:,}")
    return replace(made, rows=tuple(ComparedRow("", name, _alone(one, name), _alone(other, name)) for name in metrics))


def _of_arms(made: Comparison, one: Compared, other: Compared, asking: Asking, baselines: _Baselines) -> Comparison:
    """The arms of both sides that are paired, judged together among all arms of their stages."""
    pairs = _pairs(one, other)
    named = _told_apart(one, other)
    scores = StageScores([arm for side in named for arm in side.values()])
    findings, rows = [], []
    for label, pair in pairs:
        first, second = (side[id(arm)] for side, arm in zip(named, pair, strict=True))
        finding = _finding((first, second), scores, asking, one, refused=_of_other_trials(pair, baselines))
        findings.append(finding)
        rows += _rows(label, made.objective, (first, second), finding)
    paired = {id(arm) for _, pair in pairs for arm in pair}
    alone = [[arm.label for arm in side.results.arms if id(arm) not in paired] for side in (one, other)]
    only = [tuple(labels) if made.kind == "sweeps" else () for labels in alone]
    return replace(made, rows=tuple(rows), findings=tuple(findings), only_first=only[0], only_second=only[1])


def _pairs(one: Compared, other: Compared) -> list[tuple[str, tuple[Arm, Arm]]]:
    if one.arm is not None and other.arm is not None:
        return [("", (one.arm, other.arm))]
    arms, known = (StageScores(side.results.arms).arms for side in (one, other))
    return [(label, (arm, known[label])) for label, arm in arms.items() if label in known]


def _told_apart(one: Compared, other: Compared) -> list[dict[int, Arm]]:
    """The arms of both sides' stages, by their identity; those of two sweeps or stages named by that as well."""
    if one.sweep.name != other.sweep.name:
        extra = [{"sweep": side.sweep.name} for side in (one, other)]
    elif one.arm and other.arm and one.arm.stage != other.arm.stage:
        extra = [{"stage": str(side.arm.stage)} for side in (one, other) if side.arm]
    else:
        extra = [{}, {}]
    sides = []
    for side, more in zip((one, other), extra, strict=True):
        stage = side.arm.stage if side.arm else None
        arms = [arm for arm in side.results.arms if stage is None or arm.stage == stage]
        sides.append({id(arm): replace(arm, arm={**arm.arm, **more}) for arm in arms})
    return sides


def _of_other_trials(pair: tuple[Arm, Arm], baselines: _Baselines) -> str:
    """What both name by the same words and have of different trials, as `codes best` of two sweeps may be; empty: nothing."""
    given = []
    for arm in pair:
        entry = arm.trials[0].entry
        given.append(
            {gives: f"{trial} at {images:,} images" for gives, trial, images in built_on(entry.trial, entry.evaluation)}
        )
    for axis, gives in _GIVEN_BY.items():
        first, second = (arm.arm.get(axis, baseline.get(axis)) for arm, baseline in zip(pair, baselines, strict=True))
        trials = [each.get(gives, "none") for each in given]
        if first is not None and first == second and trials[0] != trials[1]:
            return f"{axis} {first}: {' and '.join(trials)}"
    return ""


def _finding(pair: tuple[Arm, Arm], scores: StageScores, asking: Asking, of: Compared, *, refused: str) -> Finding:
    first, second = pair
    axes = [axis for axis in dict.fromkeys([*first.arm, *second.arm]) if first.arm.get(axis) != second.arm.get(axis)]
    cells = (dict(first.arm), dict(second.arm))
    question = Question(kind="contrast", axes=tuple(axes), cells=cells, weights=(1.0, -1.0))
    answer = reply(question, scores, asking)
    answer = replace(answer, refused=refused or answer.refused)
    if unjudged := answer.unjudged():
        return unjudged if unjudged.outcome is Outcome.SAME_RUN else replace(unjudged, effect=None, others=())
    found = answer.finding(Outcome.POST_HOC, "it was not asked before its scores were known")
    asked = (each for each in of.results.findings.planned if {*each.question.labels} == {*question.labels})
    if (planned := next(asked, None)) is None:
        return found
    return replace(found, outcome=planned.outcome, reason=planned.reason, adjusted_p=planned.adjusted_p, gap=planned.gap)


def _rows(label: str, objective: str, pair: tuple[Arm, Arm], finding: Finding) -> list[ComparedRow]:
    """The objective; of two arms alone every metric that judges."""
    effects = {effect.metric: effect for effect in (finding.effect, *finding.others) if effect}
    first, second = pair
    metrics = [objective] if label else _metrics(objective, scored_of(pair))
    return [
        ComparedRow(label, name, first.metrics.get(name), second.metrics.get(name), effects.get(name))
        for name in metrics
        if name in first.metrics or name in second.metrics
    ]


def _metrics(objective: str, scored: ScoreKinds) -> Sequence[str]:
    return list(dict.fromkeys((objective, *verdict_metrics(objective, scored))))


def _alone(trial: TrialResult, metric: str) -> Spread | None:
    value = trial.value(metric)
    return None if value is None else Spread(value, None, 1)
