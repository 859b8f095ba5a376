"""`run`: a sweep in the foreground, from the first check to the table at the end."""

from jit_sweep.cli import results
from jit_sweep.cli.output import console, noise_to
from jit_sweep.cli.planning import planned
from jit_sweep.executor.environment import prepare_environment
from jit_sweep.home import Home, Places
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.plan import Plan
from jit_sweep.results import read_results
from jit_sweep.sample_grids import write_sample_grids


def run(file: str, place: Home, *, address: str | None, as_json: bool) -> int:
    """Run a sweep file. UserError: anything the user can mend, before a trial has begun."""
    found = planned(file)
    place.make()
    places = place.places(found.spec)
    state, undelivered = _run(found, places, place, address=address, screen=2 if as_json else 1)
    code = results.print_results(found.spec.name, places.ledger, as_json=as_json)
    if not as_json:
        _print_after(found, places, place, state=state, undelivered=undelivered)
    return 130 if state == "interrupted" else code


def _run(found: Plan, places: Places, place: Home, *, address: str | None, screen: int) -> tuple[str, int]:
    """The run itself, with the noise of Ray and MLflow in a log file."""
    log = place.logs / f"{found.spec.name}.log"
    with noise_to(log, screen=screen) as real:
        prepare_environment(address=address)
        from jit_sweep.cli.progress import view_of
        from jit_sweep.executor.run import run_sweep
        from jit_sweep.tracking import connect

        connect.check(places.tracking)
        view = view_of(found, real)
        try:
            ran = run_sweep(found, places, address=address, watch=view)
        finally:
            view.close()
    return str(ran.state), ran.undelivered


def _print_after(found: Plan, places: Places, place: Home, *, state: str, undelivered: int) -> None:
    screen = console()
    name = found.spec.name
    grids = write_sample_grids(read_results(LedgerReader(open_engine(places.ledger)), name), place.store)
    if grids:
        screen.print(f"\nsamples of each arm, equal noise and labels: {grids}")
    option = "" if place.path.name == ".jit-sweep" and place.path.parent.samefile(".") else f" --home {place.path}"
    if state == "interrupted":
        screen.print(f"\ninterrupted; the same command goes on: jit-sweep run {name}{option}")
    if undelivered:
        screen.print(f"\n{undelivered} events have not reached MLflow; the same command delivers them")
    screen.print(f"\nnext:\n  jit-sweep ui {name}{option}\n  jit-sweep promote {name} --name {name}-model{option}")
