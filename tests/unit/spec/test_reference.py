"""The reference of the sweep file names every key with a meaning."""

import pytest

from jit_sweep.spec.axis_spaces import Range
from jit_sweep.spec.budget import Budget
from jit_sweep.spec.json_schema import sweep_schema
from jit_sweep.spec.nuisance import Nuisance
from jit_sweep.spec.reference import Page, sweep_file_markdown
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import Grid, SearchSpec
from jit_sweep.spec.sweep import Baseline, SweepSpec
from trainables.config.fields import Frozen
from trainables.config.network import ModelConfig

PAGE = Page(sweep_schema())


def test_every_key_has_a_meaning_and_every_section_says_what_it_is() -> None:
    assert [f"{section.path}: {key}" for section, key, field in PAGE.fields() if not PAGE.meaning(field)] == []
    assert [section.path for section in PAGE.sections() if not section.schema.get("description")] == []


BESIDE_FIELDS = {"": {"full"}, "baseline.model": {"dropout"}}
"""Keys that stand for several fields at once."""


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("", SweepSpec),
        ("baseline", Baseline),
        ("baseline.model", ModelConfig),
        ("stages[].grid", Grid),
        ("stages[].grid.seeds", RacingSeeds),
        ("stages[].grid.nuisance", Nuisance),
        ("stages[].search", SearchSpec),
        ("stages[].search.axes.AXIS", Range),
        ("budget", Budget),
    ],
)
def test_the_page_has_every_key_of_a_model_where_the_file_has_it(path: str, model: type[Frozen]) -> None:
    keys = {key for section, key, _ in PAGE.fields() if section.path == path}
    assert keys == {field.alias or name for name, field in model.model_fields.items()} | BESIDE_FIELDS.get(path, set())


def test_a_row_says_type_default_and_meaning_in_the_file_s_own_words() -> None:
    lines = sweep_file_markdown().splitlines()
    assert "## `scheduler` with `kind: halving`" in lines
    assert "| `images_per_trial` | whole number above 0 or null | `null` | Their images; null: the budget's. |" in lines
    assert "| `steps` | whole number above 0 and at most 10000 | `50` | Steps of the sampler. |" in lines
    assert not [line for line in lines if "None" in line]
