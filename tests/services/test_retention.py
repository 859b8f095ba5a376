"""Retention: what is needed stays, the rest goes, and a dry run says exactly which."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from jit_sweep.cli import gc as gc_command
from jit_sweep.errors import UserError
from jit_sweep.home import Home, Locations, home_at
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.records import Cause, EntryState, SweepState
from jit_sweep.models.retention import QUIET_S, Collected, apply_retention, collect, needed
from jit_sweep.plan.entry import Entry
from tests.support.champions import champion_of
from tests.support.cli import jit_sweep
from tests.support.ledger import BOB, FACTS, IMAGES, OBJECTIVE, LedgerFixture, ended, planned
from tests.support.mlflow import MlflowStore
from trainables.config.recipe import Parent
from trainables.networks.registry import build
from trainables.storage.checkpoint import Commit, Store
from trainables.training.ema import Averages


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = home_at(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def ledger(home: Home) -> Iterator[LedgerFixture]:
    engine = open_engine(home.ledger)
    made = LedgerFixture(engine)
    describe(made)
    yield made
    engine.dispose()


@pytest.fixture
def checkpoints(home: Home) -> Store:
    return Store(str(home.store))


def describe(ledger: LedgerFixture, *, best: int | None = None, **more: Any) -> None:
    """Register the sweep with a whole sweep file."""
    spec = {
        "name": ledger.name,
        "data": {"name": "emoji32"},
        "baseline": {"preset": "jit-tiny"},
        "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 2}}],
        "objective": OBJECTIVE,
        "budget": {"images_per_trial": IMAGES},
        "retention": {"best": best},
    }
    ledger.writer.register(ledger.name, fingerprint="f1", identity=FACTS, spec=spec | more)


def save(checkpoints: Store, entry: Entry, *images: int, attempt: int = 1) -> list[Commit]:
    return [
        checkpoints.write(entry.trial_id, attempt=attempt, images=count, tensors={"model": {"w": torch.ones(9)}}, state={})
        for count in images
    ]


def leave(checkpoints: Store, home: Home, entry: Entry, *, images: int, attempt: int) -> Path:
    """Files of an attempt that ended before it committed them."""
    folder = home.store / f"trials/{entry.trial_id}/a{attempt:04d}/{images:012d}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(100))
    return folder


def gc(ledger: LedgerFixture, home: Home, **how: Any) -> Collected:
    return collect(ledger.reader, {ledger.name: home.locations()}, clock=ledger.clock, **how)


def left(home: Home) -> dict[str, set[int]]:
    """Image counts that are committed, by trial."""
    found: dict[str, set[int]] = {}
    for marker in home.store.glob("trials/*/commits/*.json"):
        found.setdefault(marker.parts[-3], set()).add(int(marker.stem))
    return found


def files(home: Home) -> dict[Path, int]:
    return {path: path.stat().st_size for path in home.store.rglob("*") if path.is_file()}


def test_of_a_finished_trial_the_last_checkpoint_stays_and_a_dry_run_says_what_goes_to_the_byte(
    ledger: LedgerFixture, home: Home, checkpoints: Store
) -> None:
    entry = planned()
    save(checkpoints, entry, 96, 480, IMAGES)
    ledger.train(entry, {OBJECTIVE: 1.0})
    before = files(home)
    would = gc(ledger, home, dry_run=True)
    assert files(home) == before
    assert [(removal.images, removal.kind) for removal in would.removed] == [(96, "checkpoint"), (480, "checkpoint")]
    assert gc(ledger, home) == would
    assert would.size == sum(before.values()) - sum(files(home).values()) > 0
    assert left(home) == {entry.trial_id: {IMAGES}}
    assert checkpoints.latest(entry.trial_id, most_images=IMAGES) is not None
    assert gc(ledger, home) == Collected()


def test_of_an_unfinished_trial_the_checkpoint_that_it_goes_on_from_stays_and_the_one_before(
    ledger: LedgerFixture, home: Home, checkpoints: Store
) -> None:
    paused, lost, beyond = (planned(seed=seed) for seed in range(3))
    ledger.plan(paused, lost, beyond)
    ledger.tell(ledger.begin(paused), ended(paused, "paused", images=480))
    ledger.writer.fail(lost.trial_id, ledger.begin(lost).number, cause=Cause.BUG, detail="it broke")
    ledger.begin(beyond)
    ledger.clock.now += 100  # its driver is gone
    save(checkpoints, paused, 48, 96, 480)
    save(checkpoints, lost, 96)
    save(checkpoints, beyond, 48, 96, 480, IMAGES + 96)
    gc(ledger, home)
    assert left(home) == {paused.trial_id: {96, 480}, lost.trial_id: {96}, beyond.trial_id: {96, 480}}


@pytest.mark.parametrize("state", EntryState)
def test_only_divergence_and_the_limit_to_the_best_end_the_need_of_a_checkpoint(
    ledger: LedgerFixture, state: EntryState
) -> None:
    entry = planned()
    ledger.plan(entry)
    row = replace(ledger.row(entry), state=state)
    needs = [(entry.trial_id, IMAGES)]
    assert list(needed([row], best=None)) == ([] if state is EntryState.DIVERGED else needs)
    finished = state in (EntryState.DONE, EntryState.PRUNED, EntryState.DIVERGED)
    assert list(needed([row], best=frozenset())) == ([] if finished else needs)
    assert list(needed([row], best=frozenset({entry.trial_id}))) == ([] if state is EntryState.DIVERGED else needs)


def test_a_diverged_trial_keeps_nothing(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    entry = planned()
    save(checkpoints, entry, 96)
    ledger.diverge(entry, images=192)
    gc(ledger, home)
    assert left(home) == {}


def test_each_budget_of_a_trial_keeps_its_own(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    short, long = planned(), planned(stage=1, images=2 * IMAGES)
    save(checkpoints, short, 96, IMAGES, IMAGES + 96, 2 * IMAGES)
    ledger.train(short, {OBJECTIVE: 1.0})
    ledger.train(long, {OBJECTIVE: 0.5})
    gc(ledger, home)
    assert left(home) == {short.trial_id: {IMAGES, 2 * IMAGES}}


def train_four(ledger: LedgerFixture, checkpoints: Store) -> list[Entry]:
    """Four trials, the third the best, then the first; the last is not finished."""
    entries = [planned(seed=seed) for seed in range(4)]
    for entry, value in zip(entries, (2.0, 9.0, 1.0), strict=False):
        save(checkpoints, entry, IMAGES)
        ledger.train(entry, {OBJECTIVE: value})
    ledger.plan(entries[3])
    save(checkpoints, entries[3], 480)
    return entries


def test_a_sweep_that_has_ended_keeps_its_best_trials_only(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    describe(ledger, best=2)
    entries = train_four(ledger, checkpoints)
    assert gc(ledger, home) == Collected()
    ledger.writer.finish(ledger.name, SweepState.DONE)
    assert [removal.trial_id for removal in gc(ledger, home).removed] == [entries[1].trial_id]
    kept = {entries[0].trial_id: {IMAGES}, entries[2].trial_id: {IMAGES}, entries[3].trial_id: {480}}
    assert left(home) == kept


def places_of(home: Home, **other: str) -> Locations:
    return replace(home.locations(), **other)


def test_a_sweep_s_end_removes_only_what_its_file_limits(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    entries = train_four(ledger, checkpoints)
    save(checkpoints, entries[0], 96)
    assert apply_retention(ledger.reader, home.locations(), ledger.name, clock=ledger.clock) == Collected()
    describe(ledger, best=1)
    found = apply_retention(ledger.reader, home.locations(), ledger.name, clock=ledger.clock)
    assert {removal.trial_id for removal in found.removed} == {entries[0].trial_id, entries[1].trial_id}
    assert left(home) == {entries[2].trial_id: {IMAGES}, entries[3].trial_id: {480}}


def test_a_registry_or_a_storage_that_is_away_removes_nothing_and_fails_no_sweep(
    ledger: LedgerFixture, home: Home, checkpoints: Store, tmp_path: Path
) -> None:
    describe(ledger, best=1)
    train_four(ledger, checkpoints)
    before = files(home)
    no_registry = places_of(home, tracking="http://127.0.0.1:9")
    assert (
        "MLflow at http://127.0.0.1:9" in apply_retention(ledger.reader, no_registry, ledger.name, clock=ledger.clock).problem
    )
    with pytest.raises(UserError, match="MLflow at http://127.0.0.1:9"):
        collect(ledger.reader, {ledger.name: no_registry}, clock=ledger.clock)
    no_storage = places_of(home, storage="nonsense://x")
    assert "nonsense://x" in apply_retention(ledger.reader, no_storage, ledger.name, clock=ledger.clock).problem
    assert files(home) == before


def test_a_trial_that_sweeps_share_stays_while_one_of_them_wants_it(
    ledger: LedgerFixture, home: Home, checkpoints: Store
) -> None:
    describe(ledger, best=1)
    entries = train_four(ledger, checkpoints)
    other = LedgerFixture(ledger.engine, name="other", owner=BOB, clock=ledger.clock)
    other.plan(planned(seed=1), planned(seed=0, images=480))
    other.writer.settle(other.name)
    save(checkpoints, entries[0], 96, 288)
    apply_retention(ledger.reader, home.locations(), ledger.name, clock=ledger.clock)
    assert left(home)[entries[1].trial_id] == {IMAGES}
    assert left(home)[entries[0].trial_id] == {96, 288}


def test_what_a_planned_trial_starts_from_stays(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    describe(ledger, best=1)
    entries = train_four(ledger, checkpoints)
    save(checkpoints, entries[1], 96, 480)
    child = planned(seed=7)
    trial = child.trial.model_copy(update={"parent": Parent(trial=entries[1].trial_id, images=480)})
    ledger.plan(child.model_copy(update={"trial": trial}))
    apply_retention(ledger.reader, home.locations(), ledger.name, clock=ledger.clock)
    assert left(home)[entries[1].trial_id] == {480}


def test_what_a_registered_model_was_made_of_stays_for_ever(
    ledger: LedgerFixture, home: Home, checkpoints: Store, store: MlflowStore
) -> None:
    entry = planned(seed=5)
    averages = Averages(build(entry.trial), entry.trial.ema, batch_size=entry.trial.batch_size).tensors
    checkpoints.write(entry.trial_id, attempt=1, images=IMAGES, tensors=averages, state={})
    ledger.train(entry, {OBJECTIVE: 99.0})
    locations = places_of(home, tracking=store.uri)
    ledger.lease.release()
    champion_of(ledger.reader, ledger.name, locations, trial=entry.trial_id, name="demo")
    describe(ledger, best=1)
    entries = train_four(ledger, checkpoints)
    removed = apply_retention(ledger.reader, locations, ledger.name, clock=ledger.clock).removed
    assert {removal.trial_id for removal in removed} == {entries[0].trial_id, entries[1].trial_id}
    assert left(home)[entry.trial_id] == {IMAGES}
    assert [r.trial_id for r in gc(ledger, home, ended=frozenset({ledger.name})).removed] == [entry.trial_id], (
        "elsewhere it is not known"
    )


def lost_and_done(ledger: LedgerFixture, home: Home, checkpoints: Store) -> tuple[Entry, Path]:
    """A trial whose first attempt was lost in mid-write, and whose second one reached the end."""
    entry = planned()
    ledger.plan(entry)
    ledger.writer.fail(entry.trial_id, ledger.begin(entry).number, cause=Cause.WORKER_LOST, detail="gone")
    leftover = leave(checkpoints, home, entry, images=480, attempt=1)
    ledger.train(entry, {OBJECTIVE: 1.0})
    save(checkpoints, entry, IMAGES, attempt=2)
    return entry, leftover


def test_what_a_lost_attempt_left_behind_goes_once_it_is_surely_dead(
    ledger: LedgerFixture, home: Home, checkpoints: Store
) -> None:
    entry, leftover = lost_and_done(ledger, home, checkpoints)
    assert gc(ledger, home) == Collected()
    ledger.clock.now += QUIET_S + 1
    [removal] = gc(ledger, home).removed
    assert (removal.kind, removal.attempt, removal.images, removal.size) == ("leftover", 1, 480, 100)
    assert removal.address == str(leftover)
    assert not leftover.parent.exists()
    assert left(home) == {entry.trial_id: {IMAGES}}


def test_sample_grids_and_files_of_unknown_attempts_and_of_damaged_markers_stay(
    ledger: LedgerFixture, home: Home, checkpoints: Store
) -> None:
    entry, leftover = lost_and_done(ledger, home, checkpoints)
    grid = leftover.parent / f"samples-{IMAGES}-0123.png"
    grid.write_bytes(b"png")
    unknown = leave(checkpoints, home, entry, images=480, attempt=7)
    [unclear] = save(checkpoints, entry, 288, attempt=2)
    marker = home.store / f"trials/{entry.trial_id}/commits/{288:012d}.json"
    marker.write_text("{")
    ledger.clock.now += QUIET_S + 1
    assert [removal.attempt for removal in gc(ledger, home).removed] == [1]
    assert grid.exists()
    assert unknown.exists()
    assert marker.exists()
    assert Path(checkpoints.address(unclear)).exists()


def test_nothing_of_a_trial_in_training_is_touched(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    entry, leftover = lost_and_done(ledger, home, checkpoints)
    save(checkpoints, entry, 96, attempt=1)
    ledger.clock.now += QUIET_S + 1
    ledger.lease.renew()
    longer = planned(stage=1, images=2 * IMAGES)
    ledger.plan(longer)
    ledger.begin(longer)
    assert gc(ledger, home) == Collected(in_training=(entry.trial_id,))
    assert leftover.exists()
    ledger.lease.release()
    assert {removal.images for removal in gc(ledger, home).removed} == {480}  # of a longer budget, the last two stay


def test_another_ledger_s_trials_in_the_same_storage_stay(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    entry, stranger = planned(), planned(seed=9)
    save(checkpoints, stranger, 96, 480)
    ledger.train(entry, {OBJECTIVE: 1.0})
    assert gc(ledger, home) == Collected()
    assert left(home) == {stranger.trial_id: {96, 480}}


def test_a_trial_that_no_sweep_plans_any_more_keeps_nothing(ledger: LedgerFixture, home: Home, checkpoints: Store) -> None:
    dropped, entry = planned(seed=1), planned()
    ledger.train(dropped, {OBJECTIVE: 1.0})
    save(checkpoints, dropped, IMAGES)
    ledger.writer.plan_entries(ledger.name, [entry])
    gc(ledger, home)
    assert left(home) == {}


def said(home: Home, sweep: str | None, capfd: pytest.CaptureFixture[str], **how: bool) -> str:
    options: Mapping[str, bool] = {"dry_run": False, "as_json": False, **how}
    assert gc_command.gc(sweep, home, ledger=home.ledger, tracking=None, **options) == 0
    return capfd.readouterr().out


def test_gc_lists_what_it_would_remove_and_then_removes_it(
    ledger: LedgerFixture, home: Home, checkpoints: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    entry = planned()
    save(checkpoints, entry, 96, 480, IMAGES)
    ledger.train(entry, {OBJECTIVE: 1.0})
    would = json.loads(said(home, ledger.name, capfd, dry_run=True, as_json=True))
    assert (would["schema"], would["dry_run"], [row["images"] for row in would["rows"]]) == ("jit-sweep/gc/1", True, [96, 480])
    assert "would remove 2 checkpoints, " in said(home, None, capfd, dry_run=True)
    assert left(home) == {entry.trial_id: {96, 480, IMAGES}}
    done = json.loads(said(home, ledger.name, capfd, as_json=True))
    assert done == would | {"dry_run": False}
    assert left(home) == {entry.trial_id: {IMAGES}}
    assert said(home, None, capfd) == "nothing to remove\n"


def test_gc_leaves_a_sweep_alone_whose_file_it_cannot_read(
    ledger: LedgerFixture, home: Home, checkpoints: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    describe(ledger, unheard_of=1)
    entry = planned()
    save(checkpoints, entry, 96, IMAGES)
    ledger.train(entry, {OBJECTIVE: 1.0})
    assert f"left alone, since another version ran them: {ledger.name}" in said(home, None, capfd)
    with pytest.raises(UserError, match="must be one that this version reads"):
        said(home, ledger.name, capfd)
    assert left(home) == {entry.trial_id: {96, IMAGES}}


def test_gc_on_the_command_line(ledger: LedgerFixture, home: Home, checkpoints: Store, tmp_path: Path) -> None:
    entry = planned()
    save(checkpoints, entry, 96, IMAGES)
    ledger.train(entry, {OBJECTIVE: 1.0})
    for flag, count in (("--dry-run", 2), ("--json", 1)):
        done = jit_sweep("gc", ledger.name, flag, "--home", str(home.path), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(left(home)[entry.trial_id]) == count
    unknown = jit_sweep("gc", "nine", "--home", str(home.path), cwd=tmp_path)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no sweep 'nine'" in unknown.stderr
