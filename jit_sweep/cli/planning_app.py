"""The commands that look at a sweep file before anything starts. Each body imports what it starts."""

from functools import partial
from typing import Annotated

import typer

from jit_sweep.cli.options import AsJson, File, Full, HomeFolder
from jit_sweep.errors import UserError
from jit_sweep.home import DEFAULT_HOME, home_at

app = typer.Typer()
PANEL = "Before a sweep"
command = partial(app.command, rich_help_panel=PANEL)


@command()
def validate(file: File, full: Full = None, home_folder: HomeFolder = DEFAULT_HOME, as_json: AsJson = False) -> int:
    """Check a sweep file against its rules and its data."""
    from jit_sweep.cli import plan
    from jit_sweep.spec.read import of_form

    return plan.validate(of_form(file, full=full), home_at(home_folder), as_json=as_json)


@command()
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


@command()
def axes(as_json: AsJson = False) -> int:
    """List the axes that a sweep may vary, with their values."""
    from jit_sweep.cli import catalogue

    return catalogue.axes(as_json=as_json)


@command()
def metrics(as_json: AsJson = False) -> int:
    """List the scores that a sweep may compare, and the quantities that it may limit."""
    from jit_sweep.cli import catalogue

    return catalogue.metrics(as_json=as_json)


@command()
def schema(as_json: AsJson = False) -> int:
    """Print the JSON schema of a sweep file, by which an editor completes and checks it."""
    from jit_sweep.cli import catalogue

    return catalogue.schema(as_json=as_json)
