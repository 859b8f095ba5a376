"""What a trial is about while it does not train: told from within, since a report in between would wait for the end of it."""

import time
from collections.abc import Callable

from trainables.report import Activity, Undertaking

INTERVAL_S = 3.0
"""From one telling of the same thing to the next, at least; each is a row in the ledger."""


class Telling:
    """Hands on what is under way: at once where it is another thing than before, then now and then."""

    def __init__(
        self,
        tell: Callable[[Activity], object],
        *,
        images: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`images`: how many images the weights have seen."""
        self._tell, self._images, self._clock = tell, images, clock
        self._what: Undertaking | None = None
        self._told_at = 0.0

    def __call__(self, what: Undertaking, done: int = 0, of: int = 0) -> None:
        """`done` of `of` images; both 0 where nothing is counted."""
        now = self._clock()
        if what == self._what and now - self._told_at < INTERVAL_S:
            return
        self._what, self._told_at = what, now
        self._tell(Activity(images=self._images(), what=what, done=done, of=of))
