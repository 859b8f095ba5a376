"""`run`: a sweep in the foreground, from the first check to the table at the end."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jit_sweep.budget.costs import cost_line
from jit_sweep.cli import leaderboard
from jit_sweep.cli.data import prepare_for
from jit_sweep.cli.edits import print_difference
from jit_sweep.cli.output import console, noise_to, print_json, print_next
from jit_sweep.cli.plan import check_affordable, planned, resolved
from jit_sweep.cli.report import report_path
from jit_sweep.cli.tables import say
from jit_sweep.commands import SharedOptions
from jit_sweep.errors import UserError
from jit_sweep.executor.before_ray import check_answers, prepare_environment
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.home import Home, Locations
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.lease import LeaseHeld
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState, SweepState
from jit_sweep.models.candidate import candidate_of
from jit_sweep.plan.budget_remarks import soundness_remarks
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.search import searches
from jit_sweep.redact import redact, redact_all
from jit_sweep.report.contents import read_report
from jit_sweep.report.write import write_report
from jit_sweep.results.as_json import standing_row
from jit_sweep.results.leaderboard import NoBestArm, Results, read_results
from trainables.report import ExitCode
from trainables.storage.folder import Folder

if TYPE_CHECKING:
    from jit_sweep.executor.run import RunResult


def run(file: str, home: Home, *, address: str | None, as_json: bool, submitted: bool = False) -> int:
    """Run a sweep file. UserError: anything the user can mend, before a trial has begun.

    `submitted`: by `submit`, whose own command goes on with the sweep.
    """
    interrupt = Interrupt()
    with interrupt.raising():
        shared = replace(home.shared_options(home.locations()), address=address)
        again = [] if submitted else [shared.command("run", Path(file))]
        return _run_to_end(file, home, address=address, as_json=as_json, interrupt=interrupt, again=again)


def _run_to_end(
    file: str, home: Home, *, address: str | None, as_json: bool, interrupt: Interrupt, again: Sequence[str]
) -> int:
    plan, result = train(planned(file, home), home, address=address, as_json=as_json, interrupt=interrupt)
    name, locations = plan.spec.name, home.locations(plan.spec)
    try:
        reader = LedgerReader.open(locations.ledger)
    except UserError as error:
        raise UserError(result.reason or str(error)) from None
    if result.state is SweepState.INTERRUPTED:
        screen = console(stderr=as_json)
        goes_on = "" if again else "; submitting the sweep again goes on with it"
        screen.print(f"interrupted; {standing_of(reader, name)}{goes_on}", soft_wrap=True)
        print_next(screen, *again)
        if as_json:
            print_json("run", [standing_row(row) for row in reader.entries(name)], sweep=name, state=str(result.state))
        return ExitCode.INTERRUPTED
    page = write_report(read_report(reader, name), report_path(home, name), storage=locations.storage)
    code = leaderboard.print_results(reader, name, as_json=as_json, report=str(page))
    if not as_json:
        unfinished = result.undelivered or result.state is not SweepState.DONE
        _print_rest(reader, page, name, home, locations, undelivered=result.undelivered, again=again if unfinished else [])
    if result.reason:
        console(stderr=True).print(f"\n{result.state}: {result.reason}; {standing_of(reader, name)}", soft_wrap=True)
    return ExitCode.WITHOUT_SCORES if result.reason else code


def train(plan: Plan, home: Home, *, address: str | None, as_json: bool, interrupt: Interrupt) -> tuple[Plan, "RunResult"]:
    """Train what a plan still lacks; the plan comes back on the prepared set of its images. UserError: as `run`."""
    name, locations = plan.spec.name, home.locations(plan.spec)
    prepare_environment(address=address)
    check_before(name, locations, home, address=address)
    check_searches(plan, locations)
    if not plan.data.is_prepared:
        screen = console(stderr=as_json)
        for warning in plan.data.warnings:
            say(screen, f"the images at {plan.data.uri}: {warning}")
        prepare_for(plan.spec, locations.storage, address=address, screen=screen)
        plan = resolved(plan.spec, home, source=name)
    print_difference(plan, locations, upgrade=True, stderr=as_json)
    for line in soundness_remarks(plan):
        say(console(stderr=True), line)
    return plan, _run(plan, home, address=address, screen=2 if as_json else 1, interrupt=interrupt)


def check_before(name: str, locations: Locations, home: Home, *, address: str | None) -> None:
    """Everything that a sweep needs, asked before anything of it is made. UserError: a part is out of reach.

    MLflow must answer for a new sweep only: later it may be away, and get what it missed.
    """
    if address is not None:
        check_answers(address)
    if locations.tracking != home.tracking and not is_known(name, locations.ledger):
        from jit_sweep.tracking import check

        check.check(locations.tracking)
    if locations.storage != str(home.store):
        check_writable(locations.storage)
    if locations.ledger != home.ledger:
        open_engine(locations.ledger)
    home.make()


def check_searches(plan: Plan, locations: Locations) -> None:
    """Build every search's sampler once, and check the sweeps that it starts warm from.

    UserError: a sampler's options, its package, or a sweep that is not there or whose scores mean something else.
    """
    if not searches(plan.spec):
        return
    from jit_sweep.search.samplers import check_sampler  # starts Optuna
    from jit_sweep.search.warm_start import check_warm_start

    for search in searches(plan.spec).values():
        check_sampler(search)
    warm = [search for search in searches(plan.spec).values() if search.warm_start]
    if warm:
        # Not `LedgerReader.open`: a run makes a ledger that is missing and upgrades one of an older version.
        reader = LedgerReader(open_engine(locations.ledger))
        for search in warm:
            check_warm_start(reader, search, identity=plan.identity)


def is_known(name: str, ledger: str) -> bool:
    """Whether a ledger, if there is one, has a sweep of this name."""
    try:
        return name in [sweep.name for sweep in LedgerReader.open(ledger).sweeps()]
    except UserError:
        return False


def check_writable(storage: str) -> None:
    """Write and remove a small file. UserError: the storage refuses it."""
    probe = f".writable-{secrets.token_hex(4)}"
    try:
        folder = Folder(storage)
        folder.put(probe, b"")
        folder.remove(probe)
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        rule = f"`storage` must be a folder or URI that can be written, got {redact(storage)}"
        raise UserError(
            f"{rule} ({redact_all(reason, uri=storage)}); check its name and the credentials in the environment"
        ) from None


def _run(plan: Plan, home: Home, *, address: str | None, screen: int, interrupt: Interrupt) -> "RunResult":
    """The run itself, with the noise of Ray and MLflow in a log file."""
    with noise_to(home.logs / f"{plan.spec.name}.log", screen=screen) as real:
        from jit_sweep.cli.progress import view_of
        from jit_sweep.estimate.measure import speeds_here
        from jit_sweep.executor.run import run_sweep

        view = view_of(plan, real)
        try:
            interrupt.check()
            speeds = speeds_here(plan.spec, home)
            check_affordable(plan, speeds, source=plan.spec.name)
            return run_sweep(
                plan,
                home,
                address=address,
                watch=view,
                probed=speeds,
                interrupt=interrupt,
                tell=view.say,
                remark=view.remark,
            )
        except LeaseHeld as error:
            shared, name = home.shared_options(home.locations(plan.spec)), plan.spec.name
            lines = (f"  {shared.command(command, name)}" for command in ("status", "stop"))
            raise UserError("\n".join([f"{error}{shared.hint}", *lines])) from None
        finally:
            view.close()


def standing_of(reader: LedgerReader, sweep: str) -> str:
    """How many trials of a sweep stand how, in words."""
    rows = reader.entries(sweep)
    counts = {state: sum(row.state is state for row in rows) for state in EntryState}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _print_rest(
    reader: LedgerReader, page: Path, name: str, home: Home, locations: Locations, *, undelivered: int, again: Sequence[str]
) -> None:
    """What a sweep cost, where its report is, and what can be done next; `again`: the command that goes on with it."""
    screen, shared = console(), home.shared_options(locations)
    results = read_results(reader, name)
    screen.print(f"\n{cost_line(reader, name)}", soft_wrap=True)
    screen.print(f"\nreport, with samples of every arm: {page}", soft_wrap=True)
    if undelivered:
        screen.print(f"\n{undelivered} events have not reached MLflow; running the sweep again delivers them")
    served = locations.tracking.startswith("http")
    print_next(screen, *again, *next_commands(results, shared, served=served), hint=shared.hint)


def next_commands(results: Results, shared: SharedOptions, *, served: bool) -> list[str]:
    """Looking at a sweep, unless an MLflow server shows it already, and promoting from it, where a configuration may win."""
    name = results.sweep
    commands = [] if served else [shared.command("ui", name)]
    try:
        candidate_of(results)
    except NoBestArm:
        return commands
    return [*commands, shared.command("promote", name, name=f"{name}-model")]
