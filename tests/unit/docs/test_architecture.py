"""ARCHITECTURE.md names every room, only files that exist, and each of our words once."""

import re
from pathlib import Path

from tests.support.documents import rows_of
from tests.support.paths import TOP

PAGE = TOP / "ARCHITECTURE.md"
PACKAGES = ("trainables", "search_spaces", "jit_sweep")
WORDS = ("cell", "arm", "entry", "attempt", "phase", "rung", "gate", "race", "lane", "ledger", "home", "champion")


def rooms() -> set[str]:
    """The folders of the three packages that hold anything of the program."""
    files = [file for package in PACKAGES for file in (TOP / package).rglob("*") if file.suffix in (".py", ".yaml")]
    return {f"{file.parent.relative_to(TOP)}/" for file in files}


def named_in_the_tree() -> list[str]:
    return [row[0].strip("`") for row in rows_of(PAGE, heading="## The tree")]


def test_the_tree_has_every_room_once() -> None:
    assert sorted(named_in_the_tree()) == sorted({*rooms(), "tests/"})


def test_every_path_on_the_page_exists() -> None:
    paths = re.findall(r"`((?:\w+/)+[\w.]*)`", PAGE.read_text())
    assert len(paths) > 50
    assert [path for path in paths if not (TOP / path).exists() and not (TOP / "tests" / path).exists()] == []


def test_each_of_our_words_is_defined_once() -> None:
    assert sorted(row[0] for row in rows_of(PAGE, heading="## Our own words")) == sorted(WORDS)
    assert all(row[1] for row in rows_of(PAGE, heading="## Our own words"))


def test_the_four_questions_of_a_newcomer_lead_to_the_file() -> None:
    answers = dict(rows_of(PAGE, heading="## Where do I look"))
    expected = {
        "KID": ("trainables/evaluation/metrics/kernel.py", "def kernel_distance"),
        "trial's id": ("trainables/config/trial.py", "def id("),
        "trial is stopped": ("jit_sweep/schedulers/decide.py", "Verdict"),
    }
    for words, (path, text) in expected.items():
        (place,) = (place for question, place in answers.items() if words in question)
        assert f"`{path}`" in place
        assert text in Path(TOP / path).read_text()
    (reader,) = (place for question, place in answers.items() if "parquet" in question)
    assert "`trainables/data/sources/registry.py`" in reader


def test_the_page_has_at_most_two_pages() -> None:
    assert len(PAGE.read_text().splitlines()) <= 140
