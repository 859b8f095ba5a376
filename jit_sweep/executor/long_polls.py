"""Calls that wait until something has changed, and are answered after a while where nothing has."""

import asyncio
from collections.abc import Callable

LONG_POLL_S = 20.0


class LongPolls:
    """Those that wait on one actor, in its event loop."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()

    async def tell(self) -> None:
        """Something has changed: whoever waits looks at its condition."""
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, at most one long poll."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(condition), LONG_POLL_S)
            except TimeoutError:
                return
