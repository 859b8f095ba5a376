"""The command line. Each command imports what it starts, so that `--help`, `validate` and `plan` answer at once."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jit_sweep.cli import (
    INTERRUPTED,
    data_app,
    model_app,
    planning_app,
    results_app,
    running_app,
    stats_app,
    streams,
    unmasked,
)
from jit_sweep.cli.output import asks_for_json, print_error, print_json
from jit_sweep.errors import UserError
from trainables.report import ExitCode


def _exit_with(code: int, **_: object) -> None:
    """What a command returns is the exit code; the options of `options` come along."""
    raise typer.Exit(code)


class _Commands(TyperGroup):
    """The commands, each of which an interrupt ends with a line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with unmasked():
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

for commands in (planning_app, running_app, results_app, model_app):
    app.add_typer(commands.app)
app.add_typer(data_app.app, name="data", rich_help_panel=planning_app.PANEL)
app.add_typer(stats_app.app, name="stats", rich_help_panel=planning_app.PANEL)


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
