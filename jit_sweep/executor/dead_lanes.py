"""When to stop a sweep whose lanes cannot live, such as one whose code does not start on the cluster."""

from jit_sweep.ledger.records import Cause

NODE_TAKEN = frozenset({Cause.PREEMPTED, Cause.NODE_LOST})
SAYS_NOTHING = NODE_TAKEN | frozenset({Cause.OUT_OF_MEMORY, Cause.STALLED})
"""Causes that a lane does not outlive, and that say nothing about the next one."""
MOST = 6
"""Lanes that die one after the other without any trial getting further: more would be no news."""


class DeadLanes:
    """Counts lanes that died in a row."""

    def __init__(self) -> None:
        self._count, self._furthest = 0, 0

    def count(self, cause: Cause | None, *, images: int, begun: bool = True) -> str:
        """One more, which died of `cause` when all trials together had come to `images`; why the sweep must stop, empty
        where it need not. `begun`: it had a trial in hand, to which its death may be due."""
        if cause in (SAYS_NOTHING if begun else NODE_TAKEN):
            return ""
        self._count = self._count + 1 if images <= self._furthest else 1
        self._furthest = images
        if self._count < MOST:
            return ""
        return f"{self._count} lanes died one after the other without any trial getting further; the log says why"
