"""The search for a setting of sampling: coarse to fine, and the same again from what was tried alone."""

from collections.abc import Callable
from typing import Any

from jit_sweep.search.settings import Setting, Tried, next_setting

LISTED: dict[str, tuple[Any, ...]] = {"guidance": (1.0, 2.0, 3.0, 4.0), "steps": (10, 20)}


def searched(
    loss: Callable[[Setting], float | None], *, trials: int, tried: list[Tried] | None = None, **listed: Any
) -> list[Tried]:
    found = tried or []
    while (setting := next_setting(listed or LISTED, found, trials=trials)) is not None:
        found.append(Tried(setting, loss(setting)))
    return found


def bowl(setting: Setting) -> float:
    """Best at guidance 2.4 and 20 steps."""
    return float((setting["guidance"] - 2.4) ** 2 + (setting["steps"] == 10))


def test_the_evaluation_s_own_setting_is_tried_first_and_every_listed_one_where_there_is_room() -> None:
    found = searched(bowl, trials=15)
    assert found[0].setting == {"guidance": 1.0, "steps": 10}
    assert len({tuple(each.setting.values()) for each in found[:8]}) == 8
    assert all(each.setting["guidance"] in LISTED["guidance"] for each in found[:8])


def test_between_the_best_and_its_neighbours_a_better_one_is_found() -> None:
    found = searched(bowl, trials=24)
    fine = [each for each in found if each.setting["guidance"] not in LISTED["guidance"]]
    assert len(found) == 24
    assert fine
    assert all(1.0 <= each.setting["guidance"] <= 3.0 and each.setting["steps"] == 20 for each in fine)
    assert min(each.loss or 9.0 for each in fine) < min(each.loss or 9.0 for each in found[:8])


def test_a_search_that_was_cut_short_goes_on_as_it_would_have() -> None:
    whole = searched(bowl, trials=14)
    assert searched(bowl, trials=14, tried=whole[:9]) == whole


def test_no_setting_is_tried_twice_and_a_large_space_is_sampled() -> None:
    wide: dict[str, Any] = {"guidance": tuple(range(1, 9)), "steps": tuple(range(10, 18)), "weights": ("ema", "raw")}
    found = searched(lambda setting: abs(setting["guidance"] - 5) + abs(setting["steps"] - 14), trials=20, **wide)
    assert len({tuple(each.setting.values()) for each in found}) == 20


def test_settings_without_a_score_are_passed_over() -> None:
    found = searched(lambda setting: None if setting["guidance"] >= 3 else bowl(setting), trials=14)
    fine = [each.setting["guidance"] for each in found if each.setting["guidance"] not in LISTED["guidance"]]
    assert fine
    assert max(fine) <= 3.0
    assert searched(lambda _: None, trials=20)[-1].loss is None


def test_what_lies_between_is_asked_of_numbers_alone() -> None:
    assert len(searched(lambda _: 1.0, trials=20, steps=(10, 20), weights=("ema", "raw"))) == 4
