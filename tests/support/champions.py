"""Champions of sweeps as they are: registered without a retraining and without gates."""

from jit_sweep.home import Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models.candidate import candidate_of
from jit_sweep.models.promote import Evidence, Promotion, register
from jit_sweep.results.leaderboard import read_results
from jit_sweep.tracking.registry import Registry


def champion_of(
    reader: LedgerReader, sweep: str, locations: Locations, *, trial: str | None = None, name: str, forced: str = ""
) -> Promotion:
    """Register the middle seed of a sweep's best configuration, or of that of a trial."""
    results = read_results(reader, sweep)
    candidate = candidate_of(results, trial=trial)
    made = Evidence(candidate, candidate.arm, results.objective, (), results.heldout, forced=forced)
    standing = Registry(locations.tracking).standing(name)
    return register(reader, sweep, made, name=name, standing=standing, locations=locations)
