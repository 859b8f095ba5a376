"""The leaderboard for programs: one format, for the command line and for what a tracker keeps."""

from collections.abc import Collection, Sequence
from typing import Any

from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.results.arms import Convergence, TrialResult
from jit_sweep.results.averaged import AveragedArm
from jit_sweep.results.clamped import clamp_note, without_clamp
from jit_sweep.results.compare import Comparison
from jit_sweep.results.effects import Effect
from jit_sweep.results.findings import Finding
from jit_sweep.results.leaderboard import Results
from jit_sweep.results.scales import scale_of, shown_on
from jit_sweep.results.tuning import TunedStage
from search_spaces.cells import arm_label
from trainables.evaluation.metrics.registry import metric_of


def contents(results: Results, front: Collection[str]) -> dict[str, Any]:
    """The keys of the leaderboard's JSON object but `schema`: `rows` (arms, then searched, tuning and retired trials) and the
    sweep's own facts.

    `front`: keys of the searched trials on a Pareto front (`pareto.front_in`).
    """
    return {"rows": _rows(results, front), **_facts(results)}


def averaged_rows(rows: Sequence[AveragedArm], *, over: Sequence[str]) -> list[dict[str, Any]]:
    """Arms averaged over axes (`leaderboard --over`) as JSON rows."""
    return [
        {
            "kind": "mean",
            "cell": dict(row.cell),
            "over": list(over),
            "arms": [dict(arm.arm) for arm in row.arms],
            "of": row.of,
            "images": list(row.images),
            "remarks": row.remarks,
            "metrics": {name: spread._asdict() for name, spread in row.metrics.items()},
        }
        for row in rows
    ]


def _rows(results: Results, front: Collection[str]) -> list[dict[str, Any]]:
    """Arms, searched, tuning and retired trials as JSON rows."""
    arms = [
        {
            "kind": "arm",
            "cell": dict(arm.arm),
            "setting": dict(arm.trials[0].entry.base),
            "stage": arm.stage,
            "seeds": list(arm.seeds),
            "scored": arm.scored,
            "diverged": arm.diverged,
            "failed": arm.failed,
            "pruned": arm.pruned,
            "collapsed": arm.collapsed,
            "images": arm.images,
            "training_flops": arm.training_flops,
            "convergence": _convergence_row(arm.convergence),
            "metrics": {name: spread._asdict() for name, spread in arm.metrics.items()},
            "trials": [_trial_row(trial) for trial in arm.trials],
        }
        for arm in results.arms
    ]
    searched = [
        {"kind": "search", "cell": dict(trial.entry.arm), "pareto": trial.entry.key in front, **_trial_row(trial)}
        for trial in results.searched
    ]
    retired = [
        {"kind": "retired", "cell": dict(trial.entry.arm), "base": dict(trial.entry.base), **_trial_row(trial)}
        for trial in results.retired
    ]
    return arms + searched + [row for stage in results.tuning for row in _tuning_rows(stage)] + retired


def _tuning_rows(stage: TunedStage) -> list[dict[str, Any]]:
    """An arm at a setting, with what its tuning seeds say."""
    best, shared = stage.best, stage.shared
    return [
        {
            "kind": "tuning",
            "cell": dict(each.arm),
            "setting": dict(each.setting),
            "stage": stage.stage,
            "score": each.score,
            "unscored": each.unscored,
            "best_of_its_arm": best[arm_label(each.arm)] is each,
            "best_for_all": shared.get(arm_label(each.arm)) is each,
            "trials": [_trial_row(trial) for trial in each.trials],
        }
        for each in stage.tried
    ]


def _convergence_row(known: Convergence | None) -> dict[str, Any] | None:
    """Gain and noise as people read them; None where nothing is known."""
    if known is None:
        return None
    scale = scale_of(known.metric)
    gain, noise = shown_on(scale, known.gain), shown_on(scale, known.noise)
    return {"metric": known.metric, "gain": gain, "noise": noise, "converged": known.converged}


def _facts(results: Results) -> dict[str, Any]:
    heldout = results.heldout._asdict() if results.heldout else None
    planned = results.findings.planned
    unclamped = without_clamp(results.findings)
    verdicts = [{**finding_row(each, planned=True), "clamp": clamp_note(each, unclamped) or None} for each in planned]
    verdicts += [finding_row(each, planned=False) for each in results.findings.exploratory]
    direction = metric_of(results.objective).direction
    objective = {"objective": results.objective, "direction": direction}
    rungs = [{**rung._asdict(), "unsafe": rung.unsafe} for rung in results.fidelity]
    better = [each._asdict() for each in results.better_than_real]
    facts = {"heldout": heldout, "better_than_real": better, "verdicts": verdicts, "rung_fidelity": rungs}
    return {"sweep": results.sweep, **objective, **facts}


def finding_row(finding: Finding, *, planned: bool) -> dict[str, Any]:
    """A question with all that was computed of it; `line` is the same for people."""
    question, effect = finding.question, finding.effect
    return {
        "question": question.label,
        "key": question.key,
        "name": question.name or None,
        "kind": question.kind,
        "axes": list(question.axes),
        "cells": [dict(cell) for cell in question.cells],
        "weights": list(question.weights),
        "planned": planned,
        "verdict": str(finding.outcome),
        "reason": finding.reason,
        "better": finding.winner or None,
        "effect": effect_row(effect) if effect else None,
        "adjusted_p": finding.adjusted_p,
        "visible_gap": shown_on(effect.scale, finding.gap) if effect and finding.gap is not None else None,
        "others": [effect_row(other) for other in finding.others],
        "losses": [rate._asdict() | {"interval": list(rate.interval)} for rate in finding.rates.arms] if finding.rates else [],
        "losses_p": finding.rates.p if finding.rates else None,
        "line": finding.line,
    }


def comparison_contents(comparison: Comparison) -> dict[str, Any]:
    """The keys of the JSON object of a comparison but `schema`: a row for each score, what differs, and the verdicts."""
    return {
        "rows": [
            {
                "arm": row.label or None,
                "metric": row.metric,
                "first": row.first._asdict() if row.first else None,
                "second": row.second._asdict() if row.second else None,
                "effect": effect_row(row.effect) if row.effect else None,
            }
            for row in comparison.rows
        ],
        "kind": comparison.kind,
        "first": comparison.first,
        "second": comparison.second,
        "objective": comparison.objective,
        "configuration": [change._asdict() for change in comparison.configuration],
        "verdicts": [finding_row(each, planned=each.adjusted_p is not None) for each in comparison.findings],
        "refused": comparison.refused or None,
        "only_first": list(comparison.only_first),
        "only_second": list(comparison.only_second),
    }


def effect_row(effect: Effect) -> dict[str, Any]:
    """An effect as people read it (percent of a distance or an error), and its test."""
    return {
        "metric": effect.metric,
        "scale": effect.scale,
        "unit": "percent" if effect.scale == "log" else "as measured",
        "effect": shown_on(effect.scale, effect.estimate),
        "interval": [shown_on(effect.scale, end) for end in effect.interval],
        "estimate": effect.estimate,
        "se": float(effect.test.se),
        "dof": effect.test.dof,
        "n": effect.test.n,
        "p": effect.p,
        "sign_flip_p": effect.flip_p,
    }


def _trial_row(trial: TrialResult) -> dict[str, Any]:
    values = trial.score.by_name if trial.score else {}
    n = trial.score.n if trial.score else None
    errors = trial.score.errors if trial.score else {}
    return {**standing_row(trial.entry), "n": n, "scores": values, "standard_errors": errors, "collapsed": trial.collapsed}


def standing_row(row: EntryRow) -> dict[str, Any]:
    """An entry and how it stands."""
    attempt = row.attempt
    return {
        "trial": row.trial_id,
        "stage": row.stage,
        "origin": row.origin,
        "cell": dict(row.arm),
        "seed": row.seed,
        "state": str(row.state),
        "cached": row.cached,
        "images": row.images,
        "images_done": row.images if row.state is EntryState.DONE else attempt.images if attempt else 0,
        "attempt": attempt.number if attempt else 0,
        "cause": str(row.cause) if row.cause else None,
        "detail": row.detail or None,
        "first_bad_step": attempt.first_bad_step if attempt else None,
        "activity": _activity(row),
    }


def _activity(row: EntryRow) -> dict[str, Any] | None:
    """What a running trial is about while it does not train, and how far that is."""
    about = row.attempt.activity if row.attempt and row.state is EntryState.RUNNING else None
    return about.model_dump(include={"what", "done", "of"}) if about is not None else None
