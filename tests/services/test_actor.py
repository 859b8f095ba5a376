"""The sweep's actor without Ray: what it answers to lanes, also after it was killed, and while its database is away."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from jit_sweep.budget.costs import Cost, read_costs
from jit_sweep.executor.actor import AWAITED_S, SILENT_S, SweepActor
from jit_sweep.executor.assignment import TrialSettings
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.lease import TTL_S
from jit_sweep.ledger.records import TRAINED, AttemptRow, Cause, EntryState, Owner
from jit_sweep.ledger.stop_requests import ask_to_stop
from jit_sweep.plan.entry import Entry
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import BOB, IMAGES, HandClock, LedgerFixture, ended, planned, scored
from tests.support.postgres import postgres
from tests.support.sweep_files import tiny_sweep
from tests.test_layers import loaded_by
from trainables.data import DataError
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.lane.messages import (
    Answer,
    AttemptKey,
    FencedOff,
    GoHome,
    Letter,
    NotOver,
    NoWorkYet,
    Offer,
    TaskOutcome,
    WorkerAddress,
    WorkItem,
)
from trainables.lane.worker import BEAT_WAIT_S, LONGEST_SILENCE_S, MISTAKES, cause_of
from trainables.networks.memory import Infeasible
from trainables.report import Committed, Decision, Phase, Progress, Report, Rung

LANE = "lane-0"
WORKER = WorkerAddress(rank=0, host="node", pid=11, node="n0")
SOURCE = TrialSettings(
    data="emoji32",
    holdout=None,
    storage="store",
    rung_metric=RUNG_METRIC,
    checkpoint_interval_s=60.0,
    memory_bytes=None,
    micro_batch=None,
    activation_checkpointing=None,
)
PHASE = Phase(images=0, start="seed", device="cpu", workers=1, micro_batch=48, activation_checkpointing=False)


def entry(seed: int = 0) -> Entry:
    return planned(arm={"prediction": "x"}, seed=seed)


def key_of(seed: int) -> AttemptKey:
    """The first attempt at an entry's trial."""
    return AttemptKey(entry(seed).trial_id, 1)


class Office:
    """A ledger and an actor that works for it, which can be killed and made again."""

    def __init__(
        self,
        uri: str,
        *,
        silent_s: float = SILENT_S,
        awaited_s: float = AWAITED_S,
        at: str = "trial",
        lost_nodes: Collection[str] = (),
    ) -> None:
        self.uri, self.silent_s, self.awaited_s, self.at, self.lost_nodes = uri, silent_s, awaited_s, at, lost_nodes
        # The actor reads the real clock, and so must the lease.
        self.ledger = LedgerFixture(open_engine(uri), clock=_Real())
        self.ledger.plan(entry(0), entry(1))
        self.actor = self.hired()
        self.opened: dict[str, AttemptKey] = {}
        """By lane: the last attempt, as its owner knows."""

    def hired(self) -> SweepActor:
        lease = self.ledger.lease
        return SweepActor(
            self.uri,
            spec=SweepSpec.model_validate(tiny_sweep(name=self.ledger.name, evaluation={"n": 8, "at": self.at})),
            epoch=lease.epoch,
            owner=Owner(*lease.owner),
            settings=SOURCE,
            lost_nodes=lambda: self.lost_nodes,
            silent_s=self.silent_s,
            awaited_s=self.awaited_s,
        )

    async def offer(
        self, seed: int = 0, lane: str = LANE, *, after: AttemptKey | None = None
    ) -> AttemptKey | TaskOutcome | NotOver:
        return await self.actor.offer(lane, offer=Offer(entry(seed).trial_id, IMAGES, after=after))

    async def take(self, lane: str = LANE, *, after: AttemptKey | None = None) -> WorkItem | NoWorkYet | GoHome:
        return await self.actor.take(lane, address=WORKER, after=after)

    async def open(self, seed: int = 0, lane: str = LANE) -> AttemptKey:
        """Offer a trial that nothing keeps from being begun, and take it."""
        after = self.opened.get(lane)
        key, work = await asyncio.gather(self.offer(seed, lane, after=after), self.take(lane, after=after))
        assert isinstance(work, WorkItem)
        assert key == work.key
        self.opened[lane] = work.key
        return work.key

    async def tell(self, sequence: int, report: Report) -> Answer:
        return await self.actor.report(LANE, letter=Letter(key=key_of(0), sequence=sequence, report=report))

    async def outcome(self, key: AttemptKey, lane: str = LANE) -> TaskOutcome:
        """Of work that is over within one long poll."""
        outcome = await self.actor.outcome(lane, key=key)
        assert isinstance(outcome, TaskOutcome)
        return outcome

    def attempts(self) -> list[AttemptRow]:
        return self.ledger.reader.attempts(self.ledger.name)


class _Real(HandClock):
    """The clock on the wall, where a ledger has one that is set by hand."""

    def __call__(self, _connection: object = None) -> float:
        import time

        return time.time()


@pytest.fixture
def office(tmp_path: Path) -> Callable[..., Office]:
    return lambda **options: Office(f"sqlite:///{tmp_path}/ledger.db", **options)


def run(story: Callable[[Office], Coroutine[Any, Any, None]], office: Callable[..., Office], **options: Any) -> None:
    async def told() -> None:
        await story(office(**options))

    asyncio.run(told())


def test_a_trial_goes_through_the_letter_box_from_offer_to_outcome(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        work = await office.actor.take(LANE, address=WORKER, after=None)
        assert isinstance(work, WorkItem)
        assert work.key == key == key_of(0)
        assert work.assignment.trial == entry().trial
        assert await office.tell(1, PHASE) == Decision()
        await office.tell(2, scored(entry(), {"heldout_v_error": 0.5}))
        await office.tell(3, ended(entry()))
        assert await office.outcome(key) == TaskOutcome("done", images=IMAGES)
        assert office.ledger.row(entry()).state is EntryState.DONE

    run(story, office)


def test_a_trial_that_evaluators_score_is_trained_by_one_attempt_and_scored_by_the_next(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        await office.open()
        training = await office.take()
        assert isinstance(training, WorkItem)
        assert not training.assignment.scores
        await office.tell(1, Committed(images=IMAGES, uri="memory://end"))
        await office.tell(2, ended(entry(), "trained"))
        waiting = office.ledger.row(entry())
        assert (waiting.state, waiting.why, waiting.is_trained) == (EntryState.WAITING, TRAINED, True)
        key, scoring = await asyncio.gather(office.offer(lane="evaluator"), office.take("evaluator"))
        assert isinstance(scoring, WorkItem)
        assert (scoring.key, scoring.key.attempt) == (key, 2)
        assert scoring.assignment.scores

    run(story, office, at="separate")


def test_an_offer_made_twice_opens_one_attempt(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        assert await office.open() == await office.offer()
        assert len(office.attempts()) == 1

    run(story, office)


@pytest.mark.parametrize("killed", [False, True])
def test_an_offer_whose_answer_was_lost_opens_nothing_once_its_attempt_has_ended(
    killed: bool, office: Callable[..., Office]
) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        await office.tell(1, ended(entry(), "paused", images=480))
        if killed:
            office.actor = office.hired()
        assert await office.offer() == key
        assert (await office.outcome(key)).outcome == ("replaced" if killed else "paused")
        assert len(office.attempts()) == 1
        assert (await office.open()).attempt == 2

    run(story, office)


def test_killed_in_the_middle_it_goes_on_with_the_same_attempt(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        await office.tell(1, PHASE)
        office.actor = office.hired()
        assert await office.offer() == key
        again = await office.actor.take(LANE, address=WORKER, after=None)
        assert isinstance(again, WorkItem)
        assert again.key == key
        await office.tell(1, PHASE)  # its answer was lost
        await office.tell(2, Progress(images=48, step=1, loss=1.0, images_per_second=1.0))
        await office.tell(3, scored(entry(), {"heldout_v_error": 0.5}))
        await office.tell(4, ended(entry()))
        assert (await office.outcome(key)).outcome == "done"
        kinds = [str(event.kind) for event in office.ledger.events()]
        assert kinds.count("phase") == 1
        assert [row.number for row in office.attempts()] == [1]

    run(story, office)


def test_what_an_attempt_says_after_it_was_replaced_is_fenced_off(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        await office.open()
        await office.actor.lost(LANE, detail="gone", cause=Cause.WORKER_LOST)
        assert (await office.open(lane="lane-1")).attempt == 2
        before = office.ledger.events()
        answer = await office.tell(1, Rung(images=480, values={"heldout_v_error": 0.1}))
        assert isinstance(answer, FencedOff)
        assert "has ended as failed" in answer.reason
        assert office.ledger.events() == before

    run(story, office)


def test_a_run_that_was_taken_over_fences_its_lanes_off_and_stops(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        office.ledger.lease.release()
        LedgerFixture(office.ledger.engine, owner=BOB, clock=office.ledger.clock)
        answer = await office.tell(1, PHASE)
        assert isinstance(answer, FencedOff)
        assert "was taken over" in answer.reason
        assert await office.outcome(key) == TaskOutcome("fenced")
        assert await office.actor.beat(LANE, address=WORKER) is True
        assert "bob" in (await office.actor.stop_state()).failure

    run(story, office)


def test_a_trial_waits_without_an_attempt_until_the_first_worker_of_its_lane_comes(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        offered = asyncio.ensure_future(office.offer())
        while not any(event.kind is EventKind.WAITS for event in office.ledger.events()):
            await asyncio.sleep(0)
        row = office.ledger.row(entry())
        assert (row.state, row.attempt, office.attempts()) == (EntryState.WAITING, None, [])
        assert "the workers of its lane are awaited since" in row.why
        assert read_costs(office.ledger.reader, office.ledger.name).total == Cost()
        assert not offered.done()
        work = await office.take()
        assert isinstance(work, WorkItem)
        assert await offered == work.key
        [attempt] = office.attempts()
        assert (attempt.host, attempt.pid) == (WORKER.host, WORKER.pid)
        row = office.ledger.row(entry())
        assert (row.state, row.why) == (EntryState.RUNNING, "")

    run(story, office, awaited_s=0.0)


def test_a_lane_that_dies_before_any_worker_came_leaves_no_attempt_and_counts_against_nothing(
    office: Callable[..., Office],
) -> None:
    async def story(office: Office) -> None:
        for tries in range(1, 6):  # more than a lost worker may have
            offered = asyncio.ensure_future(office.offer(lane=f"lane-{tries}"))
            await asyncio.sleep(0)
            await office.actor.lost(f"lane-{tries}", detail="no\nplace", cause=Cause.WORKER_LOST)
            outcome = await offered
            assert isinstance(outcome, TaskOutcome)
            assert (outcome.outcome, outcome.lane_over) == ("failed", True)
            assert await office.actor.give_up(entry().trial_id) is Cause.WORKER_LOST
            row = office.ledger.row(entry())
            assert (row.state, office.attempts()) == (EntryState.WAITING, [])
            assert row.why == "its last lane died before it began: worker_lost: place"
            assert row.not_before - row.updated_at == pytest.approx(2.0 ** (tries - 1))
        assert (await office.open()).attempt == 1
        assert await office.actor.give_up(entry(1).trial_id) is None

    run(story, office)


def test_an_owner_that_dies_takes_what_its_lane_has_not_begun_back(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        offered = asyncio.ensure_future(office.offer())
        await asyncio.sleep(0)
        assert await office.actor.give_up(entry().trial_id) is Cause.WORKER_LOST
        assert isinstance(await offered, TaskOutcome)
        await office.actor.dismiss(LANE)
        assert isinstance(await office.take(), GoHome)
        assert office.attempts() == []

    run(story, office)


@pytest.mark.parametrize(
    ("lost", "cause", "tries"), [({WORKER.node}, Cause.NODE_LOST, "try 1 of 5"), ({"n1"}, Cause.WORKER_LOST, "try 1 of 3")]
)
def test_an_owner_that_dies_with_its_node_leaves_its_trial_more_tries(
    lost: set[str], cause: Cause, tries: str, office: Callable[..., Office]
) -> None:
    async def story(office: Office) -> None:
        await office.open()
        assert await office.actor.give_up(entry().trial_id) is None
        assert [row.cause for row in office.attempts()] == [cause]
        assert tries in office.ledger.row(entry()).why

    run(story, office, lost_nodes=lost)


def test_a_stop_ends_an_offer_that_nobody_has_taken(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        offered = asyncio.ensure_future(office.offer())
        await asyncio.sleep(0)
        await office.actor.stop()
        assert await offered == TaskOutcome("stopping")
        assert office.attempts() == []

    run(story, office)


def test_a_lane_whose_idle_workers_fell_silent_is_told_to_end_without_an_attempt(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        await office.actor.beat(LANE, address=WORKER)
        assert await office.offer() == TaskOutcome("failed", cause="worker_lost", lane_over=True, workers=(WORKER,))
        assert office.attempts() == []

    run(story, office, silent_s=0.5)


def test_a_ledger_that_is_deleted_ends_the_run_and_lets_its_trials_save(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        Path(office.uri.removeprefix("sqlite:///")).unlink()
        while not (await office.actor.stop_state()).stopping:
            await asyncio.sleep(0)
        assert "ledger.db was deleted while a sweep of it ran" in (await office.actor.stop_state()).failure
        assert await office.actor.beat(LANE, address=WORKER) is True
        assert await office.tell(1, PHASE) == Decision()
        await office.tell(2, ended(entry(), "stopped", images=480))
        assert await office.outcome(key) == TaskOutcome("stopped", images=480)

    run(story, office)


def test_a_worker_that_falls_silent_is_given_up_and_its_lane_told_to_end(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        await office.actor.take(LANE, address=WORKER, after=None)
        outcome = await office.outcome(key)  # waits for the watch
        assert outcome == TaskOutcome("failed", cause="worker_lost", lane_over=True, workers=(WORKER,))
        assert "no sign of life" in str(office.attempts()[0].detail)
        assert office.ledger.row(entry()).state is EntryState.WAITING

    run(story, office, silent_s=0.5)


def test_a_worker_that_dies_while_the_actor_is_killed_is_missed_by_the_next(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        office.actor = office.hired()
        assert (await office.outcome(key)).cause == "worker_lost"

    run(story, office, silent_s=0.5)


def test_lanes_may_come_while_a_silent_one_is_given_up(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        keys = [await office.open(seed, lane=f"lane-{seed}") for seed in (0, 1)]
        for seed in (0, 1):
            await office.actor.take(f"lane-{seed}", address=WORKER, after=None)
        waiting = [asyncio.ensure_future(office.outcome(keys[seed], lane=f"lane-{seed}")) for seed in (0, 1)]
        number = 2
        while not all(each.done() for each in waiting):
            await office.actor.beat(f"lane-{number}", address=WORKER)
            number += 1
            await asyncio.sleep(0)
        assert [each.result().cause for each in waiting] == ["worker_lost"] * 2
        assert not office.actor._ticking.done()

    run(story, office, silent_s=0.5)


def test_offers_that_overlap_open_one_attempt(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        first, second, *works = await asyncio.gather(office.offer(), office.offer(), office.take(), office.take())
        assert first == second == key_of(0)
        assert [work.key for work in works if isinstance(work, WorkItem)] == [key_of(0)] * 2
        assert len(office.attempts()) == 1

    run(story, office)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), Cause.OUT_OF_MEMORY),
        (OSError(28, "No space left on device"), Cause.STORAGE_ERROR),
        (Infeasible("one image must fit"), Cause.INFEASIBLE),
        (DataError("the data must be"), Cause.DATA_ERROR),
        (ValueError("shapes do not match"), Cause.BUG),
        (KeyError("x"), Cause.BUG),
    ],
)
def test_what_a_trial_raises_has_a_cause_of_the_closed_list(error: Exception, cause: Cause) -> None:
    assert cause_of(error) == cause
    assert set(MISTAKES) <= set(Cause)


def test_a_lane_that_hears_nothing_ends_before_another_run_may_begin() -> None:
    assert LONGEST_SILENCE_S + BEAT_WAIT_S < TTL_S


def test_a_lane_s_owner_loads_no_torch(tmp_path: Path) -> None:
    assert loaded_by("import jit_sweep.executor.lane_group", cwd=tmp_path, among=("torch", "ray")) == {"ray"}


def test_a_stalled_worker_leaves_its_stacks_and_its_trial_waits(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        key = await office.open()
        await office.actor.stalled(LANE, key=key, detail="no step for 9 s\nthread main: ...")
        outcome = await office.outcome(key)
        assert (outcome.cause, outcome.lane_over) == ("stalled", True)
        assert "thread main" in str(office.attempts()[0].detail)
        assert office.ledger.row(entry()).state is EntryState.WAITING

    run(story, office)


def test_a_stop_asked_for_in_the_ledger_is_heard(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        ask_to_stop(office.ledger.engine, office.ledger.name, by="carol")
        while not (await office.actor.stop_state()).stopping:
            await asyncio.sleep(0)
        assert await office.offer() == TaskOutcome("stopping")
        assert (await office.actor.stop_state()).failure == ""

    run(story, office)


def test_three_equal_bugs_stop_the_sweep(office: Callable[..., Office]) -> None:
    async def story(office: Office) -> None:
        office.ledger.plan(entry(2))
        for seed in range(3):
            await office.open(seed)
            bug = f'Traceback:\n  File "train.py", line 7, in f\nKeyError: {seed}'
            await office.actor.failed(LANE, key=key_of(seed), cause="bug", detail=bug)
            assert (await office.actor.stop_state()).stopping is (seed == 2)
        assert "3 trials ended in the same error" in (await office.actor.stop_state()).failure
        assert {office.ledger.row(entry(seed)).cause for seed in range(3)} == {Cause.BUG}

    run(story, office)


@contextmanager
def database() -> Iterator[str]:
    with postgres() as uri:
        yield uri


def test_a_report_waits_for_a_database_that_is_away() -> None:
    with database() as uri:

        async def story() -> None:
            office = Office(uri)
            await office.open()
            engine: Engine = office.ledger.engine
            with engine.connect() as blocker, blocker.begin():
                blocker.exec_driver_sql("LOCK TABLE event IN ACCESS EXCLUSIVE MODE")
                telling = asyncio.ensure_future(office.tell(1, PHASE))
                backends = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                while not blocker.exec_driver_sql(backends).scalar():
                    await asyncio.sleep(0)
                killed = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                assert blocker.exec_driver_sql(killed).all()
                assert not telling.done()
            assert await telling == Decision()
            assert [str(event.kind) for event in office.ledger.events()][-1] == "phase"

        asyncio.run(story())
