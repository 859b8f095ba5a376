"""What an axis is: a name, the values it takes, where it sits in a recipe and when it exists; and how such slots are made."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from trainables.config.fields import Fraction, PositiveFloat, PositiveInt
from trainables.config.wording import rule_of

AxisValue = str | int | float | bool | None
Tree = dict[str, Any]


class Slot(NamedTuple):
    """Where an axis sits in a recipe's nested mapping: `put` writes its value there, `get` reads it back.

    KeyError: what stands there is no value of the axis.
    """

    put: Callable[[Tree, Any], None]
    get: Callable[[Tree], AxisValue]


@dataclass(frozen=True)
class Axis:
    """One thing a sweep may vary.

    `values` checks one value; `exists` says whether the axis has a meaning in a recipe's nested mapping (a condition on axes
    that come before it in `AXES`).
    """

    name: str
    about: str
    values: TypeAdapter[Any]
    slot: Slot
    exists: Callable[[Tree], bool] = lambda _: True
    condition: str = ""
    """What `exists` asks for, in words such as `t_sampling=logit_normal`; empty where the axis always exists."""

    def check(self, value: AxisValue) -> AxisValue:
        """The value, or ValueError with the rule."""
        try:
            checked: AxisValue = self.values.validate_python(value)
        except ValidationError as error:
            raise ValueError(f"`{self.name}` {rule_of(error.errors()[0])}") from None
        return checked


def at(*path: str) -> Slot:
    """A setting by its keys."""
    *above, last = path

    def put(tree: Tree, value: Any) -> None:
        below(tree, above)[last] = value

    def get(tree: Tree) -> AxisValue:
        value: AxisValue = below(tree, above)[last]
        return value

    return Slot(put, get)


def below(tree: Tree, keys: list[str]) -> Tree:
    """The mapping that lies below these keys."""
    for key in keys:
        tree = tree[key]
    return tree


def kind_of(*path: str) -> Slot:
    """A variant by its kind, whose other settings take their defaults where it was another one before."""

    def put(tree: Tree, kind: str) -> None:
        *above, last = path
        if below(tree, [*path])["kind"] != kind:
            below(tree, above)[last] = {"kind": kind}

    return Slot(put, at(*path, "kind").get)


def under(path: tuple[str, ...], kind: str) -> Callable[[Tree], bool]:
    """Whether a variant is of this kind."""
    return lambda tree: bool(below(tree, [*path])["kind"] == kind)


def of_variant(name: str, about: str, values: TypeAdapter[Any], path: tuple[str, ...], kind: str) -> "Axis":
    """A setting of one kind of a variant: the last of `path` is its name there."""
    *above, _ = path
    return Axis(name, about, values, at(*path), under(tuple(above), kind), f"{above[-1]}={kind}")


def within(info: FieldInfo) -> TypeAdapter[Any]:
    """What a field takes, with its bounds."""
    annotation: Any = Annotated[info.annotation, info]
    return TypeAdapter(annotation)


POSITIVE_INT: TypeAdapter[Any] = TypeAdapter(PositiveInt)
POSITIVE: TypeAdapter[Any] = TypeAdapter(PositiveFloat)
FRACTION: TypeAdapter[Any] = TypeAdapter(Fraction)
SWITCH: TypeAdapter[Any] = TypeAdapter(Annotated[bool, Field(strict=True)])
