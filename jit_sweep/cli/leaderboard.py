"""`status` and `leaderboard`, and the tables that `run` ends with."""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from jit_sweep.cli.output import console, print_json
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST, EntryRow, EntryState, SweepRow, when
from jit_sweep.results import selection
from jit_sweep.results.arms import Arm, Spread, TrialResult
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.pareto import front_of
from jit_sweep.results.verdicts import Contrast
from jit_sweep.spec.sweep import SweepSpec
from search_spaces.axes import arm_label
from trainables.evaluation.metrics.registry import metric_of, table_metrics

DONE, WITHOUT_SCORES = 0, 1
MOST_ROWS = 50
"""Rows of a table, or verdicts, that are shown without being asked for all."""
URGENT = (EntryState.RUNNING, EntryState.FAILED, EntryState.HELD, EntryState.PAUSED)
"""States of the trials that are shown before all others."""


def status(sweep: str | None, ledger: str, *, every: bool = False, as_json: bool) -> int:
    """All sweeps, or the trials of one: a large sweep's most interesting ones, or every one. As JSON it is always every one."""
    reader = LedgerReader(open_engine(ledger, create=False))
    if sweep is None:
        return _sweeps(reader.sweeps(), as_json=as_json)
    found, rows = reader.sweep(sweep), reader.entries(sweep)
    if as_json:
        print_json("status", [_entry_json(row) for row in rows], sweep=sweep, state=str(found.state))
        return DONE
    screen = console()
    held = found.is_run(time.time())
    owner = f", run by {found.owner}" if held else ", and nobody runs it" if found.state == "running" else ""
    reason = "" if held else reader.end_reason(sweep)
    screen.print(f"sweep {sweep}: {found.state}{owner}" + (f": {reason}" if reason else ""), soft_wrap=True)
    screen.print(_counts(rows))
    shown = rows if every else most_interesting(rows)
    screen.print(_trial_table(shown))
    if len(shown) < len(rows):
        screen.print(f"{len(shown)} of {len(rows):,} trials; --all shows every one")
    for row in shown:
        if row.state in LOST:
            screen.print(f"{row.trial_id} {row.state}: {row.cause}: {row.detail.strip().splitlines()[-1]}", soft_wrap=True)
    return DONE


def most_interesting(rows: Sequence[EntryRow], most: int = MOST_ROWS) -> list[EntryRow]:
    """What a person looks for first, in the order of the plan: the urgent states in their order, then what changed last."""
    urgency = {state: place for place, state in enumerate(URGENT)}
    first = sorted(rows, key=lambda row: (urgency.get(row.state, len(urgency)), -row.updated_at))[:most]
    keys = {row.key for row in first}
    return [row for row in rows if row.key in keys]


def leaderboard(sweep: str, ledger: str, *, where: Sequence[str], by: str | None, every: bool = False, as_json: bool) -> int:
    """A sweep's arms, searched trials and verdicts: those of some cells only, or in a table for each value of an axis."""
    print_results(sweep, ledger, where=where, by=by, every=every, as_json=as_json)
    return DONE


def print_results(
    sweep: str, ledger: str, *, where: Sequence[str] = (), by: str | None = None, every: bool = False, as_json: bool
) -> int:
    """The results as they stand; the exit code of a run that ended so."""
    chosen = selection.conditions(where)
    axis = selection.known_axis(by, option="--by") if by is not None else None
    reader = LedgerReader(open_engine(ledger, create=False))
    results = selection.where(read_results(reader, sweep), chosen)
    front = front_of(results.searched, SweepSpec.model_validate(reader.sweep(sweep).spec).stages if results.searched else ())
    if as_json:
        print_json("leaderboard", leaderboard_rows(results, front), **_leaderboard_facts(results))
    else:
        screen = console()
        for part in selection.by_axis(results, axis).values() if axis is not None else [results]:
            print_tables(part, screen, front, most=None if every else MOST_ROWS)
        _print_fidelity(results, screen)
    trials = [*(trial for arm in results.arms for trial in arm.trials), *results.searched]
    return WITHOUT_SCORES if any(trial.entry.state in LOST for trial in trials) else DONE


def print_tables(results: Results, screen: Console, front: Collection[str] = (), *, most: int | None = None) -> None:
    """Arms with mean, spread and n; the held-out row; searched trials apart, those of the Pareto front marked; the verdicts.

    most: of each, the first so many.
    """
    n = results.heldout.n if results.heldout else None
    title = f"sweep {results.sweep}: mean ± standard deviation over seeds" + (f", {n} images a score" if n else "")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("cell", "seeds", *table_metrics(), "images", "training TFLOPs"):
        table.add_column(heading, justify="left" if heading == "cell" else "right", no_wrap=True)
    for arm in results.arms[:most]:
        shown = (_spread(arm.metrics.get(metric)) for metric in table_metrics())
        table.add_row(arm.label, _seeds(arm), *shown, f"{arm.images:,}", f"{arm.training_flops / 1e12:,.4g}")
    if results.heldout:
        real = (f"{results.heldout.values[m]:.4g}" if m in results.heldout.values else "" for m in table_metrics())
        table.add_row("held-out real images", "", *real, "", "", style="dim", end_section=True)
    screen.print(table)
    if results.searched:
        screen.print(_search_table(replace(results, searched=results.searched[:most]), front))
    if results.contrasts:
        screen.print("\nverdicts, from paired differences over shared seeds; each score must agree")
    open_questions = [contrast for contrast in results.contrasts if not contrast.hopeless]
    for contrast in open_questions[:most]:
        screen.print(f"  {verdict(contrast)}", soft_wrap=True)
    for why, count in Counter(contrast.hopeless for contrast in results.contrasts if contrast.hopeless).items():
        screen.print(f"  {count} more without a verdict: {why}")
    if most is not None and max(map(len, (results.arms, results.searched, results.contrasts))) > most:
        counts = f"{len(results.arms):,} cells, {len(results.searched):,} search trials and {len(results.contrasts):,} verdicts"
        screen.print(f"\nat most {most} each of {counts}; --all shows every one")


def _print_fidelity(results: Results, screen: Console) -> None:
    if results.fidelity:
        screen.print(f"\nhow well rungs foretold the order by {results.objective}")
    for rung in results.fidelity:
        screen.print(f"  {rung}", soft_wrap=True, style="bold red" if rung.unsafe else None)


def verdict(contrast: Contrast) -> str:
    """A contrast in one line, such as `patch_size=16: prediction=x against prediction=v: prediction=x better`."""
    sides = f"{contrast.value(contrast.a)} against {contrast.value(contrast.b)}"
    return ": ".join(part for part in (contrast.context, sides, contrast.verdict) if part and part != "baseline")


def _search_table(results: Results, front: Collection[str]) -> Table:
    marked = "; * stands on the Pareto front" if front else ""
    seeds = "one seed each" if len({trial.entry.seed for trial in results.searched}) == 1 else "a seed a row"
    title = f"\nsearch trials, {seeds}: they show where to look and prove nothing{marked}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("trial", "values", *table_metrics()):
        table.add_column(heading, justify="left" if heading in ("trial", "values") else "right", no_wrap=True)
    for trial in results.searched:
        named = f"{trial.entry.trial_id}{'*' if trial.entry.key in front else ''}"
        table.add_row(named, _values(trial.entry), *(_value(trial, metric) for metric in table_metrics()))
    return table


def _values(row: EntryRow) -> str:
    return arm_label({axis: float(f"{value:.4g}") if isinstance(value, float) else value for axis, value in row.arm.items()})


def _value(trial: TrialResult, metric: str) -> str:
    value = trial.value(metric)
    return str(trial.entry.state) if value is None else f"{value:.5g}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "no score"
    return f"{spread.mean:.5g}" + (f" ± {spread.sd:.2g}" if spread.sd is not None else "")


def _seeds(arm: Arm) -> str:
    whole = f"{arm.scored}" if arm.scored == len(arm.trials) else f"{arm.scored} of {len(arm.trials)}"
    return f"{whole} ({', '.join(arm.remarks)})" if arm.remarks else whole


def leaderboard_rows(results: Results, front: Collection[str] = ()) -> list[dict[str, Any]]:
    """Arms and searched trials as JSON rows."""
    arms = [
        {
            "kind": "arm",
            "cell": dict(arm.arm),
            "stage": arm.stage,
            "seeds": list(arm.seeds),
            "scored": arm.scored,
            "diverged": arm.diverged,
            "failed": arm.failed,
            "pruned": arm.pruned,
            "collapsed": arm.collapsed,
            "images": arm.images,
            "training_flops": arm.training_flops,
            "metrics": {name: spread._asdict() for name, spread in arm.metrics.items()},
            "trials": [_trial_json(trial) for trial in arm.trials],
        }
        for arm in results.arms
    ]
    searched = [
        {"kind": "search", "cell": dict(trial.entry.arm), "pareto": trial.entry.key in front, **_trial_json(trial)}
        for trial in results.searched
    ]
    return arms + searched


def _leaderboard_facts(results: Results) -> dict[str, Any]:
    heldout = results.heldout._asdict() if results.heldout else None
    verdicts = [verdict(contrast) for contrast in results.contrasts]
    direction = metric_of(results.objective).direction
    objective = {"objective": results.objective, "direction": direction}
    rungs = [{**rung._asdict(), "unsafe": rung.unsafe} for rung in results.fidelity]
    return {"sweep": results.sweep, **objective, "heldout": heldout, "verdicts": verdicts, "rung_fidelity": rungs}


def _trial_json(trial: TrialResult) -> dict[str, Any]:
    values = trial.score.by_name if trial.score else {}
    return {**_entry_json(trial.entry), "n": trial.score.n if trial.score else None, "scores": values}


def _entry_json(row: EntryRow) -> dict[str, Any]:
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
    }


def _sweeps(sweeps: list[SweepRow], *, as_json: bool) -> int:
    if as_json:
        rows = [
            {"name": s.name, "state": str(s.state), "updated_at": s.updated_at, **{str(k): v for k, v in s.counts.items()}}
            for s in sweeps
        ]
        print_json("sweeps", rows)
        return DONE
    table = Table(box=None, pad_edge=False)
    for heading in ("sweep", "state", "trials", "last change"):
        table.add_column(heading)
    for sweep in sweeps:
        counts = ", ".join(f"{count} {state}" for state, count in sweep.counts.items())
        table.add_row(sweep.name, str(sweep.state), counts, when(sweep.updated_at))
    console().print(table)
    return DONE


def _counts(rows: Sequence[EntryRow]) -> str:
    """How many trials stand how, and what the failed ones failed of, such as `7 done, 3 failed (2 bug, 1 data_error)`."""
    states = Counter(row.state for row in rows)
    causes = Counter(str(row.cause) for row in rows if row.state is EntryState.FAILED)
    of = {EntryState.FAILED: f" ({', '.join(f'{count} {cause}' for cause, count in causes.most_common())})"}
    return ", ".join(f"{states[state]:,} {state}{of.get(state, '')}" for state in EntryState if states[state])


def _trial_table(rows: Sequence[EntryRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("stage", "trial", "cell", "seed", "state", "images", "attempt"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("trial", "cell", "state") else "right")
    for row in rows:
        done = row.images if row.state is EntryState.DONE else row.attempt.images if row.attempt else 0
        state = f"{row.state} (cached)" if row.cached else str(row.state)
        attempt = str(row.attempt.number) if row.attempt else ""
        table.add_row(str(row.stage), row.trial_id, _values(row), str(row.seed), state, f"{done:,}/{row.images:,}", attempt)
    return table
