"""How far equal trials of a sweep come out apart: by training them again, and by drawing other images from the same weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from jit_sweep.errors import UserError
from jit_sweep.inference.evaluate import Evaluations, Told
from jit_sweep.inference.trained import Places, of_trial
from jit_sweep.ledger.evaluations import EvaluationLog
from jit_sweep.ledger.event_records import MeasuredNoise, NoiseMeasured
from jit_sweep.results.arms import LEAST_SEEDS, Arm, TrialResult, scored_of
from jit_sweep.results.leaderboard import read_results
from jit_sweep.results.scales import on_scale, scale_of
from jit_sweep.statistics.variance import Components, components, mean_correlation
from trainables.config.evaluation import EvaluationConfig
from trainables.evaluation.metrics.registry import METRICS, Samples, verdict_metrics

Draws = dict[int, list[Mapping[str, float]]]
"""Scores by metric: by seed of training, then in the order of the seeds of sampling."""
Begun = Callable[[str], None]


def measure(
    sweep: str,
    places: Places,
    log: EvaluationLog,
    *,
    seeds: int | None,
    resamples: int,
    told: Told = lambda *_: None,
    begun: Begun = lambda _: None,
) -> NoiseMeasured:
    """Draw each arm's seeds again and keep what follows in the ledger; what was drawn before is not drawn again.

    seeds: of each arm, the first so many; None: all. resamples: draws besides the trial's own score. `begun` hears which trial
    is drawn. UserError: no arm has seeds enough, or a checkpoint is gone.
    """
    results = read_results(log.reader, sweep)
    arms = [arm for arm in results.arms if len(arm.by_seed(results.objective)) >= (seeds or LEAST_SEEDS)]
    if not arms:
        counts = ", ".join(f"{arm.label}: {arm.scored}" for arm in results.arms[:4]) or "none"
        rule = f"noise needs an arm with {seeds or LEAST_SEEDS} scored seeds"
        raise UserError(f"{rule}, got {counts}; run the sweep to its end, or with more `seeds`")
    if len(counts_of := {arm.images for arm in arms}) > 1:
        most = max(counts_of)  # noise is of one budget; the largest is what verdicts rest on
        arms = [arm for arm in arms if arm.images == most]
    drawn = {arm.label: _drawn(arm, places, log, seeds=seeds, resamples=resamples, told=told, begun=begun) for arm in arms}
    judges = verdict_metrics(results.objective, scored_of(arms))
    metrics = [name for name in judges if isinstance(METRICS[name].needs, Samples)]
    found = _summary(arms, drawn, metrics)
    log.add(found, sweep=sweep)
    return found


def draws_of(evaluation: EvaluationConfig, resamples: int) -> list[EvaluationConfig]:
    """The evaluation by other seeds of sampling."""
    return [evaluation.model_copy(update={"seed": evaluation.seed + place}) for place in range(1, resamples + 1)]


def _drawn(
    arm: Arm, places: Places, log: EvaluationLog, *, seeds: int | None, resamples: int, told: Told, begun: Begun
) -> Draws:
    scored = [trial for trial in arm.trials if trial.score is not None][:seeds]
    found: Draws = {}
    for trial in scored:
        begun(f"{arm.label} seed={trial.entry.seed}")
        found[trial.entry.seed] = _of_one(trial, places, log, resamples=resamples, told=told)
    return found


def _of_one(trial: TrialResult, places: Places, log: EvaluationLog, *, resamples: int, told: Told) -> list[Mapping[str, float]]:
    """A trial's own scores, and those of as many draws as are asked for."""
    assert trial.score is not None
    entry = trial.entry
    evaluations = Evaluations(of_trial([entry], places, images=entry.images), log=log, told=told)
    again = [evaluations.scores(each).record.values for each in draws_of(entry.evaluation, resamples)]
    return [trial.score.values, *again]


def _summary(arms: Sequence[Arm], drawn: Mapping[str, Draws], metrics: Sequence[str]) -> NoiseMeasured:
    by_arm = {label: {name: noise for name in metrics if (noise := _noise(draws, name))} for label, draws in drawn.items()}
    sound = [by_arm[arm.label] for arm in arms if not arm.collapsed] or list(by_arm.values())
    known = {name: [of[name] for of in sound if name in of] for name in metrics}
    means = {name: [_means(draws, name) for draws in drawn.values()] for name in metrics}
    return NoiseMeasured(
        images=arms[0].images,
        seeds=min(len(draws) for draws in drawn.values()),
        draws=min(len(of_seed) for draws in drawn.values() for of_seed in draws.values()),
        arms=by_arm,
        typical={name: _median(of) for name, of in known.items() if of},
        correlation={name: mean_correlation(of) for name, of in means.items()},
    )


def _noise(draws: Draws, metric: str) -> MeasuredNoise | None:
    """None where a score has no place on the metric's scale, or is missing."""
    rows = [_on_scale(of_seed, metric) for of_seed in draws.values()]
    if not all(math.isfinite(value) for row in rows for value in row):
        return None
    found: Components = components(rows)
    return MeasuredNoise(retraining=found.retraining, resampling=found.resampling)


def _means(draws: Draws, metric: str) -> dict[int, float]:
    """The mean over draws of each seed of training."""
    return {seed: sum(row) / len(row) for seed, of_seed in draws.items() if (row := _on_scale(of_seed, metric))}


def _on_scale(of_seed: Sequence[Mapping[str, float]], metric: str) -> list[float]:
    return [on_scale(values.get(metric, math.nan), scale_of(metric)) for values in of_seed]


def _median(noises: Sequence[MeasuredNoise]) -> MeasuredNoise:
    retraining, resampling = (median(getattr(noise, name) for noise in noises) for name in ("retraining", "resampling"))
    return MeasuredNoise(retraining=retraining, resampling=resampling)
