"""What a process keeps between trials: all of it is in one list, and none of it changes a number."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import trainables
from tests.unit.trainables.test_train import assert_same, assignment, run, trial, weights
from trainables.process_caches import ProcessCache, clear_process_caches, process_caches
from trainables.report import Report, Scored

SOURCES = sorted(Path(trainables.__file__).parent.rglob("*.py"))
CONTAINERS = {
    "dict",
    "list",
    "set",
    "defaultdict",
    "OrderedDict",
    "Counter",
    "deque",
    "WeakKeyDictionary",
    "WeakValueDictionary",
}
DECORATORS = {"cache", "lru_cache"}


def last_name(node: ast.expr) -> str:
    """`lru_cache` of `functools.lru_cache(maxsize=1)`."""
    target = node.func if isinstance(node, ast.Call) else node
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def is_empty_container(value: ast.expr | None) -> bool:
    """Something that a module starts empty, to be filled while the process runs."""
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    return isinstance(value, ast.Call) and not value.args and last_name(value) in CONTAINERS


def hidden_caches(source: str) -> Iterator[int]:
    """Lines of a module at which something else than a `ProcessCache` is kept for the whole process."""
    tree = ast.parse(source)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and is_empty_container(statement.value):
            yield statement.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield node.lineno
        if isinstance(node, ast.FunctionDef) and DECORATORS & {last_name(decorator) for decorator in node.decorator_list}:
            yield node.lineno
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Call) and last_name(node.func) in DECORATORS:
            yield node.lineno


@pytest.mark.parametrize(
    "source",
    [
        "kept = {}",
        "kept: dict[str, int] = {}",
        "kept = OrderedDict()",
        "kept = collections.defaultdict()",
        "@functools.cache\ndef f(): ...",
        "@lru_cache(maxsize=1)\ndef f(): ...",
        "f = lru_cache(maxsize=1)(g)",
        "def f():\n    global kept",
    ],
)
def test_a_cache_of_another_kind_is_seen(source: str) -> None:
    assert len(list(hidden_caches(source))) == 1


def test_every_value_that_a_module_keeps_for_the_process_lies_in_a_process_cache() -> None:
    assert len(SOURCES) > 50
    assert [f"{file}:{line}" for file in SOURCES for line in hidden_caches(file.read_text())] == []


def scores(reports: list[Report]) -> list[dict[str, float]]:
    return [report.values | report.raw_values for report in reports if isinstance(report, Scored)]


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "compiled"])
def test_a_trial_is_repeated_bit_for_bit_when_the_caches_are_full_and_when_they_are_cleared(
    tmp_path: Path, compiled: bool
) -> None:
    model = trial().model.model_copy(update={"depth": 1, "class_tokens_start": 0})  # which compiles sooner
    config = trial().model_copy(update={"compile": compiled, "model": model})
    clear_process_caches()
    works = [assignment(tmp_path / name, steps=3, of=config, scored=True) for name in ("cold", "full", "cleared")]
    cold = run(works[0])
    kept = process_caches()
    assert {name for name, count in kept.items() if count == 0} - ELSEWHERE == (set() if compiled else {"compiled steps"})
    full = run(works[1])
    clear_process_caches()
    assert set(process_caches().values()) == {0}
    torch._dynamo.reset()
    cleared = run(works[2])
    assert scores(cold) == scores(full) == scores(cleared) != []
    for work in works[1:]:
        assert_same(weights(works[0]), weights(work))


ELSEWHERE = {"training splits", "packaged records", "recording streams", "kernel warnings", "feature networks from files"} | {
    "npz sources",
    "idx sources",
    "tar archives",
    "lifts",
    "recorded evaluations",
    "evaluations in words",
    "teachers",
    "latents",
    "guiding classifiers",
    "chains of the head's diffusion",
}
"""What only a trial on a GPU keeps, on a packaged set, of lifted points, codes or masked tokens, one that is scored by a file's
features or has a teacher or a guide, a preparation, or a table of results."""


def test_the_value_used_longest_ago_makes_room_before_the_next_is_made() -> None:
    cache: ProcessCache[str, int] = ProcessCache("test", most=2)
    sizes = []

    def make() -> int:
        sizes.append(len(cache))
        return len(sizes)

    assert [cache.get(key, make=make) for key in ("a", "b", "a", "c", "a", "b")] == [1, 2, 1, 3, 1, 4]
    assert sizes == [0, 1, 1, 1]
