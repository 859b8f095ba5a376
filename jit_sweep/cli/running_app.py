"""The commands that run a sweep, watch it, stop it and keep its home in order. Each body imports what it starts."""

from functools import partial
from typing import Annotated

import typer

from jit_sweep.cli.options import AnySweep, AsJson, File, Full, HomeFolder, LedgerUri, SweepName, TrackingUri
from jit_sweep.errors import UserError
from jit_sweep.home import DEFAULT_HOME, home_at

app = typer.Typer()
command = partial(app.command, rich_help_panel="A sweep")


@command()
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


@command()
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


@command()
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


@command()
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


@command()
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


@command()
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
