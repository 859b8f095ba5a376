"""What a mistyped name probably meant."""

from trainables.config.spelling import did_you_mean, nearest_name


def test_the_most_alike_name_is_meant() -> None:
    assert nearest_name("stepz", ["seeds", "steps", "n"]) == "steps"


def test_nothing_is_meant_where_no_name_is_alike() -> None:
    assert nearest_name("guidance", ["steps", "n"]) is None
    assert did_you_mean("guidance", ["steps", "n"], otherwise="there are steps, n") == "there are steps, n"
