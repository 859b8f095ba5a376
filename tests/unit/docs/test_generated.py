"""What the pages say of keys, axes, metrics and presets is what the program has."""

import re
import shutil
from pathlib import Path

import pytest

from jit_sweep.spec.json_schema import sweep_schema
from jit_sweep.spec.reference import Page
from search_spaces.axes import AXES
from search_spaces.presets import PRESETS
from search_spaces.quantities import QUANTITIES
from tests.support import documents
from tests.support.documents import DOCS, GENERATED, SCHEMA, generated_part, write_generated
from trainables.evaluation.metrics.registry import METRICS


@pytest.mark.parametrize(("page", "name"), GENERATED, ids=lambda part: part.removesuffix(".md"))
def test_a_generated_part_is_what_the_program_writes(page: str, name: str) -> None:
    """`python -m tests.support.documents` writes them anew."""
    assert generated_part(page, name) == GENERATED[page, name]()


def test_one_command_writes_every_page_and_the_schema_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs, schema = shutil.copytree(DOCS, tmp_path / "docs"), tmp_path / "sweep.schema.json"
    for page in {page for page, _ in GENERATED}:
        (docs / page).write_text(re.sub(r"^\| .*\n", "", (docs / page).read_text(), flags=re.MULTILINE))
    monkeypatch.setattr(documents, "DOCS", docs)
    monkeypatch.setattr(documents, "SCHEMA", schema)
    write_generated()
    assert schema.read_text() == SCHEMA.read_text()
    assert all(generated_part(page, name) == write() for (page, name), write in GENERATED.items())


def test_every_axis_quantity_preset_and_metric_is_on_its_page() -> None:
    named = {"axes.md": (*AXES, *QUANTITIES, *PRESETS), "metrics.md": tuple(METRICS)}
    missing = [
        f"{page}: {name}" for page, names in named.items() for name in names if f"`{name}`" not in (DOCS / page).read_text()
    ]
    assert missing == []


def test_every_key_of_the_sweep_file_is_on_its_page() -> None:
    text = (DOCS / "sweep-file.md").read_text()
    keys = {key for _, key, _ in Page(sweep_schema()).fields()}
    assert {"name", "learning_rate", "s_train", "images_per_trial", "holdout"} <= keys
    assert [key for key in sorted(keys) if not re.search(rf"^\| `{key}` \|.*\S \|$", text, re.MULTILINE)] == []
