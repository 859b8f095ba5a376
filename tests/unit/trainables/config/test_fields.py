"""What a configuration is hashed by."""

from typing import Annotated

from trainables.config.fields import JOINED_LATER, Frozen, identity


class Inner(Frozen):
    first: int = 1
    joined: Annotated[int, JOINED_LATER] = 5


class Outer(Frozen):
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    pair: tuple[float, float] = (0.1, 1.0)
    joined: Annotated[Inner, JOINED_LATER] = Inner()


def test_a_field_that_joined_later_counts_only_where_it_is_not_its_default() -> None:
    assert identity(Outer()) == {"inner": {"first": 1}, "several": [], "pair": [0.1, 1.0]}
    assert identity(Outer(joined=Inner(first=2)))["joined"] == {"first": 2}


def test_it_counts_within_other_configurations_and_lists_of_them() -> None:
    one = Outer(inner=Inner(joined=6), several=(Inner(), Inner(joined=7)))
    assert identity(one)["inner"] == {"first": 1, "joined": 6}
    assert identity(one)["several"] == [{"first": 1}, {"first": 1, "joined": 7}]


def test_other_fields_count_at_their_defaults_too() -> None:
    assert identity(Inner()) == identity(Inner(first=1)) != identity(Inner(first=2))
