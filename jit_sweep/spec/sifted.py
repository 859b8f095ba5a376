"""A sweep file taken apart: what is wrong with it, and the sweep that is left without that, so that all else can be told."""

import re
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from jit_sweep.spec.explained import RULE_AT_KEY, line_of, mistakes
from jit_sweep.spec.mending import mend
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.recipe import Recipe

MOST_ROUNDS = 8
"""What is mended may show what it hid; a file that is unsound after so many rounds is left at that."""


class Sifted(NamedTuple):
    """What a file comes to."""

    rest: SweepSpec | None
    """The sweep without its faults: names as they were meant, possible counts and defaults for the others. None where
    what is wrong cannot be left out."""
    source: str
    """The file, by which each line begins."""
    faults: tuple[str, ...] = ()
    """What is wrong with it by itself, in lines."""
    unsure: frozenset[str] = frozenset()
    """Keys whose values in `rest` are not the file's."""

    def knows(self, line: str, item: Any) -> bool:
        """Whether a fault of one of a ValidationError's `errors()` is the file's: a rule over several keys hangs on each that
        it names, any other on its own."""
        over_several = item["type"] in ("value_error", RULE_AT_KEY)
        return bool(self.trusted([line])) if over_several else self.unsure.isdisjoint(map(str, item["loc"]))

    def trusted(self, lines: Iterable[str]) -> list[str]:
        """Of what else is said of `rest`, that which is no matter of an unsure key."""
        return [line for line in lines if self.unsure.isdisjoint(re.findall(r"\w+", line.removeprefix(f"{self.source}: ")))]


def sifted(tree: dict[str, Any], *, source: str) -> Sifted:
    """The faults of a file's tree, those that hide behind others too."""
    found, rest = Sifted(None, source), deepcopy(tree)
    for _ in range(MOST_ROUNDS):
        spec, error, model, at = _checked(rest)
        if error is None:
            return found._replace(rest=spec)
        items = mistakes(error)
        lines = [line for item in items if found.knows(line := line_of(item, source=source, model=model, at=at), item)]
        mended = [mend(rest, item, model=model, at=at) for item in {item["loc"]: item for item in items}.values()]
        unsure = found.unsure.union(*(keys for keys in mended if keys is not None))
        found = Sifted(None, source, tuple(dict.fromkeys([*found.faults, *lines])), unsure)
        if None in mended:
            break
    return found


class _Checked(NamedTuple):
    spec: SweepSpec | None
    error: ValidationError | None = None
    model: type[BaseModel] = SweepSpec
    at: str = ""


def _checked(tree: dict[str, Any]) -> _Checked:
    """A tree as a sweep, or what it is refused for; overrides are looked at once they are sound sections."""
    try:
        spec = SweepSpec.model_validate(tree)
    except ValidationError as error:
        return _Checked(None, error)
    try:
        spec.baseline.recipe()
    except ValidationError as error:
        return _Checked(None, error, Recipe, "baseline")
    return _Checked(spec)
