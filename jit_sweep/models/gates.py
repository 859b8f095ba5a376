"""What a candidate must show on fresh seeds before it may be the champion. Pure, from the ledger's rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from jit_sweep.ledger.records import HeldoutRow
from jit_sweep.models.candidate import Candidate
from jit_sweep.plan.questions import Question
from jit_sweep.results.arms import Arm, scored_of
from jit_sweep.results.comparable import LEAST_SHARED_SEEDS, learned_nothing, still_learning
from jit_sweep.results.effects import Effect, StageScores
from jit_sweep.results.findings import Asking, Finding, Outcome, Reply
from jit_sweep.results.leaderboard import marks_of
from jit_sweep.results.scales import in_words, margin_on, on_scale, scale_of, unscaled
from jit_sweep.results.verdicts import judged_alone
from jit_sweep.statistics.rates import rate_interval
from jit_sweep.statistics.reruns import expected
from jit_sweep.statistics.student_t import Interval
from search_spaces.cells import differing_axes, recipe_values
from trainables.config.fields import counted
from trainables.evaluation.metrics.registry import METRICS, Samples, metric_of, verdict_metrics

ROLE = ""
"""Stands for an axis in the question whether the candidate is better than the champion: its values are words by themselves."""
MUST_AGREE = ("data", "precision", "device", "maths_version")
"""What candidate and champion must share, beside the evaluation that both are given."""


class Gate(NamedTuple):
    """One condition on a new champion."""

    name: str
    holds: bool
    words: str
    known: bool = True
    """Whether anything speaks for it: what is not known stops nobody, and is told as that."""

    @property
    def standing(self) -> Literal["holds", "fails", "not known"]:
        if not self.known:
            return "not known"
        return "holds" if self.holds else "fails"

    def __str__(self) -> str:
        return f"{self.name}: {self.words}"


def gates_in_words(gates: Sequence[Gate]) -> list[str]:
    """One line each: the failed ones first, then what is not known."""
    words = {"fails": "FAILS", "not known": "not known", "holds": "holds"}
    in_order = sorted(gates, key=lambda gate: [*words].index(gate.standing))
    return [f"{words[gate.standing]}  {gate}" for gate in in_order]


@dataclass(frozen=True)
class FreshScore:
    """What fresh seeds say of a configuration: no choice was made by these scores, so they are not too good."""

    objective: str
    by_seed: Mapping[int, float]
    mean: float
    interval: Interval
    """Of the mean, 95 %."""
    rerun: Interval
    """Where one more training lands in 95 of 100 cases."""

    def __str__(self) -> str:
        low, high, least, most = (f"{end:.5g}" for end in (*self.interval, *self.rerun))
        seeds = f"mean of {counted(len(self.by_seed), 'fresh seed')}"
        return f"{self.objective} {self.mean:.5g} [{low}, {high}], {seeds}; one more training: {least} to {most}"


def fresh_score(fresh: Arm, objective: str) -> FreshScore | None:
    """The advertised score, its intervals on the metric's own scale; None of fewer than two scored seeds."""
    by_seed, scale = fresh.by_seed(objective), scale_of(objective)
    if len(by_seed) < 2:
        return None
    found = expected([on_scale(value, scale) for value in by_seed.values()])
    interval, rerun = (Interval(*(unscaled(end, scale) for end in ends)) for ends in (found.interval, found.rerun))
    return FreshScore(objective, by_seed, unscaled(found.mean, scale), interval, rerun)


def known_before(candidate: Candidate) -> list[Gate]:
    """What the candidate's own sweep says, before anything is trained."""
    arm = candidate.arm
    lost = arm.lost + arm.collapsed
    rate = " to ".join(f"{100 * end:.0f}" for end in rate_interval(lost, len(arm.trials)))
    return [
        Gate("end of its sweep", not candidate.unfinished, f"{candidate.unfinished} of its trials have not ended"),
        _convergence("convergence", arm),
        Gate("lost seeds", not lost, f"{lost} of {len(arm.trials)} diverged, failed or collapsed there ({rate} %)"),
    ]


def _convergence(name: str, arm: Arm) -> Gate:
    """Whether it had learned what it could: of one that had not the score says how fast it learns."""
    if arm.convergence is None:
        return Gate(name, True, "nobody knows whether it still learned, which takes three rungs and several seeds", known=False)
    gained = f"it {still_learning(arm.convergence)}"
    return Gate(name, arm.convergence.converged, gained)


def gates(candidate: Candidate, fresh: Arm, *, objective: str, heldout: HeldoutRow | None) -> list[Gate]:
    """What the fresh seeds themselves must show, whatever the champion."""
    lost, n = fresh.lost, len(fresh.trials)
    rate = " to ".join(f"{100 * end:.0f}" for end in rate_interval(lost, n))
    score, marks = fresh_score(fresh, objective), marks_of(heldout)
    enough = score is not None and len(score.by_seed) >= LEAST_SHARED_SEEDS
    nothing = learned_nothing(fresh, marks)
    return [
        Gate("score", enough, str(score) if score else f"{fresh.scored} of {n} fresh seeds have {objective}"),
        Gate("divergence", lost == 0, f"{lost} of {n} fresh seeds diverged or failed ({rate} % by an exact interval)"),
        Gate("collapse", fresh.collapsed == 0, f"{fresh.collapsed} of {n} fresh seeds collapsed"),
        _convergence("convergence of fresh seeds", fresh),
        Gate("blank images", not nothing, "no better than blank ones" if nothing else "better than blank ones"),
        *_beside_real(fresh, heldout, objective),
        _budget(candidate, fresh),
    ]


def _beside_real(fresh: Arm, heldout: HeldoutRow | None, objective: str) -> Iterator[Gate]:
    """How far real held-out images are, and whether samples are nearer than those: then they are training images again."""
    real = heldout.values if heldout is not None else {}
    if objective in real and objective in fresh.metrics:
        share = fresh.metrics[objective].mean / real[objective] if real[objective] else float("inf")
        yield Gate("held-out row", True, f"{share:.3g} times what real held-out images score ({real[objective]:.5g})")
    elif isinstance(metric_of(objective).needs, Samples):
        yield Gate("held-out row", False, f"there is no {objective} of real held-out images")
    judges = verdict_metrics(objective, scored_of([fresh]))
    nearer = [metric for metric in judges if _is_nearer(fresh, metric, real)]
    words = f"{', '.join(nearer)} better than of real held-out images" if nearer else "no better than real held-out images"
    yield Gate("memorisation", not nearer, words)


def _is_nearer(fresh: Arm, metric: str, real: Mapping[str, float]) -> bool:
    """Whether the mean is better than the held-out row's by more than its own standard error of drawing images."""
    spread = fresh.metrics.get(metric)
    if spread is None or metric not in real:
        return False
    error = max((trial.score.errors.get(metric, 0.0) for trial in fresh.trials if trial.score), default=0.0)
    loss = metric_of(metric).loss
    return loss(spread.mean) < loss(real[metric]) - error


def _budget(candidate: Candidate, fresh: Arm) -> Gate:
    images, wanted = fresh.images, candidate.arm.images
    whole = images == wanted and not fresh.unfinished and not fresh.out_of_budget
    words = f"{images:,} images a seed, as in {candidate.sweep}"
    short = f"{fresh.unfinished + fresh.out_of_budget} fresh seeds have not had their {wanted:,} images"
    return Gate("budget", whole, words if whole else short)


def against_champion(fresh: Arm, champion: Arm, asking: Asking) -> tuple[Finding, Gate]:
    """The candidate against the champion on the seeds that both have, and whether the verdict lets it take its place.

    It must be really better; where the sweep file planned a `margin`, it is enough that it is not worse by more than that.
    """
    cells = {ROLE: "the candidate"}, {ROLE: "the champion"}
    arms = tuple(replace(arm, arm=cell) for arm, cell in zip((fresh, champion), cells, strict=True))
    question, scores = Question.pair((ROLE,), *cells), StageScores(arms)
    differing = _differing_axes(fresh, champion)
    beside = [m for m in verdict_metrics(asking.objective, scored_of(arms)) if m != asking.objective]
    judges = [metric for metric in beside if not METRICS[metric].blind_to & differing]
    effect, *others = (scores.effect(question, metric=metric) for metric in (asking.objective, *judges))
    reply = Reply(question, arms, _refused(arms, asking.objective, differing), effect, tuple(filter(None, others)))
    finding = judged_alone(reply, asking)
    return finding, _verdict_gate(finding, asking)


def _refused(arms: Sequence[Arm], objective: str, differing: frozenset[str]) -> str:
    if blind := metric_of(objective).blind_to & differing:
        return f"objective: {objective} says nothing along {', '.join(sorted(blind))}"
    one, other = ({**arm.settings, "maths_version": arm.maths_version} for arm in arms)
    if unlike := [field for field in MUST_AGREE if one[field] != other[field]]:
        return "; ".join(f"{field}: {one[field]} and {other[field]}" for field in unlike)
    shared = set.intersection(*({*arm.by_seed(objective)} for arm in arms))
    few = len(shared) < LEAST_SHARED_SEEDS
    return f"seeds: {len(shared)} shared, and a verdict needs {LEAST_SHARED_SEEDS}" if few else ""


def _differing_axes(one: Arm, other: Arm) -> frozenset[str]:
    trials = [arm.trials[0].entry.trial for arm in (one, other)]
    seen = {"encoder"} if trials[0].space != trials[1].space else set()  # of a trial no value of that axis says whose codes
    return frozenset(differing_axes([recipe_values(trial) for trial in trials]) | seen)


def _verdict_gate(finding: Finding, asking: Asking) -> Gate:
    effect = finding.effect
    better = finding.outcome is Outcome.REAL and effect is not None and effect.loss < 0
    words = f"{effect} of the champion's {asking.objective}, {finding.verdict}" if effect else finding.verdict
    if better or effect is None or asking.margin is None or finding.outcome is Outcome.CONFLICT:
        return Gate("champion", better, words)
    most, margin = _worst(effect), margin_on(effect.scale, asking.margin)
    assert margin is not None, "a margin was planned"
    beyond = "" if most < margin else "not "
    allowed = in_words(effect.scale, margin, sign=False)
    return Gate("champion", most < margin, f"{words}; {beyond}within the planned margin of {allowed}")


def _worst(effect: Effect) -> float:
    """The end of the effect's interval at which the candidate is worst, as a loss."""
    return max(metric_of(effect.metric).loss(end) for end in effect.interval)
