"""When arms stop early: the schedulers against published examples, Optuna's own pruners, and the rules of a fair race."""

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import optuna
import pytest
from optuna.pruners import BasePruner, MedianPruner, PatientPruner
from pydantic import TypeAdapter

from jit_sweep.schedulers.audit import audited, is_drawn, is_of_the_sample
from jit_sweep.schedulers.decide import RULES, Decider
from jit_sweep.schedulers.hyperband import Bracket, brackets, dealt
from jit_sweep.schedulers.race import Race, Racer, Seed, Standing, Verdict, allowance, measured_noise
from jit_sweep.spec.schedulers import Early, NoScheduler, SchedulerSpec
from trainables.evaluation.metrics.registry import METRICS, Metric, NetworkAlone

RECORDED = 20_240_611
"""Every random race below starts from it."""
LADDERS: tuple[dict[str, Any], ...] = (
    {"kind": "halving", "mode": "asynchronous"},
    {"kind": "halving", "mode": "synchronous"},
    {"kind": "promotion"},
    {"kind": "hyperband", "mode": "asynchronous"},
    {"kind": "hyperband", "mode": "synchronous"},
)
KINDS = (*LADDERS, {"kind": "median", "startup_arms": 2}, {"kind": "patient"})
SYNCHRONOUS = ({"kind": "halving", "mode": "synchronous"}, {"kind": "hyperband", "mode": "synchronous"})


def scheduler_of(values: Mapping[str, Any], **changes: Any) -> Early | NoScheduler:
    """A scheduler as a sweep file names it; unless told otherwise, its metric is without noise and it audits nothing."""
    early: dict[str, Any] = {} if values["kind"] == "none" else {"first_rung": {"images": 1}, "s_train": 0.0, "audit": None}
    scheduler: Early | NoScheduler = TypeAdapter(SchedulerSpec).validate_python({**early, **values, **changes})
    return scheduler


def names(kinds: Sequence[Mapping[str, Any]]) -> list[str]:
    return ["-".join(str(value) for value in kind.values()) for kind in kinds]


@dataclass(frozen=True)
class Arm:
    """What an arm is going to show: a curve for each of its seeds, one value a gate."""

    curves: tuple[tuple[float, ...], ...]
    protected: bool = False
    lost_after: Mapping[int, int] = field(default_factory=dict)
    """By seed: how many gates it still reaches."""


@dataclass
class Trial:
    """One seed of an arm on its way."""

    arm: int
    seed: int
    values: dict[int, float] = field(default_factory=dict)
    standing: Standing = "coming"


@dataclass(frozen=True)
class Asked:
    """A verdict, and the race it was given in."""

    race: Race
    verdict: Verdict

    @property
    def racer(self) -> Racer:
        return next(racer for racer in self.race.racers if racer.name == self.verdict.racer)


@dataclass(frozen=True)
class Outcome:
    """What came of a simulated race."""

    race: Race
    arrivals: tuple[tuple[int, int], ...]
    """Arm and gate in the order of arrival; an arm's end counts as the gate after its last."""
    asked: tuple[Asked, ...]

    @property
    def verdicts(self) -> dict[tuple[str, int], bool]:
        return {(one.verdict.racer, one.verdict.gate): one.verdict.go_on for one in self.asked}

    @property
    def stopped(self) -> list[int]:
        return [racer.position for racer in self.race.racers if racer.stopped]

    @property
    def per_rung(self) -> list[int]:
        """How many arms reached each gate, and the end."""
        ends = sum(all(seed.standing == "ended" for seed in racer.seeds) for racer in self.race.racers)
        return [sum(bool(racer.values(gate)) for racer in self.race.racers) for gate in range(self.race.gate_count)] + [ends]


@dataclass
class Simulation:
    """A cluster of some width in memory. Started arms run to their next gate; at one they wait for the arm's verdict, which
    is asked for after every arrival. What goes on comes before what has not started."""

    scheduler: Early | NoScheduler
    arms: Sequence[Arm]
    gates: int
    width: int
    luck: random.Random | None
    ready: list[Trial]
    trials: list[Trial]
    running: list[Trial] = field(default_factory=list)
    verdicts: dict[int, dict[int, bool]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    arrivals: list[tuple[int, int]] = field(default_factory=list)

    def race(self) -> Race:
        return Race("", tuple(self._racer(index, arm) for index, arm in enumerate(self.arms)))

    def _racer(self, index: int, arm: Arm) -> Racer:
        seeds = tuple(Seed(one.seed, one.standing, dict(one.values)) for one in self.trials if one.arm == index)
        gates = tuple(1000 * 3**gate for gate in range(self.gates))
        return Racer(f"arm {index}", index, gates, arm.protected, seeds, dict(self.verdicts.get(index, {})))

    def run(self) -> Outcome:
        decider = Decider(self.scheduler)
        while self.ready or self.running:
            while self.ready and len(self.running) < self.width:
                self.running.append(self.ready.pop(0))
            self._arrive(self.running.pop(self.luck.randrange(len(self.running)) if self.luck else 0))
            race = self.race()
            due = decider.verdicts(race)
            for verdict in due:
                self.verdicts.setdefault(self._index(verdict), {})[verdict.gate] = verdict.go_on
            self.asked += [Asked(race, verdict) for verdict in due]
            self.ready = [trial for verdict in due if verdict.go_on for trial in self._resumed(verdict)] + self.ready
        return Outcome(self.race(), tuple(self.arrivals), tuple(self.asked))

    def _arrive(self, trial: Trial) -> None:
        arm, gate = self.arms[trial.arm], len(trial.values)
        self.arrivals.append((trial.arm, gate))
        if arm.lost_after.get(trial.seed) == gate:
            trial.standing = "lost"
        elif gate == self.gates:
            trial.standing = "ended"
        else:
            trial.values[gate] = arm.curves[trial.seed][gate]
            if isinstance(self.scheduler, NoScheduler):
                self.ready.insert(0, trial)

    def _resumed(self, verdict: Verdict) -> Iterator[Trial]:
        for trial in self.trials:
            if trial.arm == self._index(verdict) and trial.standing == "coming" and len(trial.values) == verdict.gate + 1:
                yield trial

    def _index(self, verdict: Verdict) -> int:
        return int(verdict.racer.removeprefix("arm "))


def simulate(
    scheduler: Early | NoScheduler,
    arms: Sequence[Arm],
    *,
    width: int = 1,
    order: Sequence[int] | None = None,
    luck: random.Random | None = None,
) -> Outcome:
    """order: in which the arms start; luck: who of those that run arrives next, else the one that has run longest."""
    gates = max(len(curve) for arm in arms for curve in arm.curves)
    starting = range(len(arms)) if order is None else order
    trials = [Trial(index, seed) for index in starting for seed in range(len(arms[index].curves))]
    return Simulation(scheduler, arms, gates, width, luck, ready=list(trials), trials=trials).run()


def one_seed(*values: float, protected: bool = False) -> Arm:
    return Arm((values,), protected)


def level(values: Sequence[float], *, gates: int) -> list[Arm]:
    """Arms of one seed that stay where they begin."""
    return [one_seed(*[value] * gates) for value in values]


def random_arms(luck: random.Random, *, gates: int, seeds: int = 3) -> list[Arm]:
    """Between one and twelve arms, some protected, some of whose seeds are lost on the way."""
    arms = []
    for _ in range(luck.randint(1, 12)):
        count = luck.randint(1, seeds)
        lost = {seed: luck.randint(0, gates) for seed in range(count) if luck.random() < 0.15}
        curves = tuple(tuple(luck.random() for _ in range(gates)) for _ in range(count))
        arms.append(Arm(curves, luck.random() < 0.2, lost))
    return arms


def random_races(kind: Mapping[str, Any], *, count: int = 30, **changes: Any) -> Iterator[Outcome]:
    luck = random.Random(RECORDED)
    for _ in range(count):
        arms = random_arms(luck, gates=luck.randint(1, 4))
        spread = luck.choice([None, 0.0, 0.03, 0.1])
        scheduler = scheduler_of(kind, **{"s_train": spread, **changes})
        yield simulate(scheduler, arms, width=luck.randint(1, 5), order=luck.sample(range(len(arms)), len(arms)), luck=luck)


def race_at_gate(values: Sequence[float | Sequence[float]], *, label: str = "", prefix: str = "arm") -> Race:
    """Arms that stand at their only gate, each with one value or with one a seed."""
    racers = []
    for index, shown in enumerate(values):
        each = [shown] if isinstance(shown, int | float) else shown
        seeds = tuple(Seed(seed, "coming", {0: value}) for seed, value in enumerate(each))
        racers.append(Racer(f"{prefix} {index}", index, (1000,), False, seeds))
    return Race(label, tuple(racers))


def went_on(verdicts: Sequence[Verdict]) -> list[str]:
    return sorted(verdict.racer for verdict in verdicts if verdict.go_on)


# Published examples


def test_the_brackets_are_those_of_hyperbands_table() -> None:
    """JMLR 18:185, table 1: R = 81, eta = 3."""
    assert brackets(4, reduction=3) == [(81, 0), (34, 1), (15, 2), (8, 3), (5, 4)]


@pytest.mark.slow
def test_each_bracket_keeps_as_many_as_hyperbands_table() -> None:
    """JMLR 18:185, table 1: R = 81, eta = 3; all brackets in one race, on a cluster of ten."""
    layout = brackets(4, reduction=3)
    luck = random.Random(RECORDED)
    hands = dealt(143, layout)
    arms = level([luck.random() for _ in hands], gates=4)
    outcome = simulate(scheduler_of({"kind": "hyperband"}), arms, width=10, luck=luck)
    rungs = {
        bracket: Outcome(outcome.race.among([r for r in outcome.race.racers if hands[r.position] == bracket]), (), ())
        for bracket in layout
    }
    assert [found.per_rung[bracket.first_gate :] for bracket, found in rungs.items()] == [
        [81, 27, 9, 3, 1],
        [34, 11, 3, 1],
        [15, 5, 1],
        [8, 2],
        [5],
    ]
    for found in rungs.values():
        best = min(found.race.racers, key=lambda racer: racer.value(0))
        assert not best.stopped


@pytest.mark.slow
def test_a_bracket_decides_nothing_before_its_own_first_gate() -> None:
    arms = level([index / 200 for index in range(143)], gates=4)
    outcome = simulate(scheduler_of({"kind": "hyperband"}), arms, width=4, luck=random.Random(RECORDED))
    hands = dealt(143, brackets(4, reduction=3))
    early = [one for one in outcome.asked if one.verdict.gate < hands[one.racer.position].first_gate]
    assert len(early) == 34 * 1 + 15 * 2 + 8 * 3 + 5 * 4
    assert all(one.verdict.go_on for one in early)


def test_arms_are_dealt_in_proportion_so_that_few_of_them_fill_several_brackets_too() -> None:
    layout = brackets(1, reduction=3)
    assert layout == [Bracket(3, 0), Bracket(2, 1)]
    assert [bracket.first_gate for bracket in dealt(10, layout)] == [0, 1, 0, 1, 0] * 2


def test_a_hundred_and_forty_three_arms_fill_the_brackets_of_the_table() -> None:
    layout = brackets(4, reduction=3)
    hands = dealt(143, layout)
    assert [hands.count(bracket) for bracket in layout] == [81, 34, 15, 8, 5]
    assert dealt(20, layout) == hands[:20]


def test_the_noise_of_an_asynchronous_bracket_is_that_of_its_whole_race() -> None:
    arms = [Arm(((1.0 + index,) * 2, (1.1 + index,) * 2)) for index in range(5)]
    hyperband = {"kind": "hyperband", "mode": "asynchronous", "s_train": None}
    later = [one.verdict for one in simulate(scheduler_of(hyperband), arms).asked if one.racer.position > 0]
    assert later
    assert not any("not known" in verdict.reason for verdict in later if verdict.gate == 0)


@pytest.mark.parametrize("width", [1, 3, 9])
def test_synchronous_halving_leaves_what_the_published_bracket_of_nine_does(width: int) -> None:
    """arXiv 1810.05934, figure 1, bracket s = 0: n = 9, r = 1, R = 9, eta = 3."""
    values = [0.4, 0.8, 0.6, 0.7, 0.9, 0.3, 0.5, 0.1, 0.2]
    outcome = simulate(scheduler_of({"kind": "halving", "mode": "synchronous"}), level(values, gates=2), width=width)
    assert outcome.per_rung == [9, 3, 1]
    assert [index for index in range(9) if index not in outcome.stopped] == [values.index(0.1)]


def test_promotion_leaves_the_same_of_nine_that_come_best_first() -> None:
    """arXiv 1810.05934, figure 1, bracket s = 0."""
    values = [index / 10 for index in range(1, 10)]
    outcome = simulate(scheduler_of({"kind": "promotion"}), level(values, gates=2))
    assert outcome.per_rung == [9, 3, 1]
    # A promotion as soon as a third is one more; the second gate's third is one only once three stand there.
    assert outcome.arrivals == (
        *[(0, 0), (1, 0), (2, 0), (0, 1)],
        *[(3, 0), (4, 0), (5, 0), (1, 1)],
        *[(6, 0), (7, 0), (8, 0), (2, 1), (0, 2)],
    )


def jobs_of_algorithm_2(curves: Sequence[Sequence[float]], *, reduction: int) -> list[tuple[int, int]]:
    """arXiv 1810.05934, algorithm 2, with one worker and so many configurations: the jobs, as configuration and rung."""
    top = len(curves[0])
    rungs: list[list[int]] = [[] for _ in range(top)]
    promoted: list[set[int]] = [set() for _ in range(top)]
    jobs: list[tuple[int, int]] = []
    fresh = iter(range(len(curves)))
    while True:
        job = None
        for k in reversed(range(top)):
            ranked = sorted(rungs[k], key=lambda arm: curves[arm][k])
            promotable = [arm for arm in ranked[: len(ranked) // reduction] if arm not in promoted[k]]
            if promotable:
                promoted[k].add(promotable[0])
                job = (promotable[0], k + 1)
                break
        if job is None:
            arm = next(fresh, None)
            if arm is None:
                return jobs
            job = (arm, 0)
        jobs.append(job)
        if job[1] < top:
            rungs[job[1]].append(job[0])


@pytest.mark.slow
@pytest.mark.parametrize("reduction", [2, 3, 4])
def test_on_one_worker_promotion_runs_the_jobs_of_algorithm_2(reduction: int) -> None:
    luck = random.Random(RECORDED)
    for _ in range(30):
        curves = [[luck.random() for _ in range(3)] for _ in range(luck.randint(1, 40))]
        outcome = simulate(scheduler_of({"kind": "promotion", "reduction": reduction}), [one_seed(*curve) for curve in curves])
        published = jobs_of_algorithm_2(curves, reduction=reduction)
        assert list(outcome.arrivals[: len(published)]) == published


# Successive halving


@pytest.mark.parametrize(
    ("arms", "reduction", "kept"), [(1, 3, 1), (2, 3, 1), (3, 3, 1), (8, 3, 2), (9, 3, 3), (9, 2, 4), (9, 4, 2)]
)
def test_synchronous_halving_keeps_the_whole_part_of_a_share_and_at_least_one(arms: int, reduction: int, kept: int) -> None:
    scheduler = scheduler_of({"kind": "halving", "mode": "synchronous", "reduction": reduction})
    outcome = simulate(scheduler, level([1.0 + index for index in range(arms)], gates=1))
    assert outcome.stopped == list(range(kept, arms))


@pytest.mark.slow
@pytest.mark.parametrize("kind", SYNCHRONOUS, ids=names(SYNCHRONOUS))
@pytest.mark.parametrize("spread", [0.0, 0.05, None])
def test_synchronous_verdicts_depend_on_neither_order_nor_width(kind: dict[str, Any], spread: float | None) -> None:
    luck = random.Random(RECORDED)
    seen_stop = False
    for _ in range(8):
        arms = random_arms(luck, gates=3)
        scheduler = scheduler_of(kind, s_train=spread)
        first = simulate(scheduler, arms)
        for _ in range(4):
            order = luck.sample(range(len(arms)), len(arms))
            again = simulate(scheduler, arms, width=luck.randint(1, 12), order=order, luck=luck)
            assert again.verdicts == first.verdicts
            assert {one.verdict for one in again.asked} == {one.verdict for one in first.asked}
        seen_stop = seen_stop or bool(first.stopped)
    assert seen_stop


def test_synchronous_halving_waits_for_what_a_search_may_still_propose() -> None:
    race = race_at_gate([0.1, 0.2, 0.3])
    decider = Decider(scheduler_of({"kind": "halving", "mode": "synchronous"}))
    assert decider.verdicts(replace(race, more_to_come=True)) == []
    assert went_on(decider.verdicts(race)) == ["arm 0"]


def test_asynchronous_halving_lets_the_first_arrival_go_on_and_a_later_one_only_among_the_best_share() -> None:
    values = [0.5, 0.6, 0.4, 0.45, 0.41, 0.39, 0.395, 0.1]
    outcome = simulate(scheduler_of({"kind": "halving"}), level(values, gates=1))
    # One of the first five goes on, the best so far; two of six and more.
    assert [one.verdict.go_on for one in outcome.asked] == [True, False, True, False, False, True, True, True]


def test_an_arm_that_asynchronous_halving_let_through_stays_a_mark_for_later_ones() -> None:
    luck = random.Random(RECORDED)
    for _ in range(40):
        values = [luck.random() for _ in range(luck.randint(1, 30))]
        outcome = simulate(scheduler_of({"kind": "halving"}), level(values, gates=1))
        for index, value in enumerate(values):
            place = sorted(values[: index + 1]).index(value) + 1
            assert outcome.verdicts[f"arm {index}", 0] == (place <= max(1, (index + 1) // 3))


# Pause and promotion


def test_on_one_worker_an_early_mediocre_arm_is_judged_against_later_ones() -> None:
    arms = level([0.5, 0.2, 0.1, 0.6, 0.7, 0.8], gates=1)
    assert 0 not in simulate(scheduler_of({"kind": "halving"}), arms).stopped
    promotion = simulate(scheduler_of({"kind": "promotion"}), arms)
    assert promotion.stopped == [0, 3, 4, 5]


def test_a_late_good_arm_is_promoted() -> None:
    outcome = simulate(scheduler_of({"kind": "promotion"}), level([0.5, 0.6, 0.7, 0.8, 0.9, 0.1], gates=2))
    assert outcome.verdicts["arm 5", 0]
    assert 5 not in outcome.stopped


def test_what_waits_for_promotion_is_judged_only_once_nothing_more_can_come() -> None:
    waiting = race_at_gate([0.3, 0.2])
    coming = Racer("late", 2, (1000,), False, (Seed(0, "coming", {}),))
    decider = Decider(scheduler_of({"kind": "promotion"}))
    assert decider.verdicts(Race("", (*waiting.racers, coming))) == []
    assert decider.verdicts(replace(waiting, more_to_come=True)) == []
    assert [verdict[:3] for verdict in decider.verdicts(waiting)] == [("arm 0", 0, False), ("arm 1", 0, True)]


def test_promotion_begins_at_the_highest_gate() -> None:
    def at(gate: int, index: int, value: float) -> Racer:
        values = dict.fromkeys(range(gate + 1), value)
        return Racer(f"arm {index}", index, (10, 30), False, (Seed(0, "coming", values),), dict.fromkeys(range(gate), True))

    later = Racer("late", 6, (10, 30), False, (Seed(0, "coming", {}),))
    racers = (*[at(1, index, 0.1 + 0.1 * index) for index in range(3)], *[at(0, index, 0.01 * index) for index in (3, 4, 5)])
    due = Decider(scheduler_of({"kind": "promotion"})).verdicts(Race("", (*racers, later)))
    assert [(verdict.racer, verdict.gate) for verdict in due] == [("arm 0", 1), ("arm 3", 0), ("arm 4", 0)]


# Fairness


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_every_race_ends_fairly(kind: dict[str, Any]) -> None:
    stops = 0
    for outcome in random_races(kind):
        assert all(not racer.racing for racer in outcome.race.racers), "an arm waits for ever"
        assert all(not racer.protected for racer in outcome.race.racers if racer.stopped)
        assert len(outcome.verdicts) == len(outcome.asked), "a verdict was given twice"
        for one in outcome.asked:
            coming = [seed for seed in one.racer.seeds if seed.standing == "coming"]
            assert all(one.verdict.gate in seed.values for seed in coming), "a verdict before all seeds were there"
            assert str(one.racer.gates[one.verdict.gate]) in one.verdict.reason or "bracket" in one.verdict.reason
        stops += len(outcome.stopped)
    assert stops > 20


def test_without_a_scheduler_no_verdict_is_ever_due() -> None:
    outcome = simulate(scheduler_of({"kind": "none"}), level([1.0, 2.0, 3.0], gates=3))
    assert outcome.asked == ()
    assert outcome.per_rung == [3, 3, 3, 3]


@pytest.mark.parametrize("kind", LADDERS[:2], ids=names(LADDERS[:2]))
def test_a_planned_contrast_goes_on_from_the_last_place_and_says_why(kind: dict[str, Any]) -> None:
    arms = [*level([0.1, 0.2, 0.3, 0.4, 0.5], gates=1), one_seed(0.9, protected=True)]
    verdict = next(one.verdict for one in simulate(scheduler_of(kind), arms).asked if one.verdict.racer == "arm 5")
    assert verdict.go_on
    assert verdict.reason == "place 6 of 6 at 1000 images: part of a planned contrast, which is never stopped early"


def test_a_planned_contrast_does_not_wait_for_promotion() -> None:
    protected = Racer("contrast", 0, (1000,), True, (Seed(0, "coming", {0: 0.9}),))
    coming = Racer("late", 1, (1000,), False, (Seed(0, "coming", {}),))
    due = Decider(scheduler_of({"kind": "promotion"})).verdicts(Race("", (protected, coming)))
    assert [verdict[:3] for verdict in due] == [("contrast", 0, True)]


@pytest.mark.parametrize("kind", LADDERS[:3], ids=names(LADDERS[:3]))
def test_the_seeds_of_an_arm_share_one_verdict_on_their_mean(kind: dict[str, Any]) -> None:
    arms = [Arm(((0.1,), (0.9,))), Arm(((0.4,), (0.4,))), Arm(((0.45,), (0.45,)))]
    outcome = simulate(scheduler_of(kind), arms, order=[1, 0, 2])
    # Seed by seed, the first arm's better one would have been in front.
    assert (outcome.stopped, len(outcome.asked)) == ([0, 2], 3)


def seeds_of(*seeds: tuple[Standing, float | None]) -> tuple[Seed, ...]:
    return tuple(Seed(index, standing, {} if value is None else {0: value}) for index, (standing, value) in enumerate(seeds))


@pytest.mark.parametrize(
    ("other", "judged"),
    [
        (("coming", None), False),
        (("lost", None), True),
        (("ended", None), True),
        (("coming", 0.3), True),
        (("lost", 0.3), True),
    ],
)
@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_a_verdict_waits_for_the_seeds_that_can_still_come_and_for_no_others(
    kind: dict[str, Any], other: tuple[Standing, float | None], judged: bool
) -> None:
    race = Race("", (Racer("arm", 0, (1000,), False, seeds_of(("coming", 0.2), other)),))
    assert len(Decider(scheduler_of(kind)).verdicts(race)) == judged


@pytest.mark.parametrize("standing", ["lost", "ended"])
@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_an_arm_of_which_nothing_more_comes_gets_no_verdict(kind: dict[str, Any], standing: Standing) -> None:
    race = Race("", (Racer("arm", 0, (1000,), False, seeds_of((standing, 0.2), (standing, None))),))
    assert Decider(scheduler_of(kind)).verdicts(race) == []


@pytest.mark.parametrize("kind", SYNCHRONOUS, ids=names(SYNCHRONOUS))
def test_arms_that_are_lost_or_stopped_hold_up_no_gate(kind: dict[str, Any]) -> None:
    lost = Racer("lost", 0, (10, 30), False, seeds_of(("lost", None)))
    stopped = Racer("stopped", 1, (10, 30), False, seeds_of(("coming", 0.9)), {0: False})
    here = Racer("here", 2, (10, 30), False, (Seed(0, "coming", {0: 0.1, 1: 0.1}),), {0: True})
    assert [verdict[:3] for verdict in Decider(scheduler_of(kind)).verdicts(Race("", (lost, stopped, here)))] == [
        ("here", 1, True)
    ]


@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_a_recorded_verdict_is_not_given_again(kind: dict[str, Any]) -> None:
    given = 0
    for outcome in random_races(kind, count=20):
        last = outcome.asked[-1].race if outcome.asked else outcome.race
        due = [one.verdict for one in outcome.asked if one.race is last]
        assert Decider(scheduler_of(kind)).verdicts(outcome.race) == []
        given += len(due)
    assert given > 0


@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_an_arm_that_has_passed_several_gates_before_is_judged_from_the_lowest(kind: dict[str, Any]) -> None:
    """Another sweep may have trained it further: each gate is judged, and none beyond one that stopped it."""
    luck = random.Random(RECORDED)
    for _ in range(60):
        racers = []
        for index in range(luck.randint(2, 9)):
            gates = (10, 30, 90)[: luck.randint(1, 3)]
            values = {gate: luck.random() for gate in range(luck.randint(0, len(gates)))}
            racers.append(Racer(f"arm {index}", index, gates, False, (Seed(0, "coming", values),)))
        found: dict[str, list[tuple[int, bool]]] = {}
        for verdict in Decider(scheduler_of(kind)).verdicts(Race("", tuple(racers))):
            found.setdefault(verdict.racer, []).append((verdict.gate, verdict.go_on))
        for verdicts in found.values():
            assert [gate for gate, _ in verdicts] == list(range(len(verdicts)))
            assert all(go_on for _, go_on in verdicts[:-1])


@pytest.mark.parametrize("kind", SYNCHRONOUS, ids=names(SYNCHRONOUS))
def test_an_arm_that_another_sweep_took_past_a_gate_without_measuring_there_is_not_awaited(kind: dict[str, Any]) -> None:
    ahead = Racer("ahead", 0, (10, 30), False, (Seed(0, "coming", {1: 0.2}),))
    here = Racer("here", 1, (10, 30), False, (Seed(0, "coming", {0: 0.1}),))
    due = Decider(scheduler_of(kind)).verdicts(Race("", (ahead, here)))
    assert ("here", 0, True) in [verdict[:3] for verdict in due]


# Noise


@pytest.mark.parametrize("kind", LADDERS[:3], ids=names(LADDERS[:3]))
def test_a_gap_below_what_luck_explains_stops_nothing_and_that_gap_itself_stops(kind: dict[str, Any]) -> None:
    explained = 2 * math.sqrt(2 * (0.3**2 + 0.4**2))
    assert allowance(s_train=0.3, s_eval=0.4) == pytest.approx(explained, rel=1e-15)
    decider = Decider(scheduler_of(kind, s_train=0.3, s_eval=0.4))
    for gap, go_on in [(math.nextafter(explained, 0), True), (explained, False)]:
        due = {verdict.racer: verdict for verdict in decider.verdicts(race_at_gate([0.0, gap]))}
        assert due["arm 1"].go_on is go_on
        assert f"{explained:.4g}" in due["arm 1"].reason


def test_the_gap_is_that_to_the_last_arm_that_goes_on() -> None:
    decider = Decider(scheduler_of({"kind": "halving", "mode": "synchronous"}, s_train=0.05))
    explained = 2 * math.sqrt(2) * 0.05
    race = race_at_gate([0.0, 0.3, 0.3 + 0.9 * explained, 0.3 + 1.1 * explained, 0.8, 0.9])
    assert went_on(decider.verdicts(race)) == ["arm 0", "arm 1", "arm 2"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_where_noise_is_neither_declared_nor_measured_nothing_is_stopped_and_the_reason_says_so(kind: dict[str, Any]) -> None:
    luck = random.Random(RECORDED)
    said = 0
    for _ in range(20):
        arms = [one_seed(*[luck.random() for _ in range(4)]) for _ in range(10)]
        outcome = simulate(scheduler_of(kind, s_train=None, s_eval=0.0), arms, width=3, luck=luck)
        assert outcome.stopped == []
        said += sum("spread over seeds is not known" in one.verdict.reason for one in outcome.asked)
    assert said > 0


def test_noise_over_seeds_is_the_median_over_the_arms_which_an_unstable_one_does_not_move() -> None:
    race = race_at_gate([[1.0, 2.0, 3.0], [4.0, 4.5], [9.0], [0.0, 100.0]])
    assert measured_noise(race, 0) == pytest.approx(1.0, rel=1e-15)


def test_more_seeds_leave_less_to_luck_and_luck_is_a_knob() -> None:
    explained = 2 * math.sqrt(2) * 0.1
    pairs = [[0.0, 0.0, 0.0, 0.0], [0.75 * explained] * 4]
    assert went_on(Decider(scheduler_of(LADDERS[0], s_train=0.1)).verdicts(race_at_gate(pairs))) == ["arm 0"]
    assert went_on(Decider(scheduler_of(LADDERS[0], s_train=0.1, luck=4.0)).verdicts(race_at_gate(pairs))) == ["arm 0", "arm 1"]


def test_two_values_are_no_measurement_of_noise() -> None:
    assert measured_noise(race_at_gate([[1.0, 2.0], 5.0]), 0) is None
    assert measured_noise(race_at_gate([[1.0, 2.0], [5.0, 6.0]]), 0) == pytest.approx(math.sqrt(0.5))
    assert measured_noise(race_at_gate([[1.0, 2.0], [5.0, 6.0]]), 1) is None


@pytest.mark.parametrize("kind", LADDERS[:3], ids=names(LADDERS[:3]))
def test_measured_noise_decides_what_is_stopped(kind: dict[str, Any]) -> None:
    """Three arms of seeds -s, 0, s around their means: the standard deviation is s."""
    decider = Decider(scheduler_of(kind, s_train=None))
    explained = 2 * math.sqrt(2) * 0.01 / math.sqrt(3)

    def around(centre: float) -> list[float]:
        return [centre - 0.01, centre, centre + 0.01]

    race = race_at_gate([around(0.0), around(0.99 * explained), around(1.01 * explained)])
    assert went_on(decider.verdicts(race)) == ["arm 0", "arm 1"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", LADDERS, ids=names(LADDERS))
def test_no_arm_is_stopped_within_luck_of_the_best(kind: dict[str, Any]) -> None:
    stops = 0
    for outcome in random_races(kind, s_train=0.1, s_eval=0.05):
        explained = 2 * math.sqrt(2 * (0.1**2 + 0.05**2))
        for one in (one for one in outcome.asked if not one.verdict.go_on):
            gate, stops = one.verdict.gate, stops + 1
            best = min(racer.value(gate) for racer in one.race.racers if racer.values(gate))
            assert one.racer.value(gate) - best >= explained / math.sqrt(len(one.racer.values(gate)))
    assert stops > 5


# What is compared with what


@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_a_referee_brings_nothing_from_one_race_into_another(kind: dict[str, Any]) -> None:
    """An arm of another patch size that is far better, or far worse, changes nothing."""
    decider = Decider(scheduler_of(kind))
    races = [outcome.asked[-1].race for outcome in random_races(kind, count=12, s_train=0.0) if outcome.asked]
    compared = 0
    for one in races:
        mine = replace(one, label="patch_size=4")
        alone = decider.verdicts(mine)
        for scale in (0.01, 100.0):
            theirs = race_at_gate([scale * value for value in (1.0, 2.0, 3.0, 4.0)], label="patch_size=16", prefix="other")
            decider.verdicts(theirs)
            assert decider.verdicts(mine) == alone
            compared += len(alone)
    assert compared > 0


def test_a_reason_names_the_race_the_place_the_images_and_the_gap() -> None:
    race = race_at_gate([0.25, 0.5, 0.75], label="patch_size=8")
    due = Decider(scheduler_of({"kind": "halving", "mode": "synchronous"}, s_train=0.01)).verdicts(race)
    reasons = {verdict.racer: verdict.reason for verdict in due}
    assert reasons["arm 0"] == "place 1 of 3 at 1000 images of patch_size=8, 1 go on"
    assert reasons["arm 2"] == (
        "place 3 of 3 at 1000 images of patch_size=8, 0.5 behind the last that goes on; luck explains 0.02828"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_a_metric_of_which_more_is_better_is_judged_as_its_mirror_image(
    kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No registered metric is maximised yet: one is registered for this test."""
    metric = Metric(
        "accuracy", "maximize", "share", "share of labels that are right", needs=NetworkAlone(), compute="never:computed"
    )
    monkeypatch.setitem(METRICS, metric.name, metric)
    luck = random.Random(RECORDED)
    stops = 0
    for _ in range(20):
        curves = [[luck.random() for _ in range(3)] for _ in range(10)]
        less = simulate(scheduler_of(kind, s_train=0.02), [one_seed(*curve) for curve in curves])
        mirrored = [one_seed(*[-value for value in curve]) for curve in curves]
        more = simulate(scheduler_of(kind, s_train=0.02, metric="accuracy"), mirrored)
        assert more.verdicts == less.verdicts
        stops += len(more.stopped)
    assert stops > 0


# Optuna's pruners


def verdicts_of_optuna(pruner: BasePruner, outcome: Outcome, arms: Sequence[Arm]) -> dict[tuple[str, int], bool]:
    """What a live study says when the same values arrive in the same order."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize", pruner=pruner)
    trials: dict[int, optuna.Trial] = {}
    verdicts = {}
    for arm, gate in outcome.arrivals:
        trial = trials.setdefault(arm, study.ask()) if arm not in trials else trials[arm]
        curve = arms[arm].curves[0]
        if gate == len(curve):
            study.tell(trial, curve[-1])
            continue
        trial.report(curve[gate], gate)
        verdicts[f"arm {arm}", gate] = not trial.should_prune()
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return verdicts


@pytest.mark.slow
@pytest.mark.parametrize("startup_arms", [0, 1, 5])
@pytest.mark.parametrize("width", [1, 4])
def test_median_agrees_with_optunas_pruner_on_a_live_study(startup_arms: int, width: int) -> None:
    luck = random.Random(RECORDED)
    stops = 0
    for _ in range(10):
        arms = [one_seed(*[luck.random() for _ in range(4)]) for _ in range(20)]
        outcome = simulate(scheduler_of({"kind": "median", "startup_arms": startup_arms}), arms, width=width, luck=luck)
        assert outcome.verdicts == verdicts_of_optuna(MedianPruner(n_startup_trials=startup_arms), outcome, arms)
        stops += len(outcome.stopped)
    assert stops > 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(("patience", "min_delta"), [(0, 0.0), (1, 0.0), (2, 0.0), (1, 0.2)])
def test_patient_agrees_with_optunas_pruner_on_a_live_study(patience: int, min_delta: float) -> None:
    luck = random.Random(RECORDED)
    scheduler = scheduler_of({"kind": "patient", "patience": patience, "min_delta": min_delta})
    stops = 0
    for _ in range(10):
        arms = [one_seed(*[luck.random() for _ in range(6)]) for _ in range(15)]
        outcome = simulate(scheduler, arms, width=3, luck=luck)
        assert outcome.verdicts == verdicts_of_optuna(PatientPruner(None, patience, min_delta), outcome, arms)
        stops += len(outcome.stopped)
    assert stops > 10


def ended_at(value: float, index: int) -> Racer:
    return Racer(f"ended {index}", index, (1000,), False, (Seed(0, "ended", {0: value}),))


def test_median_lets_a_gap_that_luck_explains_go_on() -> None:
    ended = [ended_at(0.1 * index, index) for index in range(5)]
    decider = Decider(scheduler_of({"kind": "median"}, s_train=0.05))
    explained = 2 * math.sqrt(2) * 0.05
    for gap, go_on in [(0.99 * explained, True), (1.01 * explained, False)]:
        late = Racer("late", 5, (1000,), False, (Seed(0, "coming", {0: 0.2 + gap}),))
        [verdict] = decider.verdicts(Race("", (*ended, late)))
        assert (verdict.go_on, f"{gap:.4g} behind the median of" in verdict.reason) == (go_on, True)


def test_median_says_when_too_few_arms_have_ended_to_stop_any() -> None:
    ended = [ended_at(0.1, index) for index in range(4)]
    late = Racer("late", 4, (1000,), False, (Seed(0, "coming", {0: 9.0}),))
    [verdict] = Decider(scheduler_of({"kind": "median", "startup_arms": 5})).verdicts(Race("", (*ended, late)))
    assert verdict.go_on
    assert "4 arms have ended" in verdict.reason
    assert "startup_arms=5" in verdict.reason


@pytest.mark.parametrize(("rise", "go_on"), [(0.99, True), (1.01, False)])
def test_patient_forgives_a_worsening_that_luck_explains_and_names_it(rise: float, go_on: bool) -> None:
    explained = 2 * math.sqrt(2) * 0.05
    values = {0: 0.5, 1: 0.5 + rise * explained, 2: 0.5 + rise * explained}
    racer = Racer("arm", 0, (10, 30, 90), False, (Seed(0, "coming", values),), {0: True, 1: True})
    [verdict] = Decider(scheduler_of({"kind": "patient", "patience": 1}, s_train=0.05)).verdicts(Race("", (racer,)))
    assert verdict.go_on is go_on
    assert re.search(rf"at 90 images.* {explained:.4g}$", verdict.reason)


@pytest.mark.parametrize("kind", [SYNCHRONOUS[0], {"kind": "median", "startup_arms": 1}, {"kind": "patient", "patience": 0}])
def test_an_arm_of_which_a_seed_has_its_score_already_goes_on_whole(kind: dict[str, Any]) -> None:
    """Its score came from another sweep: stopping the others would leave half an arm."""
    gates, worse = (1000, 2000), {0: 8.0, 1: 9.0}
    other = Racer("other", 0, gates, False, (Seed(0, "ended", {0: 1.0, 1: 1.0}),), {0: True, 1: True})
    here, gone = Seed(0, "coming", worse), Seed(1, "ended", worse)
    alone, half = (
        Decider(scheduler_of(kind)).verdicts(Race("", (other, Racer("late", 1, gates, False, seeds, {0: True}))))
        for seeds in ((here,), (here, gone))
    )
    assert [verdict.go_on for verdict in alone] == [False]
    assert [verdict.go_on for verdict in half] == [True]
    assert "all its seeds go on or none" in half[0].reason


def test_every_scheduler_that_a_sweep_file_can_name_has_a_rule() -> None:
    kinds, _ = get_args(SchedulerSpec)
    assert set(get_args(kinds)) == RULES.keys()


def test_a_registered_scheduler_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    class FirstOnly(Early):
        """Stops all but the first arm at its first gate."""

    def first_only(scheduler: FirstOnly, race: Race) -> list[Verdict]:
        return [Verdict(racer.name, 0, racer is race.racers[0], "") for racer in race.racers if racer.awaited == 0]

    monkeypatch.setitem(RULES, FirstOnly, first_only)
    scheduler = FirstOnly.model_validate({"first_rung": {"images": 8}})
    assert [verdict.go_on for verdict in Decider(scheduler).verdicts(race_at_gate([0.3, 0.2]))] == [True, False]


def test_one_in_nine_of_the_stopped_is_drawn_whatever_it_shows_and_goes_on_at_every_gate() -> None:
    stopped = [Verdict(f"arm-{number}", gate, False, "place 3 of 3") for number in range(9000) for gate in (0, 1)]
    drawn = [verdict for verdict in stopped if audited(verdict, one_in=9).go_on]
    assert len(drawn) / len(stopped) == pytest.approx(1 / 9, abs=0.01)
    assert {verdict.racer for verdict in drawn if verdict.gate == 0} == {
        verdict.racer for verdict in drawn if verdict.gate == 1
    }
    reasons = [audited(verdict, one_in=9).reason for verdict in drawn]
    assert all(is_of_the_sample(reason) and reason.startswith("place 3 of 3") for reason in reasons)
    assert all(audited(verdict, one_in=None) == verdict for verdict in stopped[:20])


@pytest.mark.parametrize("kind", KINDS, ids=names(KINDS))
def test_a_scheduler_s_sample_is_all_that_it_lets_go_on_besides(kind: Mapping[str, Any]) -> None:
    racers = tuple(
        Racer(
            f"arm-{place}", place, (1, 2, 3), False, (Seed(0, "coming", {0: float(place), 1: float(place), 2: float(place)}),)
        )
        for place in range(60)
    )
    ended = tuple(replace(racer, seeds=(replace(racer.seeds[0], standing="ended"),)) for racer in racers[:4])
    race = Race("", (*ended, *racers[4:]))
    plain, sampling = (Decider(scheduler_of(kind, audit=audit)).verdicts(race) for audit in (None, 9))
    stopped = {verdict.racer for verdict in plain if not verdict.go_on}
    kept = {verdict.racer for verdict in sampling if is_of_the_sample(verdict.reason)}
    assert kept <= {name for name in stopped if is_drawn(name, one_in=9)}
    assert {verdict.racer for verdict in sampling if not verdict.go_on} == {n for n in stopped if not is_drawn(n, one_in=9)}
