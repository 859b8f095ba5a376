"""What a report says, read from the ledger: one record, from which page, Markdown and JSON are made."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.budget.costs import Costs, read_costs
from jit_sweep.budget.spending import HOUR_S, Key, Spending, key_of
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import UNFINISHED, AttemptRow, EntryRow, PictureRow, SweepRow
from jit_sweep.report.answer import Summary, summary
from jit_sweep.report.cards import Card, cards
from jit_sweep.report.curves import Curve, curves, metrics_on_the_way, values_of
from jit_sweep.report.losses import Loss, losses
from jit_sweep.report.rerun import Provenance, provenance
from jit_sweep.report.sampling_surfaces import Surface, sampling_surfaces
from jit_sweep.report.search_stages import SearchedStage, searched_stages
from jit_sweep.report.time_to_quality import TimeToQuality, goal_of, times_to_quality
from jit_sweep.results.arms import Arm
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.pareto import front_in
from jit_sweep.results.time_left import time_left
from jit_sweep.results.tuned_sampling import TunedArm, tuned_arms
from jit_sweep.spec.stored import readable
from trainables.evaluation.metrics.registry import measured_on_the_way


@dataclass(frozen=True)
class Report:
    """A sweep as it stands."""

    sweep: SweepRow
    results: Results
    front: frozenset[str]
    """Keys of the searched trials on a Pareto front."""
    entries: tuple[EntryRow, ...]
    answer: Summary
    cards: tuple[Card, ...]
    curves: tuple[Curve, ...]
    """Of every metric that rungs measured, those of one metric together."""
    quality: tuple[TimeToQuality, ...]
    quality_metric: str
    searches: tuple[SearchedStage, ...]
    pictures: tuple[PictureRow, ...]
    """That trials drew at their rungs."""
    losses: tuple[Loss, ...]
    costs: Costs
    provenance: Provenance
    written_at: float
    seconds_left: float | None
    """To the end of a sweep that is run; None where nothing is run, or no trial has shown its speed."""
    surfaces: tuple[Surface, ...] = ()
    """Of the arms whose guidance was tuned."""
    tuned: tuple[TunedArm, ...] = ()
    """The arms whose sampling was tuned, the best first."""

    @property
    def standing(self) -> str:
        """How the sweep stands, in a word."""
        return str(self.sweep.standing)


def read_report(reader: LedgerReader, name: str, *, goal: float | None = None) -> Report:
    """The report of a sweep as it stands.

    `goal`: the value of the rung metric that time to quality is told for; else what half of the sound arms reach.
    UserError: the ledger has no such sweep.
    """
    sweep, results, entries = reader.sweep(name), read_results(reader, name), reader.entries(name)
    attempts, rungs = reader.attempts(name), reader.rung_values(name)
    arms = sorted(results.arms, key=lambda arm: arm.position)
    asked = cards(results.findings, hours=_hours(attempts))
    lost, costs = losses(entries, attempts), read_costs(reader, name)
    front, unfinished = _front(reader, results), sum(row.state in UNFINISHED for row in entries)
    return Report(
        sweep=sweep,
        results=results,
        front=front,
        entries=tuple(entries),
        answer=summary(asked, results, open_trials=unfinished, question=sweep.spec.get("question")),
        cards=tuple(asked),
        curves=tuple(
            curve for metric in metrics_on_the_way(rungs) for curve in curves(arms, values_of(rungs, metric), metric=metric)
        ),
        quality=time_to_quality(reader, [name], arms, goal=goal),
        quality_metric=measured_on_the_way(row.name for row in rungs),
        searches=tuple(searched_stages(sweep, results, front)),
        pictures=tuple(reader.rung_pictures(name)),
        losses=tuple(lost),
        costs=costs,
        provenance=provenance(sweep, results, entries, costs, lost, ended=reader.end_reason(name)),
        written_at=reader.now(),
        seconds_left=time_left(entries, later=0, now=reader.now()) if sweep.is_run else None,
        surfaces=tuple(sampling_surfaces(reader, name, arms)),
        tuned=tuple(tuned_arms(arms, reader.tuned(name))),
    )


def _front(reader: LedgerReader, results: Results) -> frozenset[str]:
    """The Pareto front; none of a sweep whose file this version does not read."""
    return front_in(reader, results) if readable(reader.sweep(results.sweep).spec) is not None else frozenset()


def time_to_quality(
    reader: LedgerReader, names: Sequence[str], arms: Sequence[Arm], *, goal: float | None
) -> tuple[TimeToQuality, ...]:
    """What each arm of some sweeps took to reach a goal; None: what half of the sound arms reach."""
    rungs = [row for name in names for row in reader.rung_values(name)]
    metric = measured_on_the_way(row.name for row in rungs)
    values = values_of(rungs, metric)
    aim = goal if goal is not None else goal_of(arms, values, metric=metric)
    if aim is None:
        return ()
    image_s = {trial: seconds for name in names for trial, seconds in _seconds_per_image(reader, name).items()}
    return tuple(times_to_quality(arms, values, metric=metric, goal=aim, image_s=image_s))


def _seconds_per_image(reader: LedgerReader, name: str) -> Mapping[str, float]:
    """Seconds of training for an image, by trial, over all that its ended attempts trained."""
    attempts = reader.attempts_at_trials(name)
    before = Spending(name, attempts, {}, now=None).before
    train_s: dict[Key, float] = {(row.trial_id, row.attempt): row.seconds for row in reader.cost(name) if row.kind == "train"}
    images: defaultdict[str, int] = defaultdict(int)
    seconds: defaultdict[str, float] = defaultdict(float)
    for attempt in (attempt for attempt in attempts if key_of(attempt) in train_s):
        images[attempt.trial_id] += max(0, attempt.images - before[key_of(attempt)])
        seconds[attempt.trial_id] += train_s[key_of(attempt)]
    return {trial: seconds[trial] / images[trial] for trial in images if images[trial]}


def _hours(attempts: Sequence[AttemptRow]) -> Mapping[str, float]:
    """Hours that a trial's workers were held, by trial."""
    hours: defaultdict[str, float] = defaultdict(float)
    for attempt in attempts:
        if attempt.ended_at is not None:
            hours[attempt.trial_id] += (attempt.ended_at - attempt.started_at) / HOUR_S
    return hours
