"""The commands that show what came of a sweep. Each body imports what it starts."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from jit_sweep.cli.options import AsJson, HomeFolder, LedgerUri, SweepName, TrackingUri, sweep_names
from jit_sweep.errors import UserError
from jit_sweep.home import DEFAULT_HOME, home_at

app = typer.Typer()
command = partial(app.command, rich_help_panel="Results")


@command()
def leaderboard(
    sweep: SweepName,
    where: Annotated[
        list[str] | None, typer.Option(metavar="AXIS=VALUE", help="Only cells with this value; repeatable.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(metavar="AXIS", help="A table for each value of this axis; repeatable.")
    ] = None,
    over: Annotated[
        list[str] | None, typer.Option(metavar="AXIS", help="Means over the values of this axis; repeatable.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every row of a large sweep.")] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Show a sweep's arms with mean, spread and number of seeds, the verdicts, and how well rungs foretold the end."""
    from jit_sweep.cli import leaderboard

    uri = home_at(home_folder).existing_ledger(ledger)
    return leaderboard.leaderboard(sweep, uri, where=where or [], by=by or [], over=over or [], every=every, as_json=as_json)


@command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="SWEEP, SWEEP:AXIS=VALUE,... (an arm) or SWEEP:TRIAL.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another of the same kind.")],
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Show what differs between two sweeps, arms or trials: in configuration, and in results by the verdicts' own test."""
    from jit_sweep.cli import compare

    return compare.compare(first, second, home_at(home_folder).existing_ledger(ledger), as_json=as_json)


@command()
def report(
    sweeps: Annotated[list[str], typer.Argument(metavar="SWEEP", help="A sweep, or several that share images and evaluation.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .html, .md or .json file; without it, a page in the home.")
    ] = None,
    paper: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each table as CSV and LaTeX, too, and each figure as SVG and PDF.")
    ] = None,
    goal: Annotated[
        float | None, typer.Option(help="Held-out error whose time is told; without it, what half of the sound arms reach.")
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Write the report of one sweep or several, finished or not: answer, verdicts, curves, samples, costs, how to repeat."""
    from jit_sweep.cli import report

    home = home_at(home_folder)
    return report.report(sweeps, home, ledger=ledger, out=out, paper=paper, goal=goal, opened=opened, as_json=as_json)


@command()
def ui(
    sweep: Annotated[str | None, typer.Argument(metavar="[SWEEP]", help="Open on this sweep.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on the loopback interface; 0 picks a free one.")] = 5000,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Serve MLflow on this machine until interrupted, and print links that open on the sweep."""
    from jit_sweep.cli import models

    return models.ui(sweep, home_at(home_folder), port=port, ledger=ledger, tracking=tracking, as_json=as_json)


@command()
def noise(
    sweep: Annotated[
        str,
        typer.Argument(metavar="SWEEP|FILE", help="A sweep's name, or a file that has not run.", autocompletion=sweep_names),
    ],
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="Seeds of each arm, the first so many; without it, all. Of a file: of its baseline (5)."),
    ] = None,
    resamples: Annotated[int, typer.Option(min=1, max=1000, help="Draws of other images from each weights.")] = 4,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Measure how far a sweep's scores move when trials are trained again, and when the same weights are drawn again."""
    from jit_sweep.cli import noise

    return noise.noise(sweep, home_at(home_folder), ledger=ledger, seeds=seeds, resamples=resamples, as_json=as_json)


@command()
def judge(
    arm: Annotated[
        str, typer.Option(metavar="COLUMNS", help="What is compared: columns, by commas; the first arm is the baseline.")
    ],
    seed: Annotated[str, typer.Option(metavar="COLUMN", help="The column that pairs the runs of two arms.")],
    metric: Annotated[str, typer.Option(metavar="NAME", help="The score; of an Optuna study its objective is `value`.")],
    mlflow: Annotated[str | None, typer.Option(metavar="URI", help="The runs of an MLflow store's --experiment.")] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="With --mlflow.")] = None,
    optuna: Annotated[str | None, typer.Option(metavar="STORAGE", help="The trials of a storage's --study.")] = None,
    study: Annotated[str | None, typer.Option(metavar="NAME", help="With --optuna.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="The rows of a file with a header.")] = None,
    maximize: Annotated[bool, typer.Option("--maximize", help="Higher is better.")] = False,
    ratios: Annotated[bool, typer.Option("--ratios", help="Compare as ratios, as suits distances, losses and times.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column that may differ between arms, such as another score; repeatable."),
    ] = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    as_json: AsJson = False,
) -> int:
    """Give verdicts on runs that were trained elsewhere: paired by seed, after a look at what else differs."""
    from jit_sweep.cli import judge as judging
    from jit_sweep.results.foreign import ForeignComparison

    columns = tuple(column.strip() for column in arm.split(","))
    how = ForeignComparison(
        columns, seed, metric, maximize=maximize, scale="log" if ratios else "raw", ignore=tuple(ignore or ())
    )
    home = home_at(home_folder)
    match (mlflow, experiment, optuna, study, csv):
        case (str(uri), str(name), None, None, None):
            return judging.judge_mlflow(uri, name, home, how=how, as_json=as_json)
        case (None, None, str(storage), str(name), None):
            return judging.judge_study(storage, name, home, how=how, as_json=as_json)
        case (None, None, None, None, Path() as file):
            return judging.judge_csv(file, how=how, as_json=as_json)
    raise UserError("`judge` needs --mlflow with --experiment, --optuna with --study, or --csv; give one of them")
