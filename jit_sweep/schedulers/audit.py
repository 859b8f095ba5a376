"""A sample of what a scheduler would stop goes to its end, so that it shows whether slow starters win."""

import hashlib

from jit_sweep.schedulers.race import Verdict

_DRAWN = "; it goes on all the same, drawn as one in "


def audited(verdict: Verdict, *, one_in: int | None) -> Verdict:
    """The verdict; one that stops an arm of the sample lets it go on. None: there is no sample."""
    if verdict.go_on or one_in is None or not is_drawn(verdict.racer, one_in=one_in):
        return verdict
    return verdict._replace(go_on=True, reason=f"{verdict.reason}{_DRAWN}{one_in} of the stopped")


def is_drawn(racer: str, *, one_in: int) -> bool:
    """Whether an arm is of the sample: by a hash of its name, so that nothing it shows has a part in it."""
    return int.from_bytes(hashlib.sha256(racer.encode()).digest(), "big") % one_in == 0


def is_of_the_sample(reason: str) -> bool:
    """Whether a verdict let an arm go on for the sample's sake."""
    return _DRAWN in reason
