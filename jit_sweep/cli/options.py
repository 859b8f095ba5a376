"""The arguments and options that several commands share, and what a shell completes them with."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from jit_sweep.errors import UserError
from jit_sweep.home import DEFAULT_HOME, home_at
from jit_sweep.spec.uri import tracking_of_form

SWEEP_FILES = (".yaml", ".yml")


def sweep_files(incomplete: str) -> Iterator[str]:
    """The shipped sweeps, and the sweep files and folders below here, that begin so."""
    from jit_sweep.spec.read import shipped_sweeps

    yield from (name for name in shipped_sweeps() if name.startswith(incomplete))
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = str(path) + ("/" if path.is_dir() else "")
        if name.startswith(incomplete) and (path.is_dir() or path.suffix in SWEEP_FILES):
            yield name


def sweep_names(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The sweeps of the ledger that the command would read, that begin so; none where it cannot be read."""
    from jit_sweep.ledger.reader import LedgerReader

    home = home_at(Path(context.params.get("home_folder") or DEFAULT_HOME))
    try:
        sweeps = LedgerReader.open(home.existing_ledger(context.params.get("ledger"))).sweeps()
    except UserError:
        return
    yield from (sweep.name for sweep in sweeps if sweep.name.startswith(incomplete))


def _of_form(uri: str | None) -> str | None:
    """UserError: no address of an MLflow store."""
    try:
        return None if uri is None else tracking_of_form(uri)
    except ValueError as error:
        raise UserError(f"--tracking: {error}") from None


File = Annotated[
    str,
    typer.Argument(
        help="A sweep file, or the bare name of a shipped one (quickstart).", metavar="FILE", autocompletion=sweep_files
    ),
]
Full = Annotated[
    bool | None, typer.Option("--full/--small", help="The form of a file that has two: with its `full` keys, or as it stands.")
]
SweepName = Annotated[str, typer.Argument(help="A sweep's name.", metavar="SWEEP", autocompletion=sweep_names)]
AnySweep = Annotated[
    str | None,
    typer.Argument(metavar="[SWEEP]", help="A sweep's name; without it, all sweeps.", autocompletion=sweep_names),
]
MODEL = "A registered model: NAME, NAME@ALIAS or NAME/VERSION"
ModelOrFolder = Annotated[str, typer.Argument(help=f"{MODEL}, or the FOLDER/ of an exported or imported one.", metavar="MODEL")]
ModelName = Annotated[str, typer.Argument(help="A registered model's name.", metavar="MODEL")]
HomeFolder = Annotated[Path, typer.Option("--home", envvar="JIT_SWEEP_HOME", help="Folder of ledger, MLflow and store.")]
LedgerUri = Annotated[str | None, typer.Option("--ledger", envvar="JIT_SWEEP_LEDGER", help="Ledger, where not the home's.")]
TrackingUri = Annotated[
    str | None,
    typer.Option("--tracking", envvar="JIT_SWEEP_TRACKING", callback=_of_form, help="MLflow, where not the home's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object with `schema` and `rows`.")]
