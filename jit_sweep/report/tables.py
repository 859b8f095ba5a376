"""The report's tables, once: the page, Markdown, CSV and LaTeX show the same cells."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from jit_sweep.budget.costs import Costs
from jit_sweep.ledger.records import HeldoutRow
from jit_sweep.report.cards import Card
from jit_sweep.report.figures.forest import bar_in_words
from jit_sweep.report.losses import Loss
from jit_sweep.report.numbers import compact, duration, rounded, with_error
from jit_sweep.report.sampling_surfaces import Surface
from jit_sweep.report.time_to_quality import SeedRange, TimeToQuality
from jit_sweep.results.arms import Arm, Spread, TrialResult, scored_of, scored_of_trials
from jit_sweep.results.tuned_sampling import TunedArm
from jit_sweep.results.tuning import TriedArm, TunedStage
from jit_sweep.results.words import short_label, state_in_words
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label
from trainables.evaluation.metrics.registry import ScoreKinds, table_metrics


@dataclass(frozen=True)
class TableCell:
    """What is shown, and the number that it is sorted by where it is one."""

    text: str
    value: float | None = None
    words: bool = False
    """Whether it is a sentence, and may be broken."""


EMPTY = TableCell("")


@dataclass(frozen=True)
class TableRow:
    """One row; its first cell names it."""

    cells: tuple[TableCell, ...]
    cell: Mapping[str, AxisValue] | None = None
    """An arm's axis values, by which it can be hidden."""
    label: str = ""
    mark: bool = False
    """Not a result but a measure for results: it stays last."""


@dataclass(frozen=True)
class Table:
    """A table with a name that files can have."""

    name: str
    caption: str
    headings: tuple[str, ...]
    rows: tuple[TableRow, ...]


def metrics_of_table(objective: str, scored: ScoreKinds) -> list[str]:
    """The objective first."""
    return list(dict.fromkeys((objective, *table_metrics(objective, scored))))


def arms_table(arms: Sequence[Arm], *, objective: str, heldout: HeldoutRow | None) -> Table:
    """Arms in the given order, then images that no model made: real held-out ones, white ones and the mean image."""
    metrics = metrics_of_table(objective, scored_of(arms))
    rows = [
        TableRow(
            cells=(
                TableCell(arm.label),
                _seeds(arm),
                *(_spread(arm.metrics.get(name)) for name in metrics),
                _count(arm.images),
                _flops(arm),
            ),
            cell=arm.arm,
            label=arm.label,
        )
        for arm in arms
    ]
    marks = {"held-out real images": heldout.values, **heldout.rows} if heldout is not None else {}
    for label, values in marks.items():
        scores = (_value(values.get(name)) for name in metrics)
        rows.append(TableRow((TableCell(label), EMPTY, *scores, EMPTY, EMPTY), mark=True))
    images = f", {heldout.n} images a score" if heldout is not None and heldout.n else ""
    caption = f"Mean ± standard deviation over seeds{images}; best first by {objective}."
    return Table("arms", caption, ("arm", "seeds", *metrics, "images", "training FLOPs"), tuple(rows))


def effects_table(cards: Sequence[Card]) -> Table:
    """A row for each question."""
    names = list(dict.fromkeys(name for card in cards for name, _ in card.facts))
    rows = [
        TableRow(
            (
                TableCell(card.question),
                TableCell(card.verdict),
                TableCell(bar_in_words(card.bar), card.bar.estimate) if card.bar else EMPTY,
                *(TableCell(dict(card.facts).get(name, "")) for name in names),
                TableCell(card.reason, words=True),
            )
        )
        for card in cards
    ]
    caption = "Effects are of the first less the second (in %: of the second), with their 95 % intervals over shared seeds."
    return Table("effects", caption, ("question", "verdict", "effect", *names, "why there is none"), tuple(rows))


def quality_table(rows: Sequence[TimeToQuality], *, metric: str) -> Table:
    """What each arm took to reach the goal."""
    goal = rounded(rows[0].goal) if rows else ""
    cells = [
        TableRow(
            (
                TableCell(row.label),
                TableCell(f"{row.reached} of {row.seeds}", row.reached / row.seeds),
                _range(row.images, compact),
                _range(row.flops, compact),
                _range(row.hours, lambda hours: duration(hours * 3600)) if row.hours else TableCell("not known"),
            )
        )
        for row in rows
    ]
    caption = (
        f"Until {metric} first is {goal} or better: the middle seed, and the first to the last one. "
        "Of a seed that never got there it would take more than it was trained for."
    )
    return Table("quality", caption, ("arm", "seeds there", "images", "training FLOPs", "training time"), tuple(cells))


def searched_table(trials: Sequence[TrialResult], front: frozenset[str], *, objective: str) -> Table:
    """Searched trials in the given order; those on the Pareto front say so."""
    metrics = metrics_of_table(objective, scored_of_trials(trials))
    rows = [
        TableRow(
            (
                TableCell(f"{trial.entry.trial_id}{' *' if trial.entry.key in front else ''}"),
                TableCell(short_label(trial.entry.arm), words=True),
                *(_trial_value(trial, name) for name in metrics),
            )
        )
        for trial in trials
    ]
    starred = " * stands on the Pareto front." if front else ""
    return Table("searched", f"Proposals, best first by {objective}.{starred}", ("trial", "values", *metrics), tuple(rows))


def tuning_table(stages: Sequence[TunedStage]) -> Table:
    """Each tuned arm at its best setting, and at the one that is best for all arms of its stage."""
    rows = [
        TableRow(
            (
                TableCell(view.arm, words=True),
                *(cell for tried in (view.best, view.shared) for cell in _tried_cells(tried)),
            )
        )
        for stage in stages
        for view in stage.views
    ]
    caption = " ".join(f"Stage {stage.stage}: {stage.caption}." for stage in stages)
    return Table(
        "tuning", caption, ("arm", "its best setting", "score there", "one setting for all", "score there"), tuple(rows)
    )


def _tried_cells(tried: TriedArm | None) -> tuple[TableCell, TableCell]:
    if tried is None:
        return EMPTY, EMPTY
    score = TableCell(rounded(tried.score), tried.score) if tried.score is not None else TableCell("no score")
    return TableCell(arm_label(tried.setting), words=True), score


def own_best_table(tuned: Sequence[TunedArm]) -> Table:
    """A row an arm: at the setting of sampling that all share, and each network at its own best."""
    rows = [
        TableRow(
            (
                TableCell(each.label),
                *(
                    TableCell("no numbers") if value is None else TableCell(rounded(value), value)
                    for value in (each.shared, each.best)
                ),
                TableCell(str(each.seeds), each.seeds),
                TableCell(each.settings, words=True),
            )
        )
        for each in tuned
    ]
    metric = tuned[0].metric if tuned else ""
    caption = (
        f"{metric} on noise that nothing was chosen by, mean over tuned seeds; no verdict rests on a setting of one's own."
    )
    return Table("own_best", caption, ("arm", "at the shared setting", "each at its best", "seeds", "settings"), tuple(rows))


def sampling_table(surfaces: Sequence[Surface]) -> Table:
    """A row for each guidance and interval of each arm; an arm's best one says so."""
    rows = [
        TableRow(
            (
                TableCell(surface.label),
                TableCell(f"{point.interval[0]:g} to {point.interval[1]:g}", point.interval[0]),
                TableCell(f"{point.guidance:g}", point.guidance),
                TableCell(rounded(point.value) + (" *" if point == surface.best else ""), point.value),
                TableCell(str(point.seeds), point.seeds),
            )
        )
        for surface in surfaces
        for point in surface.points
    ]
    metric = surfaces[0].metric if surfaces else ""
    caption = "Mean over tuned seeds, on the few images that settings are chosen by; * is the arm's best."
    return Table("sampling", caption, ("arm", "interval", "guidance", metric, "seeds"), tuple(rows))


def losses_table(rows: Sequence[Loss]) -> Table:
    """What went wrong, by cause."""
    cells = [
        TableRow(
            (
                TableCell(loss.cause),
                TableCell(str(loss.trials), loss.trials),
                TableCell(str(loss.attempts), loss.attempts),
                TableCell("" if loss.first_bad_step is None else f"{loss.first_bad_step:,}", loss.first_bad_step),
                TableCell("; ".join(loss.cells), words=True),
                TableCell(loss.detail.strip().splitlines()[-1] if loss.detail.strip() else "", words=True),
            )
        )
        for loss in rows
    ]
    headings = ("cause", "trials lost", "attempts made again", "first bad step", "arms", "what the first said")
    return Table(
        "losses", "Trials that ended without a score, and attempts that were made again, by cause.", headings, tuple(cells)
    )


def cost_table(costs: Costs) -> Table:
    """Where the time went."""
    total = costs.total
    rows = [
        TableRow(
            (
                TableCell(outcome.in_words),
                TableCell(str(cost.attempts), cost.attempts),
                TableCell(duration(cost.seconds), cost.seconds),
                TableCell(f"{cost.device_hours:.3g}", cost.device_hours),
                TableCell(f"{100 * cost.seconds / total.seconds:.0f} %" if total.seconds else "", cost.seconds),
            )
        )
        for outcome, cost in costs.by_outcome.items()
        if cost.seconds
    ]
    in_all = (TableCell(duration(total.seconds)), TableCell(f"{total.device_hours:.3g}"))
    last = (TableCell("in all"), EMPTY, *in_all, EMPTY)
    saved = costs.saved
    spared = f" Scores that were there before spared {saved.device_hours:.3g} {costs.unit}-hours." if saved.seconds else ""
    headings = ("spent on", "attempts", "time", f"{costs.unit}-hours", "share")
    return Table("cost", f"Where the time went.{spared}", headings, (*rows, TableRow(last, mark=True)))


def first_rows(table: Table, most: int) -> Table:
    """The table with its first so many rows and its marks."""
    kept = [row for row in table.rows if not row.mark][:most]
    return replace(table, rows=(*kept, *(row for row in table.rows if row.mark)))


def _seeds(arm: Arm) -> TableCell:
    whole = f"{arm.scored}" if arm.scored == len(arm.trials) else f"{arm.scored} of {len(arm.trials)}"
    return TableCell(f"{whole} ({', '.join(arm.remarks)})" if arm.remarks else whole, arm.scored)


def _spread(spread: Spread | None) -> TableCell:
    return TableCell("no score") if spread is None else TableCell(with_error(spread.mean, spread.sd), spread.mean)


def _value(value: float | None) -> TableCell:
    return EMPTY if value is None else TableCell(rounded(value), value)


def _trial_value(trial: TrialResult, metric: str) -> TableCell:
    value = trial.value(metric)
    if value is None:
        return TableCell(state_in_words(trial.entry.state))
    return TableCell(rounded(value) + (" (collapsed)" if trial.collapsed else ""), value)


def _count(images: int) -> TableCell:
    return TableCell(f"{images:,}", images)


def _flops(arm: Arm) -> TableCell:
    return TableCell(compact(arm.training_flops), arm.training_flops)


def _range(values: SeedRange, words: Callable[[float], str]) -> TableCell:
    shown = [words(each) if math.isfinite(each) else "never" for each in values]
    apart = "" if values.first == values.last else f" [{shown[1]}, {shown[2]}]"
    return TableCell(f"{shown[0]}{apart}", values.middle if math.isfinite(values.middle) else 1e300)
