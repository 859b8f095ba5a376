"""`run`: a sweep in the foreground, from the first check to the table at the end."""

from jit_sweep.cli import results
from jit_sweep.cli.output import console, noise_to
from jit_sweep.cli.planning import planned
from jit_sweep.executor.environment import prepare_environment
from jit_sweep.home import DEFAULT_HOME, Home, Places, home
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState
from jit_sweep.plan import Plan
from jit_sweep.results import read_results
from jit_sweep.sample_grids import write_sample_grids

INTERRUPTED = 130


def run(file: str, place: Home, *, address: str | None, as_json: bool) -> int:
    """Run a sweep file. UserError: anything the user can mend, before a trial has begun."""
    found = planned(file)
    place.make()
    places = place.places(found.spec)
    state, undelivered = _run(found, places, place, address=address, screen=2 if as_json else 1)
    name = found.spec.name
    if state == "interrupted":
        console(stderr=as_json).print(f"interrupted; {_standing(name, places)}\nthe same command goes on")
        return INTERRUPTED
    code = results.print_results(name, places.ledger, as_json=as_json)
    if not as_json:
        _print_next(name, places, place, undelivered=undelivered)
    return code


def _run(found: Plan, places: Places, place: Home, *, address: str | None, screen: int) -> tuple[str, int]:
    """The run itself, with the noise of Ray and MLflow in a log file."""
    with noise_to(place.logs / f"{found.spec.name}.log", screen=screen) as real:
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


def _standing(name: str, places: Places) -> str:
    rows = LedgerReader(open_engine(places.ledger, create=False)).entries(name)
    counts = {state: sum(row.state is state for row in rows) for state in EntryState}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _print_next(name: str, places: Places, place: Home, *, undelivered: int) -> None:
    screen, options = console(), _options(place)
    if grids := write_sample_grids(read_results(LedgerReader(open_engine(places.ledger, create=False)), name), place.store):
        screen.print(f"\nsamples of every arm, with equal noise and labels: {grids}")
    if undelivered:
        screen.print(f"\n{undelivered} events have not reached MLflow; the same command delivers them")
    screen.print(f"\nnext:\n  jit-sweep ui {name}{options}\n  jit-sweep promote {name} --name {name}-model{options}")


def _options(place: Home) -> str:
    """What a further command needs to find this home."""
    return "" if place == home(DEFAULT_HOME) else f" --home {place.path}"
