"""What the pages say of kinds that are listed: every scheduler and sampler that a sweep file may name."""

from typing import get_args

from jit_sweep.budget.costs import CostOutcome
from jit_sweep.spec.schedulers import SchedulerSpec
from jit_sweep.spec.stages import SAMPLERS
from tests.support.documents import DOCS, rows_of


def test_the_page_on_stopping_early_has_a_row_for_each_scheduler() -> None:
    kinds = {get_args(scheduler.model_fields["kind"].annotation)[0] for scheduler in get_args(get_args(SchedulerSpec)[0])}
    rows = rows_of(DOCS / "stopping-early.md", heading="# Stopping early")
    assert sorted(row[0].strip("`") for row in rows) == sorted(kinds)


def test_the_example_of_a_sweep_file_names_every_sampler() -> None:
    page = (DOCS / "sweep-file.md").read_text()
    (line,) = (line for line in page.splitlines() if line.strip().startswith("sampler: tpe"))
    assert [sampler for sampler in SAMPLERS if sampler not in line] == []


def test_the_page_on_commands_says_what_each_share_of_a_cost_is() -> None:
    page = (DOCS / "commands.md").read_text()
    (paragraph,) = (part for part in page.split("\n\n") if part.startswith("`status --cost` says"))
    assert [outcome.in_words for outcome in CostOutcome if f"`{outcome.in_words}`" not in paragraph] == []
