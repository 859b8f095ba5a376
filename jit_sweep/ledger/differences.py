"""What differs between two descriptions of a sweep."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

ABSENT = "(absent)"


class Change(NamedTuple):
    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} -> {self.new}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The differing leaves, by dotted path. A key that is not there and one that is null say the same."""
    return list(_changes(old, new, path=""))


def _changes(old: Any, new: Any, *, path: str) -> Iterator[Change]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _changes(old.get(key, ABSENT), new.get(key, ABSENT), path=f"{path}.{key}" if path else str(key))
    elif old != new and {_shown(old), _shown(new)} != {ABSENT, "null"}:
        yield Change(path=path, old=_shown(old), new=_shown(new))


def _shown(value: Any) -> str:
    return ABSENT if value is ABSENT else json.dumps(value)
