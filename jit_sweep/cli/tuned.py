"""How a network does at the shared setting and at its own best one, and what was tried."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.tables import Column, cell_column, say, table_of
from jit_sweep.ledger.event_records import Tuned, TunedView
from jit_sweep.results.arms import Arm
from jit_sweep.results.tuned_sampling import in_short, is_tuned, setting_in_words, tuned_arms
from trainables.evaluation.metrics.registry import metric_of

if TYPE_CHECKING:
    from jit_sweep.inference.tune import Search

MOST_SHOWN = 10


def print_found_json(name: str, found: "Search", pictures: Sequence[str]) -> None:
    """A row a setting that was tried, in order; the two confirmed views beside them."""
    rows = [{**choice.evaluation.model_dump(mode="json"), "value": choice.value} for choice in found.choices]
    record = found.record.model_dump(mode="json", exclude={"tuning", "images"})
    print_json("evaluate", rows, subject=name, images=found.record.images or None, tuned=record, pictures=list(pictures))


def print_found(name: str, found: "Search", pictures: Sequence[str]) -> None:
    """The best settings that were tried, and the two views."""
    record, screen = found.record, console()
    varied = record.varied
    scored = [choice for choice in found.choices if choice.value is not None]
    ranked = sorted(scored, key=lambda choice: metric_of(record.metric).loss(choice.value or 0.0))[:MOST_SHOWN]
    settings = [choice.evaluation.model_dump(mode="json") for choice in ranked]
    n = settings[0]["n"] if settings else 0
    say(screen, f"{name}: {record.tried} settings judged by {record.metric} on {n:,} images each, the best first")
    columns = [Column(key, [in_short(setting[key]) for setting in settings], right=True) for key in varied]
    columns.append(Column(record.metric, [f"{choice.value:.5g}" for choice in ranked], right=True))
    screen.print(table_of(columns, width=screen.width))
    fresh = record.best.evaluation
    say(screen, f"confirmed on {fresh['n']:,} images of fresh noise (seed {fresh['seed']}), which nothing was chosen by")
    views: Mapping[str, TunedView] = {"at the shared setting": record.shared, "at its own best": record.best}
    columns = [Column("", list(views)), Column(record.metric, [with_error(view) for view in views.values()], right=True)]
    columns.append(Column("setting", [setting_in_words(view, varied) for view in views.values()], wraps=True))
    screen.print(table_of(columns, width=screen.width))
    say(screen, f"drawing and scoring took {record.seconds:.0f} s in all", style="dim")
    for picture in pictures:
        screen.print(picture, soft_wrap=True)


def with_error(view: TunedView) -> str:
    """Such as `983 ± 12`."""
    return in_figures(view.value) + (f" ± {view.error:.2g}" if view.error is not None else "")


def in_figures(value: float | None) -> str:
    """A score as tables show it."""
    return "no numbers" if value is None else f"{value:.5g}"


def rows_of_tuned(arms: Sequence[Arm], tuned: Mapping[str, Tuned]) -> list[dict[str, Any]]:
    """A row a trial that has been tuned, by arm and seed, with both views."""
    return [
        {
            "arm": dict(arm.arm),
            "seed": trial.entry.seed,
            "trial": trial.entry.trial_id,
            **tuned[trial.entry.trial_id].model_dump(mode="json"),
        }
        for arm in arms
        for trial in arm.trials
        if is_tuned(trial, tuned)
    ]


def print_tuned(arms: Sequence[Arm], tuned: Mapping[str, Tuned], screen: Console) -> None:
    """The arms at the shared setting and each at its best, as confirmed, the best first; nothing where none was tuned."""
    found = tuned_arms(arms, tuned)
    if not found:
        return
    cells, common = cell_column([each.arm for each in found])
    columns = [
        cells,
        Column("seeds", [str(each.seeds) for each in found], 1, right=True),
        Column("at the shared setting", [in_figures(each.shared) for each in found], right=True),
        Column("each at its best", [in_figures(each.best) for each in found], right=True),
        Column("settings", [each.settings for each in found], 2, wraps=True),
    ]
    screen.print()
    say(screen, f"{found[0].metric} on noise that nothing was chosen by, mean over tuned seeds{common}")
    screen.print(table_of(columns, width=screen.width))
