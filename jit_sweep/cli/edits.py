"""What a sweep file says otherwise than the ledger, printed before anything starts."""

from jit_sweep.cli.output import console
from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.plan.entry import Plan


def difference_lines(plan: Plan, locations: Locations, *, upgrade: bool = False) -> list[str]:
    """The lines of `jit_sweep.edits`; one that says so where the ledger cannot be read from here.

    `upgrade`: make it what this version reads, as a run does. UserError: the name is another sweep's there.
    """
    if locations.lacks_ledger and not upgrade:
        return []
    from jit_sweep.edits.difference import read_difference  # starts SQL
    from jit_sweep.ledger.connect import NoLedger, open_engine
    from jit_sweep.ledger.reader import LedgerReader
    from jit_sweep.ledger.refusals import OtherSweep

    try:
        return read_difference(LedgerReader(open_engine(locations.ledger, create=upgrade)), plan)
    except NoLedger:
        return []
    except OtherSweep:
        raise
    except UserError as error:
        if upgrade:
            raise
        return [f"not known: {error}"]


def print_difference(plan: Plan, locations: Locations, *, upgrade: bool = False, stderr: bool = False) -> None:
    """A line for each key that differs, and for each thing that follows; nothing where nothing differs.

    `upgrade`: as in `difference_lines`, and then UserError where the ledger cannot be used.
    """
    if lines := difference_lines(plan, locations, upgrade=upgrade):
        screen = console(stderr=stderr)
        screen.print("what the sweep file changes of what the ledger holds:", soft_wrap=True)
        for line in lines:
            screen.print(f"  {line}", soft_wrap=True, markup=False)
