"""`ui`, `promote`, `sample` and `export`: what comes after a sweep."""

import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jit_sweep.cli.output import console, noise_to, print_json
from jit_sweep.errors import UserError
from jit_sweep.home import Home, Locations
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.spec.sweep import SweepSpec


def ui(sweep: str | None, place: Home, *, port: int, ledger: str | None, tracking: str | None) -> int:
    """Serve MLflow on the loopback interface until interrupted."""
    with noise_to(place.log("mlflow-server.log")) as screen:
        from jit_sweep.tracking import server

        places = _places(sweep, place, ledger=ledger)
        serving = server.serve(tracking or places.tracking, artifacts=places.artifacts or places.storage, port=port)
        show = console(screen)
        show.print(f"MLflow: {serving.url}")
        for link in serving.links(sweep):
            show.print(f"  {link}")
        show.print("Ctrl-C ends it.")
        ended = threading.Event()
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, lambda *_: ended.set())
        while not ended.wait(1.0):
            if serving.process.poll() is not None:
                raise UserError(f"the MLflow server ended by itself; see {place.log('mlflow-server.log')}")
        serving.close()
    return 0


def promote(
    sweep: str, place: Home, *, name: str, trial: str | None, ledger: str | None, tracking: str | None, as_json: bool
) -> int:
    """Register the folder."""
    with noise_to(place.log("promote.log")):
        from jit_sweep.models import promote

        places = _places(sweep, place, ledger=ledger)
        promoted = promote.promote(
            LedgerReader(open_engine(places.ledger, create=False)),
            sweep,
            trial=trial,
            name=name,
            store=places.storage,
            tracking_uri=tracking or places.tracking,
            artifacts=places.artifacts,
        )
    row: dict[str, Any] = asdict(promoted)
    if as_json:
        print_json("promote", [row])
        return 0
    screen = console()
    screen.print(str(promoted))
    screen.print(f"\nnext:\n  jit-sweep sample {name} --out {name}.png\n  jit-sweep export {name} {name}/")
    return 0


def sample(model: str, place: Home, *, out: Path, n: int, seed: int, tracking: str | None) -> int:
    """Draw a grid of images."""
    with noise_to(place.log("sample.log")):
        from jit_sweep.models.sample import draw

        draw(model, tracking_uri=tracking or place.tracking, out=out, n=n, seed=seed)
    console().print(f"{out}: {n} images from {model}")
    return 0


def export(model: str, place: Home, *, folder: Path, tracking: str | None) -> int:
    """Write the model's files."""
    with noise_to(place.log("export.log")):
        from jit_sweep.models import model_folder

        files = model_folder.export(model, folder, tracking_uri=tracking or place.tracking)
    console().print(f"{folder}: {', '.join(files)}")
    return 0


def _places(sweep: str | None, place: Home, *, ledger: str | None) -> Locations:
    """Where a sweep's parts lie, as its own file said; the home's where no sweep is named."""
    if sweep is None:
        return place.places()
    if ledger is None and not (place.path / "ledger.db").exists():
        raise UserError(f"there is no ledger in {place.path}; run a sweep first, or give its home with --home")
    row = LedgerReader(open_engine(ledger or place.ledger, create=False)).sweep(sweep)
    return place.places(SweepSpec.model_validate(row.spec))
