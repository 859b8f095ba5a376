"""The commands. Each body imports what it starts, so that `--help`, `validate` and `plan` answer at once."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jit_sweep.cli import INTERRUPTED, data_app, model_app, stats_app, streams
from jit_sweep.cli.options import AnySweep, AsJson, File, Full, HomeFolder, LedgerUri, SweepName, TrackingUri
from jit_sweep.cli.output import asks_for_json, print_error, print_json
from jit_sweep.errors import UserError
from jit_sweep.home import DEFAULT_HOME, home_at
from trainables.report import ExitCode


def _exit_with(code: int, **_: object) -> None:
    """What a command returns is the exit code; the options of `options` come along."""
    raise typer.Exit(code)


class _Commands(TyperGroup):
    """The commands, each of which an interrupt ends with a line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stderr.write(f"{INTERRUPTED}\n")
            if asks_for_json(sys.argv[1:]):
                print_json("error", [{"message": INTERRUPTED}])
            raise typer.Exit(ExitCode.INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    result_callback=_exit_with,
    help="Sweeps and ablations for diffusion transformers on Ray, whose answers can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(data_app.app, name="data")
app.add_typer(stats_app.app, name="stats")


def _print_version(asked: bool) -> None:
    if asked:
        from jit_sweep.cli.catalogue import version_line

        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version, and that of the maths."),
    ] = False,
) -> None:
    """What every command has."""


_USAGE_ERROR: Any = typer.BadParameter.__base__
"""An unknown option and the like; typer has no public name for it."""


def main() -> int:
    """Run the command line; returns an `ExitCode`, or of a followed job that job's own code."""
    streams.prepare()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    as_json, stdout = asks_for_json(sys.argv[1:]), sys.stdout
    try:
        try:
            return int(app(standalone_mode=not as_json))  # typer itself prints usage errors for people, and exits
        finally:
            streams.flush(stdout)
    except UserError as error:
        print_error(str(error), as_json=as_json)
    except _USAGE_ERROR as error:
        print_error(error.format_message(), as_json=as_json)
    except BrokenPipeError:
        return ExitCode.WITHOUT_SCORES  # as typer and rich end where they notice it first
    except OSError as error:
        if not streams.is_full(error):
            raise
        print_error(f"the disk that is written to must have room, got {error}; make some", as_json=as_json)
    return ExitCode.MISTAKE


@app.command()
def validate(file: File, full: Full = None, home_folder: HomeFolder = DEFAULT_HOME, as_json: AsJson = False) -> int:
    """Check a sweep file against its rules and its data."""
    from jit_sweep.cli import plan
    from jit_sweep.spec.read import of_form

    return plan.validate(of_form(file, full=full), home_at(home_folder), as_json=as_json)


@app.command()
def plan(
    file: File,
    full: Full = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure each shape here, and say how long, how much memory and disk it takes.")
    ] = False,
    price: Annotated[
        float | None, typer.Option(min=0.0, help="With --probe: of a GPU-hour, or of a CPU-hour without GPUs.")
    ] = None,
    no_compile: Annotated[
        bool, typer.Option("--no-compile", help="With --probe: measure eager steps, which takes no compilation.")
    ] = False,
    power: Annotated[
        bool, typer.Option("--power", help="Also the gap that 3 to 16 seeds in every arm could show, and their cost.")
    ] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    as_json: AsJson = False,
) -> int:
    """Show the trials a sweep file means, with their size and cost, and start nothing but measurements it is asked for."""
    from jit_sweep.cli import plan
    from jit_sweep.spec.read import of_form

    if not probe and (price is not None or no_compile):
        raise UserError("`--price` and `--no-compile` need --probe, got none; add it")
    asked = plan.ProbeOptions(home_at(home_folder), compiled=not no_compile, price=price) if probe else None
    return plan.show(of_form(file, full=full), home_at(home_folder), as_json=as_json, probe=asked, by_seeds=power)


@app.command()
def axes(as_json: AsJson = False) -> int:
    """List the axes that a sweep may vary, with their values."""
    from jit_sweep.cli import catalogue

    return catalogue.axes(as_json=as_json)


@app.command()
def metrics(as_json: AsJson = False) -> int:
    """List the scores that a sweep may compare, and the quantities that it may limit."""
    from jit_sweep.cli import catalogue

    return catalogue.metrics(as_json=as_json)


@app.command()
def schema(as_json: AsJson = False) -> int:
    """Print the JSON schema of a sweep file, by which an editor completes and checks it."""
    from jit_sweep.cli import catalogue

    return catalogue.schema(as_json=as_json)


@app.command()
def run(
    file: File,
    full: Full = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster; without it, a local one is started.")] = None,
    submitted: Annotated[bool, typer.Option("--submitted", hidden=True, help="By `submit`, whose command goes on.")] = False,
    as_json: AsJson = False,
) -> int:
    """Run a sweep to its end, here or on a cluster, in the foreground. The same command again goes on where it stopped."""
    from jit_sweep.cli import run
    from jit_sweep.spec.read import of_form

    return run.run(of_form(file, full=full), home_at(home_folder), address=address, as_json=as_json, submitted=submitted)


@app.command()
def submit(
    file: File,
    address: Annotated[str, typer.Option(help="The Ray cluster's Jobs address, such as http://127.0.0.1:8265.")],
    wait: Annotated[bool, typer.Option(help="Follow the job's log and take its exit code.")] = True,
    full: Full = None,
    home_folder: HomeFolder = DEFAULT_HOME,
    as_json: AsJson = False,
) -> int:
    """Run a sweep as a job on a Ray cluster. The same command again attaches to it, or resumes it."""
    from jit_sweep.cli import submit
    from jit_sweep.spec.read import of_form

    return submit.submit(of_form(file, full=full), home_at(home_folder), address=address, wait=wait, as_json=as_json)


@app.command()
def status(
    sweep: AnySweep = None,
    cost: Annotated[bool, typer.Option("--cost", help="Show where the sweep's device-hours went.")] = False,
    trial: Annotated[str | None, typer.Option("--why", metavar="TRIAL", help="Say why this trial stands as it does.")] = None,
    address: Annotated[str | None, typer.Option(help="With --why: the Ray cluster to ask for free resources.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every trial of a large sweep.")] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Show how sweeps stand, or the trials of one, or why a trial stands as it does, or what the sweep cost."""
    from jit_sweep.cli import status

    if (cost or trial is not None) and sweep is None:
        raise UserError(f"`{'--cost' if cost else '--why'}` needs a sweep, got none; name one before it")
    uri = home_at(home_folder).existing_ledger(ledger)
    if sweep is not None and trial is not None:
        return status.show_why(sweep, trial, uri, address=address, as_json=as_json)
    if sweep is not None and cost:
        return status.show_cost(sweep, uri, as_json=as_json)
    return status.status(sweep, uri, every=every, as_json=as_json)


@app.command()
def stop(
    sweep: SweepName,
    address: Annotated[
        str | None, typer.Option(help="Jobs address of the cluster that it was submitted to, where its run hears nothing else.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=1, help="Seconds for its trials to save, before it is signalled.")
    ] = 30,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Ask a sweep that runs elsewhere to save its trials and end. The same `run` or `submit` goes on with it."""
    from jit_sweep.cli import stop

    uri = home_at(home_folder).existing_ledger(ledger)
    return stop.stop(sweep, uri, address=address, wait_s=wait_s, as_json=as_json)


@app.command()
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


@app.command()
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


@app.command()
def noise(
    sweep: SweepName,
    seeds: Annotated[int | None, typer.Option(min=2, help="Seeds of each arm, the first so many; without it, all.")] = None,
    resamples: Annotated[int, typer.Option(min=1, help="Draws of other images from each weights.")] = 4,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    as_json: AsJson = False,
) -> int:
    """Measure how far a sweep's scores move when trials are trained again, and when the same weights are drawn again."""
    from jit_sweep.cli import noise

    return noise.noise(sweep, home_at(home_folder), ledger=ledger, seeds=seeds, resamples=resamples, as_json=as_json)


@app.command()
def report(
    sweep: SweepName,
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
    """Write a sweep's report, finished or not: the answer, verdicts, curves, samples, costs, and how to make it again."""
    from jit_sweep.cli import report

    home = home_at(home_folder)
    return report.report(sweep, home, ledger=ledger, out=out, paper=paper, goal=goal, opened=opened, as_json=as_json)


@app.command()
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
    home_folder: HomeFolder = DEFAULT_HOME,
    as_json: AsJson = False,
) -> int:
    """Give verdicts on runs that were trained elsewhere: paired by seed, after a look at what else differs."""
    from jit_sweep.cli import judge as judging
    from jit_sweep.results.foreign import ForeignComparison

    columns = tuple(column.strip() for column in arm.split(","))
    how = ForeignComparison(columns, seed, metric, maximize=maximize, scale="log" if ratios else "raw")
    home = home_at(home_folder)
    match (mlflow, experiment, optuna, study, csv):
        case (str(uri), str(name), None, None, None):
            return judging.judge_mlflow(uri, name, home, how=how, as_json=as_json)
        case (None, None, str(storage), str(name), None):
            return judging.judge_study(storage, name, home, how=how, as_json=as_json)
        case (None, None, None, None, Path() as file):
            return judging.judge_csv(file, how=how, as_json=as_json)
    raise UserError("`judge` needs --mlflow with --experiment, --optuna with --study, or --csv; give one of them")


@app.command()
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


@app.command()
def gc(
    sweep: AnySweep = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Remove checkpoints that no sweep, planned trial or registered model needs."""
    from jit_sweep.cli import gc

    home = home_at(home_folder)
    uri = home.existing_ledger(ledger)
    return gc.gc(sweep, home, ledger=uri, tracking=tracking, dry_run=dry_run, as_json=as_json)


@app.command()
def doctor(
    sweep: SweepName,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended; nobody may run the sweep.")] = False,
    home_folder: HomeFolder = DEFAULT_HOME,
    ledger: LedgerUri = None,
    tracking: TrackingUri = None,
    as_json: AsJson = False,
) -> int:
    """Compare a sweep's ledger, checkpoints, MLflow and registered models with each other, and say what is amiss."""
    from jit_sweep.cli import doctor

    home = home_at(home_folder)
    uri = home.existing_ledger(ledger)
    return doctor.doctor(sweep, home, ledger=uri, tracking=tracking, mends=repair, as_json=as_json)


app.add_typer(model_app.app)
