"""`ui`, `sample` and `export` (also as an Optuna journal): what comes after a sweep."""

import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from jit_sweep.cli.output import console, json_line, noise_to, print_json, print_next
from jit_sweep.commands import SharedOptions, shell_line
from jit_sweep.errors import UserError
from jit_sweep.home import Home, Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.spec.stored import stored_spec
from jit_sweep.spec.uri import artifact_uri
from trainables.report import ExitCode


def ui(sweep: str | None, home: Home, *, port: int, ledger: str | None, tracking: str | None, as_json: bool) -> int:
    """Serve MLflow on the loopback interface until interrupted."""
    with noise_to(home.log("mlflow-server.log")) as screen:
        from jit_sweep.tracking import server

        locations = home.locations()
        if sweep is not None:
            locations = _locations(sweep, LedgerReader.open(home.existing_ledger(ledger)), home)
        artifacts = locations.artifacts or artifact_uri(locations.storage)
        serving = server.serve(tracking or locations.tracking, artifacts=artifacts, port=port)
        ended = threading.Event()
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, lambda *_: ended.set())
        _print_served(serving.url, serving.links(sweep), screen, as_json=as_json)
        while not ended.wait(1.0):
            if serving.process.poll() is not None:
                raise UserError(f"the MLflow server ended by itself; see {home.log('mlflow-server.log')}")
        serving.close()
    return ExitCode.DONE


def _print_served(url: str, links: Sequence[str], screen: TextIO, *, as_json: bool) -> None:
    if as_json:
        screen.write(json_line("ui", [{"link": link} for link in links], url=url))
        return
    show = console(screen)
    for line in (f"MLflow: {url}", *(f"  {link}" for link in links), "Ctrl-C ends it."):
        show.print(line, soft_wrap=True)


def model_commands(name: str, shared: SharedOptions) -> list[str]:
    """What can be done with a registered model."""
    return [shared.command("sample", name, out=f"{name}.png"), shared.command("export", name, f"{name}/")]


def sample(model: str, home: Home, *, out: Path, n: int, seed: int, tracking: str | None, as_json: bool) -> int:
    """Draw a grid of images."""
    with noise_to(home.log("sample.log")):
        from jit_sweep.models.sample import draw

        draw(model, tracking_uri=tracking or home.tracking, out=out, n=n, seed=seed)
    if as_json:
        print_json("sample", [{"file": str(out), "images": n, "model": model}])
    else:
        console().print(f"{out}: {n} images from {model}", soft_wrap=True)
    return ExitCode.DONE


def export(model: str, home: Home, *, folder: Path, tracking: str | None, as_json: bool) -> int:
    """Write the model's files."""
    with noise_to(home.log("export.log")):
        from jit_sweep.models.export import export as export_files

        files = export_files(model, folder, tracking_uri=tracking or home.tracking)
    if as_json:
        print_json("export", [{"file": str(folder / file)} for file in files], model=model)
    else:
        console().print(f"{folder}: {', '.join(files)}", soft_wrap=True)
    return ExitCode.DONE


def export_journal(sweep: str, ledger: str, *, file: Path, log: Path, as_json: bool) -> int:
    """Write a sweep's trials for Optuna's own tools."""
    with noise_to(log):
        from jit_sweep.search import journal

        studies = journal.export_journal(LedgerReader.open(ledger), sweep, file)
    if as_json:
        print_json("export", [{"file": str(file), "studies": studies}], sweep=sweep)
        return ExitCode.DONE
    screen = console()
    screen.print(f"{file}: {', '.join(studies)}", soft_wrap=True)
    print_next(screen, shell_line("optuna-dashboard", file))
    return ExitCode.DONE


def _locations(sweep: str, reader: LedgerReader, home: Home) -> Locations:
    """Where a sweep's parts lie, as its own file said. UserError: the ledger has no such sweep, or its file is refused."""
    return home.locations(stored_spec(reader.sweep(sweep).spec, sweep=sweep))
