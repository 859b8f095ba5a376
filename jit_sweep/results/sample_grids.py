"""Pictures of the arms' samples, aligned by seed, noise and label, so that equal places compare."""

import logging
from collections.abc import Sequence

from jit_sweep.redact import redact
from jit_sweep.results.arms import Arm
from trainables.storage.folder import open_file

_log = logging.getLogger(__name__)


def read_grid(address: str, *, storage: str | None) -> bytes | None:
    """A trial's picture; None where it is gone, or was never drawn. In a storage that was moved it lies below `trials/` as
    before."""
    if not address:
        return None
    here = [f"{storage.rstrip('/')}/trials/{address.rpartition('/trials/')[2]}"] if storage else []
    for place in (*here, address):
        try:
            with open_file(place) as file:
                return file.read()
        except FileNotFoundError:
            continue
    _log.warning("no sample grid at %s", redact(address))
    return None


def shared_seed(arms: Sequence[Arm], arm: Arm) -> int | None:
    """A scored seed of an arm that every scored arm has, else its own first; None where none is scored."""
    scored = {trial.entry.seed for trial in arm.trials if trial.score}
    shared = scored.intersection(*({t.entry.seed for t in other.trials if t.score} or scored for other in arms))
    return min(shared or scored, default=None)
