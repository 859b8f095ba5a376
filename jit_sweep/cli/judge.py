"""`judge`: verdicts on runs that somebody else has trained."""

import csv
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jit_sweep.cli.output import console, noise_to, print_json
from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.errors import UserError
from jit_sweep.home import Home
from jit_sweep.results.foreign import ForeignComparison, ForeignFinding, ForeignRun, ForeignVerdicts, judge
from jit_sweep.results.scales import in_words
from trainables.config.fields import counted
from trainables.report import ExitCode


def judge_mlflow(uri: str, experiment: str, home: Home, *, how: ForeignComparison, as_json: bool) -> int:
    """The runs of an MLflow experiment. UserError: they cannot be read, or not be compared so."""
    with noise_to(home.log("judge.log")):
        from jit_sweep.tracking.foreign_runs import foreign_runs

        runs = foreign_runs(uri, experiment)
    return _print(judge(runs, how), how, len(runs), as_json=as_json)


def judge_study(storage: str, study: str, home: Home, *, how: ForeignComparison, as_json: bool) -> int:
    """The trials of an Optuna study, whose own direction counts. UserError: as `judge_mlflow`."""
    with noise_to(home.log("judge.log")):
        from jit_sweep.search.foreign_study import VALUE, foreign_trials

        runs, maximize = foreign_trials(storage, study)
    how = replace(how, maximize=how.maximize or (maximize and how.metric == VALUE))
    return _print(judge(runs, how), how, len(runs), as_json=as_json)


def judge_csv(file: Path, *, how: ForeignComparison, as_json: bool) -> int:
    """The rows of a file with a header; an empty or unreadable score is a lost run. UserError: as `judge_mlflow`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            rows = [{name: text for name, text in row.items() if name and text} for row in csv.DictReader(opened)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"`--csv` must be a readable file with a header, got {file} ({error}); give another") from None
    runs = [ForeignRun(f"line {number}", _but(row, how.metric), _numbers(row)) for number, row in enumerate(rows, start=2)]
    return _print(judge(runs, how), how, len(runs), as_json=as_json)


def _but(row: dict[str, str], metric: str) -> dict[str, str]:
    return {name: text for name, text in row.items() if name != metric}


def _numbers(row: dict[str, str]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, text in row.items():
        try:
            numbers[name] = float(text)
        except ValueError:
            continue
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _print(found: ForeignVerdicts, how: ForeignComparison, runs: int, *, as_json: bool) -> int:
    if as_json:
        print_json(
            "judge", [each.as_row() for each in found.findings], metric=how.metric, runs=runs, remarks=list(found.remarks)
        )
        return ExitCode.DONE
    screen = console()
    which = "higher" if how.maximize else "lower"
    compared = "as ratios" if how.scale == "log" else "as they are"
    say(
        screen,
        f"{counted(runs, 'run')}: verdicts on {how.metric} ({which} is better), compared {compared}, paired by {how.seed}",
    )
    screen.print(table_of(_columns(found.findings), width=screen.width))
    for each in found.findings:
        say(screen, f"{each.question.label}: {each.verdict}", indent="  ")
    for remark in found.remarks:
        say(screen, remark, style="dim")
    say(screen, "asked after the runs: evidence only if no other question was tried on them", style="dim")
    return ExitCode.DONE


def _columns(found: Sequence[ForeignFinding]) -> list[Column]:
    return [
        Column("question", [each.question.label for each in found], wraps=True),
        Column("effect", [each.effect or "-" for each in found], right=True),
        Column("p", [f"{each.adjusted_p:.2g}" if each.test else "-" for each in found], right=True),
        Column("n", [str(each.test.n) if each.test else "-" for each in found], 1, right=True),
        Column("gap", [_gap(each) for each in found], 2, right=True),
        Column("verdict", [str(each.outcome) for each in found], wraps=True),
    ]


def _gap(found: ForeignFinding) -> str:
    return in_words(found.scale, found.gap, sign=False) if found.gap is not None else "-"
