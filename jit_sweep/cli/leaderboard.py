"""`leaderboard`, and the tables that `run` ends with."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from rich.console import Console

from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.tables import Column, cell_column, say, table_of
from jit_sweep.cli.tuned import print_tuned, rows_of_tuned
from jit_sweep.cli.verdicts import print_verdicts
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import LOST
from jit_sweep.results import selection
from jit_sweep.results.arms import Arm, Spread, TrialResult, told_apart
from jit_sweep.results.as_json import averaged_rows, contents
from jit_sweep.results.averaged import AveragedArm, averaged
from jit_sweep.results.comparable import still_learning
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.noise import noise_note
from jit_sweep.results.pareto import front_in
from jit_sweep.results.tuning import TunedStage
from jit_sweep.results.words import explained, state_in_words
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.evaluation.metrics.registry import table_metrics, verdict_metrics
from trainables.report import ExitCode

MOST_ROWS = 50
"""Rows of a table, or verdicts, that are shown without being asked for all."""
FIRST_TO_GO = 99
"""Rank of the columns that a narrow terminal has no room for."""


def leaderboard(
    sweep: str,
    ledger: str,
    *,
    where: Sequence[str],
    by: Sequence[str],
    over: Sequence[str] = (),
    every: bool = False,
    as_json: bool,
) -> int:
    """Print a sweep's arms, searched trials and verdicts: those of some cells only, or in a table for each value of some axes;
    or the arms' means over some axes.

    UserError: `where`, `by` or `over` names no axis, or a value that the axis or the sweep does not have.
    """
    values = selection.conditions(where, option="--where")
    axes = [selection.known_axis(axis, option="--by") for axis in by]
    if over:
        means = [selection.known_axis(axis, option="--over") for axis in over]
        _print_averages(selection.where(read_results(LedgerReader.open(ledger), sweep), values), axes, means, as_json=as_json)
        return ExitCode.DONE
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
    report: str | None = None,
) -> ExitCode:
    """Print the results as they stand; returns the exit code of a run that ended so.

    `where`: axis values that the printed cells have; `by`: the axes of which each combination of values gets a table;
    `report`: the file of a report, for the JSON object. UserError: the ledger has no such sweep, or the sweep no such cell.
    """
    results = selection.where(read_results(reader, sweep), where)
    front = front_in(reader, results)
    if as_json:
        tuned = rows_of_tuned(results.arms, reader.tuned(sweep))
        printed = contents(results, front) | ({"report": report} if report else {}) | ({"tuned": tuned} if tuned else {})
        print_json("leaderboard", **printed)
    else:
        screen = console()
        for index, part in enumerate(selection.by_axes(results, by)):
            if index:
                screen.print()
            print_tables(part, screen, front, most=None if every else MOST_ROWS)
        if note := noise_note(reader.noise(sweep), results.objective):
            say(screen, note, style="dim")
        for stage in results.tuning:
            _print_tuning(stage, screen)
        print_tuned(results.arms, reader.tuned(sweep), screen)
        _print_fidelity(results, screen)
    trials = [*(trial for arm in results.arms for trial in arm.trials), *results.searched]
    unsound = any(trial.entry.state in LOST for trial in trials) or results.findings.same_runs
    return ExitCode.WITHOUT_SCORES if unsound else ExitCode.DONE


def print_tables(results: Results, screen: Console, front: Collection[str] = (), *, most: int | None = None) -> None:
    """Arms with mean, spread and n; the held-out row; searched trials apart, those of the Pareto front marked; the verdicts.

    `most`: of each, the first so many.
    """
    _print_arms(replace(results, arms=results.arms[:most]), screen)
    if results.searched:
        _print_searched(replace(results, searched=results.searched[:most]), screen, front)
    for line in explained(_terms(results)):
        say(screen, line, style="dim")
    if results.retired:
        _print_retired(replace(results, retired=results.retired[:most]), screen)
    _print_unconverged(results.arms[:most], screen)
    print_verdicts(results, screen, most=most)
    planned = results.findings.planned
    if most is not None and max(map(len, (results.arms, results.searched, planned))) > most:
        counts = f"{len(results.arms):,} cells, {len(results.searched):,} search trials and {len(planned):,} verdicts"
        screen.print(f"\nat most {most} each of {counts}; --all shows every one")


def _print_arms(results: Results, screen: Console) -> None:
    arms, heldout = results.arms, results.heldout
    cells, common = cell_column([arm.arm for arm in arms])
    columns = [cells, Column("seeds", [_seeds(arm) for arm in arms], right=True, wraps=True)]
    if len({arm.stage for arm in arms}) > 1:
        columns.insert(0, Column("stage", [str(arm.stage) for arm in arms], right=True))
    for metric, rank in _ranks(results).items():
        columns.append(Column(metric, [_spread(arm.metrics.get(metric)) for arm in arms], rank, right=True))
    told = len({(arm.stage, arm.label) for arm in arms}) == len(arms)  # else a cell has several budgets
    columns.append(Column("images", [f"{arm.images:,}" for arm in arms], FIRST_TO_GO if told else 0, right=True))
    columns.append(Column("training TFLOPs", [f"{arm.training_flops / 1e12:,.4g}" for arm in arms], FIRST_TO_GO, right=True))
    if heldout:
        for name, values in {"held-out real images": heldout.values, **heldout.rows}.items():
            real = {"cell": name, **{metric: f"{value:.4g}" for metric, value in values.items()}}
            columns = [replace(column, cells=[*column.cells, real.get(column.heading, "")]) for column in columns]
    images = f", {heldout.n} images a score" if heldout and heldout.n else ""
    say(screen, f"sweep {results.sweep}: mean ± standard deviation over seeds{images}{common}")
    no_models = dict.fromkeys(range(len(arms), len(arms) + 1 + len(heldout.rows if heldout else ())), "dim")
    screen.print(table_of(columns, width=screen.width, styles=no_models))
    _print_errors(results, screen)
    for warning in results.better_than_real:
        say(screen, f"warning: {warning}", style="bold red")


def _print_averages(results: Results, by: Sequence[str], over: Sequence[str], *, as_json: bool) -> None:
    """The arms' means over some axes, in a table for each combination of others; no verdict rests on them."""
    parts = [averaged(part, over) for part in selection.by_axes(results, by) if part.arms]
    if as_json:
        printed = [row for part in parts for row in averaged_rows(part, over=over)]
        print_json("leaderboard", printed, sweep=results.sweep, objective=results.objective)
        return
    screen = console()
    for index, rows in enumerate(parts):
        if index:
            screen.print()
        cells, common = cell_column([row.cell for row in rows])
        said = f"each seed's mean over {' and '.join(over)}, ± standard deviation over seeds"
        say(screen, f"sweep {results.sweep}: {said}{common}")
        columns = [cells, Column("arms", [_count(row) for row in rows], right=True, wraps=True)]
        for metric, rank in _ranks(results).items():
            columns.append(Column(metric, [_spread(row.metrics.get(metric)) for row in rows], rank, right=True))
        budgets = ["; ".join(f"{images:,}" for images in row.images) for row in rows]
        screen.print(table_of([*columns, Column("images", budgets, FIRST_TO_GO, right=True)], width=screen.width))
    if any(len(row.images) > 1 for rows in parts for row in rows):
        say(screen, "some means are of arms with unequal budgets: they say little")


def _count(row: AveragedArm) -> str:
    whole = f"{len(row.arms)}" if len(row.arms) == row.of else f"{len(row.arms)} of {row.of}"
    return f"{whole} ({', '.join(row.remarks)})" if row.remarks else whole


def _print_unconverged(arms: Sequence[Arm], screen: Console) -> None:
    """Arms whose budget ended while they still learned: another budget may turn their order."""
    named = zip(told_apart(arms), arms, strict=True)
    unfinished = {name: arm.convergence for name, arm in named if arm.convergence and arm.still_learning}
    if unfinished:
        say(screen, "still learning at the end, so that a larger budget may turn the order", style="dim")
    for name, convergence in unfinished.items():
        say(screen, f"{name} {still_learning(convergence)}", indent="  ", style="dim")


def _print_errors(results: Results, screen: Console) -> None:
    """The standard errors of single scores: what drawing other images from the same weights would change."""
    known = [trial.score.errors for arm in results.arms for trial in arm.trials if trial.score is not None]
    largest = {name: max(errors.get(name, 0.0) for errors in known) for name in _ranks(results)} if known else {}
    said = [f"{name} {error:.2g}" for name, error in largest.items() if error]
    if said:
        say(screen, f"largest standard error of one trial's score by its images: {', '.join(said)}", style="dim")


def _terms(results: Results) -> set[str]:
    """The words in the tables that need an explanation."""
    searched = {state_in_words(trial.entry.state) for trial in results.searched if trial.value(results.objective) is None}
    collapsed = {"collapsed" for trial in results.searched if trial.collapsed}
    return {word for arm in results.arms for word in arm.terms} | searched | collapsed


def _ranks(results: Results) -> dict[str, int]:
    """The metrics of the table with their columns' ranks: the objective stays longest, then what decides verdicts."""
    objective, scored = results.objective, results.scored
    shown, judging = (of(objective, scored) for of in (table_metrics, verdict_metrics))
    names = shown if objective in shown else [objective, *shown]
    by_importance = sorted(names, key=lambda name: (name != objective, name not in judging))
    return {name: by_importance.index(name) for name in names}


def _print_fidelity(results: Results, screen: Console) -> None:
    if results.fidelity:
        screen.print(f"\nhow well rungs foretold the order by {results.objective}")
    for rung in results.fidelity:
        say(screen, str(rung), indent="  ", style="bold red" if rung.unsafe else None)


def _print_searched(results: Results, screen: Console, front: Collection[str]) -> None:
    trials = results.searched
    marked = "; * stands on the Pareto front" if front else ""
    seeds = "one seed each" if len({trial.entry.seed for trial in trials}) == 1 else "a seed a row"
    values, common = cell_column([trial.entry.arm for trial in trials])
    named = [f"{trial.entry.trial_id}{'*' if trial.entry.key in front else ''}" for trial in trials]
    columns = [Column("trial", named), replace(values, heading="values"), *_of_metrics(trials, results)]
    screen.print()
    say(screen, f"search trials, {seeds}: they show where to look and prove nothing{marked}{common}")
    screen.print(table_of(columns, width=screen.width))


def _print_tuning(stage: TunedStage, screen: Console) -> None:
    """Each arm at its best setting, and at the one that is best for all."""
    views = stage.views
    columns = [Column("arm", [view.arm for view in views], wraps=True)]
    for heading, tried in (("at its best", [view.best for view in views]), ("at one for all", [view.shared for view in views])):
        columns.append(Column(heading, [arm_label(each.setting) if each else "-" for each in tried], wraps=True))
        scores = [f"{each.score:.5g}" if each and each.score is not None else "no score" for each in tried]
        columns.append(Column(stage.tried[0].objective, scores, right=True))
    screen.print()
    say(screen, f"stage {stage.stage}: {stage.caption}")
    screen.print(table_of(columns, width=screen.width))


def _print_retired(results: Results, screen: Console) -> None:
    trials = results.retired
    cells, common = cell_column([{**trial.entry.base, **trial.entry.arm} for trial in trials])
    columns = [Column("trial", [trial.entry.trial_id for trial in trials]), cells]
    columns.append(Column("seed", [str(trial.entry.seed) for trial in trials], right=True))
    columns += [*_of_metrics(trials, results)]
    columns.append(Column("images", [f"{trial.entry.images:,}" for trial in trials], FIRST_TO_GO, right=True))
    screen.print()
    say(screen, f"retired, since the file plans them no more: in no mean, no verdict and no choice{common}")
    screen.print(table_of(columns, width=screen.width))


def _of_metrics(trials: Sequence[TrialResult], results: Results) -> Iterator[Column]:
    """A column a metric, a row a trial."""
    for metric, rank in _ranks(results).items():
        yield Column(metric, [_value(trial, metric) for trial in trials], rank, right=True)


def _value(trial: TrialResult, metric: str) -> str:
    value = trial.value(metric)
    if value is None:
        return state_in_words(trial.entry.state)
    return f"{value:.5g}" + (" (collapsed)" if trial.collapsed else "")


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "no score"
    return f"{spread.mean:.5g}" + (f" ± {spread.sd:.2g}" if spread.sd is not None else "")


def _seeds(arm: Arm) -> str:
    whole = f"{arm.scored}" if arm.scored == len(arm.trials) else f"{arm.scored} of {len(arm.trials)}"
    return f"{whole} ({', '.join(arm.remarks)})" if arm.remarks else whole
