"""What every configuration is made of: checked numbers, the frozen base, and the hash that names its content."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import isfunction
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from trainables.process_caches import ProcessCache

MOST = 2**53
"""Whole numbers up to here are exact in JSON, in every database and in a float64."""
PositiveInt = Annotated[int, Field(gt=0, le=MOST, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, le=MOST, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
FiniteFloat = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Base of every configuration: immutable, unknown keys forbidden, only finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """The content by which its id goes: fields that were renamed or divided appear as they did when ids began."""
        return content


Rule = TypeVar("Rule", bound=Callable[[Any], None])
_RULE = "is_rule"


def must_hold(check: Rule) -> Rule:
    """A method of a `Ruled` that raises ValueError where its fields do not go together."""
    setattr(check, _RULE, True)
    return check


class Ruled(Frozen):
    """Base of a configuration with rules over several fields: those that it breaks are told at once, and none hides another."""

    rules: ClassVar[tuple[Callable[[Any], None], ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **given: Any) -> None:
        super().__pydantic_init_subclass__(**given)
        own = [each for base in reversed(cls.__mro__) for each in vars(base).values() if isfunction(each)]
        cls.rules = tuple(check for check in own if getattr(check, _RULE, False))

    @model_validator(mode="after")
    def every_rule_holds(self) -> Self:
        if broken := [error for check in self.rules if (error := self._refusal(check)) is not None]:
            raise ValidationError.from_exception_data(type(self).__name__, broken)
        return self

    def _refusal(self, check: Callable[[Any], None]) -> InitErrorDetails | None:
        try:
            check(self)
        except ValueError as error:
            return InitErrorDetails(type=PydanticCustomError("value_error", "{rule}", {"rule": str(error)}), input=self)
        return None


@dataclass(frozen=True)
class JoinedLater:
    """In the annotation of a field that joined after ids began: it counts in a hash where it is not what was done before.

    `was` holds that value alone; empty where it is the field's default.
    """

    was: tuple[Any, ...] = ()


JOINED_LATER = JoinedLater()
"""Of a field whose default is what every older configuration did."""


def identity(config: BaseModel) -> dict[str, Any]:
    """What a configuration is hashed by: its JSON, without the fields marked `JOINED_LATER` that hold their defaults."""
    return _identity(config, config.model_dump(mode="json"))


def _identity(config: BaseModel, content: dict[str, Any]) -> dict[str, Any]:
    """`content`: the JSON of the configuration; what it is hashed by takes its place."""
    for name, before in _before(type(config)).items():
        value = getattr(config, name)
        if value in before:
            del content[name]
        elif isinstance(value, BaseModel):
            content[name] = _identity(value, content[name])
        elif isinstance(value, tuple):
            content[name] = [
                _identity(v, c) if isinstance(v, BaseModel) else c for v, c in zip(value, content[name], strict=True)
            ]
    return config.as_hashed(content) if isinstance(config, Frozen) else content


_BEFORE: ProcessCache[type[BaseModel], dict[str, tuple[Any, ...]]] = ProcessCache("what hashes leave out")


def _before(config: type[BaseModel]) -> dict[str, tuple[Any, ...]]:
    """By field: the value that hashes leave out, alone; nothing of a field that always counts."""
    return _BEFORE.get(config, make=lambda: {name: _left_out(info) for name, info in config.model_fields.items()})


def _left_out(info: FieldInfo) -> tuple[Any, ...]:
    marks = [mark for mark in info.metadata if isinstance(mark, JoinedLater)]
    return (marks[0].was or (info.get_default(call_default_factory=True),)) if marks else ()


def done_before(config: type[BaseModel]) -> dict[str, Any]:
    """By field that joined after ids began: what every older configuration did."""
    return {name: value for name, before in _before(config).items() for value in before}


def without(content: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The content without some fields, where it has them."""
    return {name: value for name, value in content.items() if name not in names}


_HASHED = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
"""Made once: `json.dumps` makes one for each value."""


def content_hash(value: dict[str, Any]) -> str:
    """First 12 hex digits of SHA-256 over the sorted JSON of a value."""
    return hashlib.sha256(_HASHED(value).encode()).hexdigest()[:12]


def nearest(choices: list[int], value: int, *, most: int = 4) -> list[int]:
    """The few choices closest to a value by ratio, in rising order."""
    return sorted(sorted(choices, key=lambda choice: abs(math.log(choice / value)))[:most])


def choices(values: Sequence[object]) -> str:
    """A list in words: `4, 8 or 16`."""
    *head, last = map(str, values)
    return f"{', '.join(head)} or {last}" if head else last


def percent(share: float) -> str:
    """A share in words: `0.4 %`."""
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"


def counted(count: int, noun: str) -> str:
    """A count in words: `1 trial`, `2,000 trials`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def and_more(count: int, noun: str) -> str:
    """What stands behind the first of several: ` (and 2 more cells)`; nothing behind a single one."""
    return f" (and {count:,} more {noun}{'' if count == 1 else 's'})" if count else ""
