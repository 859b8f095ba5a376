"""`leaderboard`, and the tables that `run` ends with."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rich.console import Console
from rich.table import Table

from jit_sweep.cli.output import cell_of, console, print_json
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST
from jit_sweep.results import selection
from jit_sweep.results.arms import Arm, Spread, TrialResult
from jit_sweep.results.as_json import contents
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.pareto import front_in
from jit_sweep.results.verdicts import Contrast
from search_spaces.axes import AxisValue
from trainables.evaluation.metrics.registry import table_metrics
from trainables.report import ExitCode

MOST_ROWS = 50
"""Rows of a table, or verdicts, that are shown without being asked for all."""


def leaderboard(sweep: str, ledger: str, *, where: Sequence[str], by: Sequence[str], every: bool = False, as_json: bool) -> int:
    """Print a sweep's arms, searched trials and verdicts: those of some cells only, or in a table for each value of some axes.

    UserError: `where` or `by` names no axis, or a value that the axis or the sweep does not have.
    """
    values = selection.conditions(where)
    axes = [selection.known_axis(axis, option="--by") for axis in by]
    print_results(LedgerReader.open(ledger), sweep, where=values, by=axes, every=every, as_json=as_json)
    return ExitCode.DONE


def print_results(
    reader: LedgerReader,
    sweep: str,
    *,
    where: Mapping[str, AxisValue] = MappingProxyType({}),
    by: Sequence[str] = (),
    every: bool = False,
    as_json: bool,
) -> ExitCode:
    """Print the results as they stand; returns the exit code of a run that ended so.

    `where`: axis values that the printed cells have; `by`: the axes of which each combination of values gets a table.
    UserError: the ledger has no such sweep, or the sweep no such cell.
    """
    results = selection.where(read_results(reader, sweep), where)
    front = front_in(reader, results)
    if as_json:
        print_json("leaderboard", **contents(results, front))
    else:
        screen = console()
        for part in selection.by_axes(results, by):
            print_tables(part, screen, front, most=None if every else MOST_ROWS)
        _print_fidelity(results, screen)
    trials = [*(trial for arm in results.arms for trial in arm.trials), *results.searched]
    unsound = any(trial.entry.state in LOST for trial in trials) or any(contrast.same_run for contrast in results.contrasts)
    return ExitCode.WITHOUT_SCORES if unsound else ExitCode.DONE


def print_tables(results: Results, screen: Console, front: Collection[str] = (), *, most: int | None = None) -> None:
    """Arms with mean, spread and n; the held-out row; searched trials apart, those of the Pareto front marked; the verdicts.

    `most`: of each, the first so many.
    """
    screen.print(_arm_table(results, most=most))
    if results.searched:
        screen.print(_search_table(replace(results, searched=results.searched[:most]), front))
    _print_verdicts(results.contrasts, screen, most=most)
    if most is not None and max(map(len, (results.arms, results.searched, results.contrasts))) > most:
        counts = f"{len(results.arms):,} cells, {len(results.searched):,} search trials and {len(results.contrasts):,} verdicts"
        screen.print(f"\nat most {most} each of {counts}; --all shows every one")


def _arm_table(results: Results, *, most: int | None) -> Table:
    metrics, heldout = table_metrics(), results.heldout
    images = f", {heldout.n} images a score" if heldout and heldout.n else ""
    title = f"sweep {results.sweep}: mean ± standard deviation over seeds{images}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("cell", "seeds", *metrics, "images", "training TFLOPs"):
        table.add_column(heading, justify="left" if heading == "cell" else "right", no_wrap=True)
    for arm in results.arms[:most]:
        spreads = (_spread(arm.metrics.get(metric)) for metric in metrics)
        table.add_row(arm.label, _seeds(arm), *spreads, f"{arm.images:,}", f"{arm.training_flops / 1e12:,.4g}")
    if heldout:
        values = (f"{heldout.values[metric]:.4g}" if metric in heldout.values else "" for metric in metrics)
        table.add_row("held-out real images", "", *values, "", "", style="dim", end_section=True)
    return table


def _print_verdicts(contrasts: Sequence[Contrast], screen: Console, *, most: int | None) -> None:
    """A line for each contrast that has or may get a verdict, then the counts of the others by their reason."""
    if contrasts:
        screen.print("\nverdicts, from paired differences over shared seeds; each score must agree")
    for contrast in [contrast for contrast in contrasts if not contrast.hopeless][:most]:
        screen.print(f"  {contrast.line}", soft_wrap=True)
    for reason, count in Counter(contrast.hopeless for contrast in contrasts if contrast.hopeless).items():
        screen.print(f"  {count} more without a verdict: {reason}")


def _print_fidelity(results: Results, screen: Console) -> None:
    if results.fidelity:
        screen.print(f"\nhow well rungs foretold the order by {results.objective}")
    for rung in results.fidelity:
        screen.print(f"  {rung}", soft_wrap=True, style="bold red" if rung.unsafe else None)


def _search_table(results: Results, front: Collection[str]) -> Table:
    marked = "; * stands on the Pareto front" if front else ""
    seeds = "one seed each" if len({trial.entry.seed for trial in results.searched}) == 1 else "a seed a row"
    title = f"\nsearch trials, {seeds}: they show where to look and prove nothing{marked}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for heading in ("trial", "values", *table_metrics()):
        table.add_column(heading, justify="left" if heading in ("trial", "values") else "right", no_wrap=True)
    for trial in results.searched:
        named = f"{trial.entry.trial_id}{'*' if trial.entry.key in front else ''}"
        table.add_row(named, cell_of(trial.entry.arm), *(_value(trial, metric) for metric in table_metrics()))
    return table


def _value(trial: TrialResult, metric: str) -> str:
    value = trial.value(metric)
    if value is None:
        return str(trial.entry.state)
    return f"{value:.5g}" + (" (collapsed)" if trial.collapsed else "")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "no score"
    return f"{spread.mean:.5g}" + (f" ± {spread.sd:.2g}" if spread.sd is not None else "")


def _seeds(arm: Arm) -> str:
    whole = f"{arm.scored}" if arm.scored == len(arm.trials) else f"{arm.scored} of {len(arm.trials)}"
    return f"{whole} ({', '.join(arm.remarks)})" if arm.remarks else whole
