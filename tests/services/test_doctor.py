"""The doctor: what is whole has no findings; each kind of damage has one, that names it; what can be mended is."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import delete, update

from jit_sweep.doctor.discrepancy import Discrepancy
from jit_sweep.doctor.examine import Subject, examine, repair
from jit_sweep.errors import UserError
from jit_sweep.home import Home, Locations, home_at
from jit_sweep.ledger import schema
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import SweepState
from jit_sweep.schedulers.decide import Decider
from jit_sweep.spec.schedulers import FirstRung, Halving
from jit_sweep.tracking.mirror import Mirror
from tests.support.champions import champion_of
from tests.support.cli import jit_sweep
from tests.support.ledger import FACTS, IMAGES, OBJECTIVE, LedgerFixture, ended, planned, scored
from tests.support.mlflow import MlflowStore
from trainables.networks.registry import build
from trainables.report import Committed, Progress, Rung
from trainables.storage.checkpoint import Store
from trainables.training.ema import Averages

GATE = IMAGES // 2
HALVING = Halving(kind="halving", first_rung=FirstRung(images=GATE), s_train=0.0)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = home_at(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def ledger(home: Home) -> Iterator[LedgerFixture]:
    """Three arms that raced: the first went on to its end."""
    engine = open_engine(home.ledger)
    made = LedgerFixture(engine, decider=Decider(HALVING))
    run_race(made, Store(str(home.store)))
    made.lease.release()
    yield made
    engine.dispose()


def run_race(ledger: LedgerFixture, checkpoints: Store) -> None:
    spec = {
        "name": ledger.name,
        "data": {"name": "emoji32"},
        "baseline": {"preset": "jit-tiny"},
        "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 2}}],
        "objective": OBJECTIVE,
        "budget": {"images_per_trial": IMAGES},
        "scheduler": HALVING.model_dump(mode="json"),
    }
    ledger.writer.register(ledger.name, fingerprint="f1", identity=FACTS, spec=spec)
    arms = [{"prediction": "x"}, {"prediction": "v"}, {"prediction": "eps"}]
    entries = [planned(arm=arm, position=at, gates=(GATE,), race="r") for at, arm in enumerate(arms)]
    ledger.plan(*entries)
    for place, entry in enumerate(entries):
        attempt = ledger.begin(entry)
        ledger.tell(attempt, Progress(images=GATE, step=1, loss=0.5, images_per_second=1.0))
        decision = ledger.writer.report(
            attempt.trial_id, attempt.number, 1, Rung(images=GATE, values={HALVING.metric: 1 + place})
        )
        goes_on = decision.verdict == "go_on"
        images, outcome = (entry.images, "done") if goes_on else (GATE, "stopped" if decision.verdict == "stop" else "paused")
        tensors = {"model": {"w": torch.zeros(9)}, "ema": averaged(entry.trial)}
        commit = checkpoints.write(entry.trial_id, attempt=1, images=images, tensors=tensors, state={"final": goes_on})
        ledger.tell(attempt, Committed(images=images, uri=checkpoints.address(commit)), first=2)
        if goes_on:
            ledger.tell(attempt, scored(entry, {OBJECTIVE: float(place)}), first=3)
        ledger.tell(attempt, ended(entry, outcome, images=images), first=4)  # type: ignore[arg-type]
    ledger.writer.finish(ledger.name, SweepState.DONE)


def averaged(trial: object) -> dict[str, torch.Tensor]:
    config = planned().trial if trial is None else trial
    return Averages(build(config), config.ema, batch_size=config.batch_size).tensors["ema"]  # type: ignore[arg-type, attr-defined]


def subject(ledger: LedgerFixture, home: Home, store: MlflowStore) -> Subject:
    locations = Locations(ledger=home.ledger, tracking=store.uri, storage=str(home.store))
    return Subject(LedgerReader(ledger.engine), ledger.name, locations, {ledger.name: str(home.store)})


@pytest.fixture
def whole(ledger: LedgerFixture, home: Home, store: MlflowStore) -> Subject:
    """The sweep with all of it in MLflow."""
    found = subject(ledger, home, store)
    artifacts = found.locations.artifacts
    Mirror(store.uri, found.reader, ledger.name, artifacts=artifacts).deliver()
    return found


def first_scored(whole: Subject) -> tuple[str, Path]:
    """A scored trial, and its marker."""
    score = whole.reader.scores(whole.sweep)[0]
    folder = Path(whole.locations.storage) / f"trials/{score.trial_id}"
    return score.trial_id, folder / f"commits/{score.images:012d}.json"


def damage_file(whole: Subject) -> str:
    trial, marker = first_scored(whole)
    file = next(marker.parent.parent.glob("a0001/*/model.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    return f"{trial}.*must keep its .* bytes"


def damage_marker(whole: Subject) -> str:
    trial, marker = first_scored(whole)
    marker.write_text("{")
    return f"{trial}.*damaged .*{marker.name}"


def lose_checkpoint(whole: Subject) -> str:
    trial, marker = first_scored(whole)
    marker.unlink()
    return f"{trial} is scored at {IMAGES} images, and has no checkpoint"


def delete_run(whole: Subject, kind: str) -> str:
    store = MlflowStore(whole.locations.tracking, "")
    run = store.runs(kind)[0]
    store.client.delete_run(run.info.run_id)
    return "the sweep has no run" if kind == "sweep" else f"{run.data.tags['trial']} has none"


def lose_points(whole: Subject) -> str:
    """A run that came back empty, as by hand: its points are gone, and its tags say that all are there."""
    store = MlflowStore(whole.locations.tracking, "")
    old = next(run for run in store.runs("trial") if OBJECTIVE in run.data.metrics)
    store.client.delete_run(old.info.run_id)
    store.empty_bin(old)
    experiment = store.client.get_experiment_by_name("jit_sweep")
    assert experiment is not None
    store.client.create_run(experiment.experiment_id, tags=dict(old.data.tags))
    return f"trial {old.data.tags['trial']} lacks {len(old.data.metrics)} of {len(old.data.metrics)} points"


def double_run(whole: Subject) -> str:
    store = MlflowStore(whole.locations.tracking, "")
    run = store.runs("trial")[0]
    experiment = store.client.get_experiment_by_name("jit_sweep")
    assert experiment is not None
    store.client.create_run(experiment.experiment_id, tags=dict(run.data.tags))
    return f"{run.data.tags['trial']} has several"


DAMAGES: dict[str, Callable[[Subject], str]] = {
    "file": damage_file,
    "marker": damage_marker,
    "checkpoint": lose_checkpoint,
    "trial's run": lambda whole: delete_run(whole, "trial"),
    "sweep's run": lambda whole: delete_run(whole, "sweep"),
    "points": lose_points,
    "two runs": double_run,
}


def lines(findings: tuple[Discrepancy, ...]) -> list[str]:
    return [finding.found for finding in findings]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_one_finding_that_names_it_and_is_mended(whole: Subject, damage: str) -> None:
    assert lines(examine(whole).findings) == []
    expected = DAMAGES[damage](whole)
    [finding] = examine(whole).findings
    assert re.search(expected, finding.found), finding.found
    assert finding.remedy
    mended, after = repair(whole)
    assert lines(mended) == [finding.found]
    assert lines(after.findings) == []


@pytest.mark.parametrize(
    ("what", "rule"),
    [
        (update(schema.verdict).values(go_on=~schema.verdict.c.go_on), "every event has its row"),
        (delete(schema.rung_value), "every event has its row"),
        (delete(schema.score), "every event has its row"),
        (
            update(schema.event)
            .where(schema.event.c.kind == "rung", schema.event.c.id < 8)
            .values(data={"kind": "rung", "images": GATE, "values": {HALVING.metric: 99.0}}),
            "every verdict follows from the events before it",
        ),
    ],
    ids=["verdicts", "rung values", "scores", "an event"],
)
def test_a_ledger_that_was_changed_by_hand_is_told_and_not_mended(
    whole: Subject, ledger: LedgerFixture, what: object, rule: str
) -> None:
    with ledger.engine.begin() as connection:
        connection.execute(what)  # type: ignore[call-overload]
    found = examine(whole).findings
    assert rule in {finding.rule for finding in found}
    assert all(finding.mend is None for finding in found if finding.rule == rule)


def test_a_registered_version_whose_run_was_deleted_is_told_and_restored(whole: Subject, store: MlflowStore) -> None:
    trial, _ = first_scored(whole)
    champion_of(whole.reader, whole.sweep, whole.locations, trial=trial, name="demo")
    assert lines(examine(whole).findings) == []
    run = next(run for run in store.runs("trial") if run.data.tags["trial"] == trial)
    store.client.delete_run(run.info.run_id)
    rules = {finding.rule for finding in examine(whole).findings}
    assert "every registered version has its run and its files" in rules
    _, after = repair(whole)
    assert lines(after.findings) == []


def test_the_command_says_rule_finding_and_remedy_and_exits_with_1_until_it_is_mended(
    ledger: LedgerFixture, home: Home, tmp_path: Path
) -> None:
    marker = next(home.store.glob("trials/*/commits/*.json"))
    marker.write_text("{")
    command = ("doctor", ledger.name, "--home", str(home.path))
    found = jit_sweep(*command, "--json", cwd=tmp_path)
    assert found.returncode == 1, found.stderr
    said = json.loads(found.stdout)
    assert said["schema"] == "jit-sweep/doctor/1"
    assert {row["rule"] for row in said["rows"]} >= {"every checkpoint that is committed is whole"}
    mended = jit_sweep(*command, "--repair", cwd=tmp_path)
    assert (mended.returncode, mended.stderr) == (0, "")
    assert "mended:" in mended.stdout
    assert "ledger, storage, MLflow and registry agree" in mended.stdout


def test_a_sweep_that_somebody_runs_is_looked_at_and_not_mended(ledger: LedgerFixture, home: Home, store: MlflowStore) -> None:
    running = LedgerFixture(ledger.engine, name="other")
    found = subject(running, home, store)
    assert running.reader.sweep("other").is_run
    with pytest.raises(UserError, match="needs a sweep that nobody runs, got other, which alice@elsewhere"):
        repair(Subject(running.reader, "other", found.locations, {}))
