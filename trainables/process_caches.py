"""What a process keeps between trials because making it anew is slow. It changes no number: cleared, it is made again.

Every value that a module of this package keeps for the whole process lies in a `ProcessCache`.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ProcessCache(Generic[Key, Value]):
    """Values by key, at most `most` of them: the one that was used longest ago makes room. None is no limit."""

    def __init__(self, name: str, *, most: int | None = None) -> None:
        self.name = name
        self._most = most
        self._values: OrderedDict[Key, Value] = OrderedDict()
        _ALL.add(self)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def get(self, key: Key, *, make: Callable[[], Value]) -> Value:
        """The value of this key, made where it is not kept; room is made first, so that memory never holds one too many."""
        if key not in self._values:
            while self._most is not None and len(self._values) >= self._most:
                self._values.popitem(last=False)
            self._values[key] = make()
        self._values.move_to_end(key)
        return self._values[key]

    def clear(self) -> None:
        """Drop every value, and the memory it holds."""
        self._values.clear()


_ALL: WeakSet[ProcessCache[Any, Any]] = WeakSet()


def process_caches() -> dict[str, int]:
    """How many values each cache of this process keeps, by the cache's name."""
    return {cache.name: len(cache) for cache in sorted(_ALL, key=lambda cache: cache.name)}


def clear_process_caches() -> None:
    """Leave every cache of this process as a fresh process has it."""
    for cache in _ALL:
        cache.clear()
