"""The pages: their links lead somewhere, their sweep file can be planned, and the first one fits a screen or three."""

import importlib
import re
from pathlib import Path

import pytest

from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from tests.support.documents import DOCS, PAGES
from tests.support.paths import TOP

README = TOP / "README.md"


def linked(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    local = [link.partition("#")[0] for link in linked(page) if not link.startswith("https://")]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {(README.parent / link).resolve() for link in linked(README)}
    assert [page.name for page in DOCS.glob("*.md") if page.resolve() not in reached] == []


def test_the_readme_has_at_most_150_lines_and_a_picture() -> None:
    assert len(README.read_text().splitlines()) <= 150
    assert [link for link in linked(README) if link.endswith(".png")]
    assert all(file.stat().st_size < 300_000 for file in DOCS.glob("*.png"))


def test_the_sweep_file_on_its_page_can_be_planned(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "sweep-file.md").read_text(), re.DOTALL)
    (whole,) = [block for block in blocks if block.startswith("name:")]
    file = tmp_path / "mine.yaml"
    file.write_text(whole)
    assert len(plan(read_spec(str(file)), source="docs/sweep-file.md").entries) == 2 * 6 + 2 * 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_python_name_that_a_page_imports_exists(page: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    imports = [match for block in blocks for match in re.findall(r"^from (jit_sweep\S*) import (\w+)$", block, re.MULTILINE)]
    assert [f"{module}.{name}" for module, name in imports if not hasattr(importlib.import_module(module), name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    folders = "trainables|search_spaces|jit_sweep|tests|docs|deploy|constraints"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", page.read_text()))
    assert [name for name in sorted(named) if not (TOP / name).exists()] == []
