"""A local Ray that does not come up is started once more, and its failure is told in a line."""

from collections.abc import Callable

import pytest

from jit_sweep.errors import UserError
from jit_sweep.executor.cluster import tried_twice

LATE = Exception("The current node timed out during startup.\nThis could happen because the GCS has become overloaded.")


def failing(times: int, done: list[str]) -> Callable[[], None]:
    def start() -> None:
        done.append("start")
        if done.count("start") <= times:
            raise LATE

    return start


def test_a_start_that_fails_once_is_cleared_and_tried_again_with_a_word() -> None:
    done: list[str] = []
    tried_twice(failing(1, done), clear=lambda: done.append("clear"), tell=done.append)
    assert done == ["start", "clear", "Ray did not come up (The current node timed out during startup); once more", "start"]


def test_a_start_that_succeeds_is_not_repeated() -> None:
    done: list[str] = []
    tried_twice(failing(0, done), clear=lambda: done.append("clear"), tell=done.append)
    assert done == ["start"]


def test_two_failures_are_a_mistake_with_its_remedy_and_not_a_traceback() -> None:
    done: list[str] = []
    with pytest.raises(
        UserError, match="Ray must come up on this machine, got twice: The current node timed out during startup; "
    ):
        tried_twice(failing(2, done), clear=lambda: done.append("clear"), tell=done.append)
    assert done.count("start") == 2
