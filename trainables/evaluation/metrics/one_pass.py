"""What a network answers, kept for as long as it stays as it is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from torch import nn

Answer = TypeVar("Answer")


class OnePass(Generic[Answer]):
    """Within `kept` each network is asked once for all metrics; outside it every time."""

    def __init__(self) -> None:
        self._answered: dict[nn.Module, Answer] | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it the networks stay as they are."""
        self._answered = {}
        try:
            yield
        finally:
            self._answered = None

    def of(self, network: nn.Module, ask: Callable[[], Answer]) -> Answer:
        """Its answer, asked for where it is not known."""
        if self._answered is None:
            return ask()
        if network not in self._answered:
            self._answered[network] = ask()
        return self._answered[network]
