"""MLflow as people see a sweep: complete, without repetitions, and never in the way."""

import dataclasses
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from jit_sweep.errors import UserError
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.records import AttemptRow, Cause, EntryState, SweepState
from jit_sweep.tracking import check, links, translation
from jit_sweep.tracking.delivery import REPORT_EVERY_S
from jit_sweep.tracking.mirror import PAGE_EVENTS, Mirror, MirrorThread
from tests.support.ledger import BOB, OBJECTIVE, LedgerFixture, ended, planned, scored
from tests.support.mlflow import MlflowStore
from trainables.report import Committed, Phase, Progress, Rung

X = {"patch_size": 16, "prediction": "x"}
V = {"patch_size": 16, "prediction": "v"}


def mirror(ledger: LedgerFixture, store: MlflowStore) -> Mirror:
    return Mirror(store.uri, ledger.reader, ledger.name, artifacts=store.artifacts)


def progress(images: int, *, loss: float = 1.0) -> Progress:
    return Progress(images=images, step=images // 48, loss=loss, images_per_second=100.0, data_wait=0.25)


def tell_in_time(ledger: LedgerFixture, attempt: AttemptRow, *images: int, first: int = 0, loss: float = 1.0) -> None:
    """Progress reports a second apart."""
    for sequence, count in enumerate(images, start=first):
        ledger.clock.now += 1.0
        ledger.tell(attempt, progress(count, loss=loss), first=sequence)


def only(runs: list[Run]) -> Run:
    assert len(runs) == 1
    return runs[0]


def test_what_a_statement_looks_into_is_loaded_before_the_mirrors_thread_begins() -> None:
    """A statement that compares with a member of an enumeration asks SQLAlchemy's ORM, which MLflow loads in that thread."""
    code = "import sys, jit_sweep.tracking.mirror; sys.exit('sqlalchemy.orm' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sweep_is_one_run_with_a_run_for_each_trial_below_it(ledger: LedgerFixture, store: MlflowStore) -> None:
    ledger.train(planned(arm=X), {OBJECTIVE: 3.0})
    ledger.train(planned(arm=V, seed=4, position=1), {OBJECTIVE: 4.0})
    assert mirror(ledger, store).deliver() == len(ledger.events())
    parent = only(store.runs("sweep"))
    assert parent.data.tags["sweep"] == "mine"
    assert parent.data.tags["jit_sweep.fingerprint"] == "f1"
    assert parent.data.tags["version.torch"]
    assert parent.data.params["baseline.model.width"] == "32"
    assert parent.data.params["data.digest"] == "d" * 12
    runs = store.runs("trial")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    entry = planned(arm=V, seed=4)
    names = ("sweep", "trial", "stage", "prediction", "seed", "origin", "state", "cause")
    found = {name: runs[0].data.tags[name] for name in names}
    expected = {"sweep": "mine", "trial": entry.trial_id, "stage": "0", "prediction": "v", "seed": "4", "origin": "grid"}
    assert found == {**expected, "state": "done", "cause": ""}
    assert [run.data.metrics[OBJECTIVE] for run in runs] == [4.0, 3.0]
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]


def test_parameters_are_the_resolved_configuration_with_its_evaluation_and_cost(
    ledger: LedgerFixture, store: MlflowStore
) -> None:
    entry = planned(arm={"patch_size": 8})
    ledger.train(entry, {OBJECTIVE: 1.0})
    mirror(ledger, store).deliver()
    params = only(store.runs("trial")).data.params
    assert params["model.patch_size"] == "8"
    assert (params["arm"], params["seed"]) == ("patch_size=8", "0")
    assert params["data.digest"] == entry.trial.data.digest
    assert params["diffusion.t_sampling.mu"] == "-0.8"
    assert params["evaluation.n"] == "64"
    assert params["tokens"] == "16"
    assert int(params["parameters"]) > 1000
    assert float(params["forward_gflops"]) > 0


def test_points_stand_at_their_image_count_and_at_the_event_s_own_time(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.clock.now = 2000.25
    ledger.tell(attempt, progress(48, loss=0.5))
    ledger.clock.now = 2001.5
    ledger.tell(attempt, progress(96, loss=0.25), Rung(images=96, values={"heldout_v_error": 0.125}), first=1)
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert store.series(run, "loss") == [(48, 0.5, 2000250), (96, 0.25, 2001500)]
    assert store.series(run, "data_wait") == [(48, 0.25, 2000250), (96, 0.25, 2001500)]
    assert store.series(run, "rung/heldout_v_error") == [(96, 0.125, 2001500)]
    assert run.info.status == "RUNNING"


def test_a_delivery_that_was_cut_short_is_repeated_without_a_second_point(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    tell_in_time(ledger, attempt, 48, 96, 144)
    mirror(ledger, store).deliver()
    run, parent = only(store.runs("trial")), only(store.runs("sweep"))
    before = store.series(run, "loss")
    # The reply to everything after the run's own creation was lost.
    store.client.set_tag(parent.info.run_id, "jit_sweep.cursor", "0")
    store.client.delete_tag(run.info.run_id, "jit_sweep.mark.progress")
    assert mirror(ledger, store).deliver() == len(ledger.events())
    assert store.series(only(store.runs("trial")), "loss") == before
    assert len(before) == 3
    assert mirror(ledger, store).deliver() == 0


def test_what_a_repeated_attempt_trains_again_is_not_told_again(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    first = ledger.begin(entry)
    rung = Rung(images=480, values={"heldout_v_error": 1.0})
    tell_in_time(ledger, first, 240, 480, 624)
    ledger.tell(first, rung, Committed(images=480, uri="file:///c"), first=3)
    ledger.writer.fail(entry.trial_id, first.number, cause=Cause.WORKER_LOST, detail="gone")
    ledger.writer.reopen(ledger.name)
    mirror(ledger, store).deliver()
    second = ledger.begin(entry)
    tell_in_time(ledger, second, 480, 600, 720, loss=2.0)
    ledger.tell(second, rung, Rung(images=960, values={"heldout_v_error": 0.5}), first=3)
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert [(step, loss) for step, loss, _ in store.series(run, "loss")] == [(240, 1.0), (480, 1.0), (624, 1.0), (720, 2.0)]
    assert [step for step, _, _ in store.series(run, "rung/heldout_v_error")] == [480, 960]


def test_a_trial_that_goes_on_is_reopened_and_its_cause_forgotten(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    ledger.writer.fail(entry.trial_id, attempt.number, cause=Cause.BUG, detail="it raised")
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert (run.info.status, run.data.tags["state"], run.data.tags["cause"]) == ("FAILED", "failed", "bug")
    ledger.writer.reopen(ledger.name)
    again = ledger.begin(entry)
    mirror(ledger, store).deliver()
    assert only(store.runs("trial")).info.status == "RUNNING"
    ledger.tell(again, scored(entry, {OBJECTIVE: 1.0}), ended(entry))
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert (run.info.status, run.data.tags["state"], run.data.tags["cause"]) == ("FINISHED", "done", "")


@pytest.mark.parametrize(("outcome", "status"), [("paused", "KILLED"), ("diverged", "FAILED"), ("done", "FINISHED")])
def test_a_trial_s_end_is_its_run_s_status(ledger: LedgerFixture, store: MlflowStore, outcome: str, status: str) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    attempt = ledger.begin(entry)
    scores = [scored(entry, {OBJECTIVE: 1.0})] if outcome == "done" else []
    ledger.tell(attempt, *scores, ended(entry, outcome))  # type: ignore[arg-type]
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert run.info.status == status
    assert run.info.end_time == 1_000_000


def test_arms_that_share_a_trial_but_not_its_evaluation_have_runs_of_their_own(
    ledger: LedgerFixture, store: MlflowStore
) -> None:
    few, many = planned(arm=X, n=32), planned(arm=X, n=64, position=1)
    ledger.plan(few, many)
    attempt = ledger.begin(few)
    tell_in_time(ledger, attempt, 48)
    ledger.tell(attempt, scored(few, {OBJECTIVE: 9.0}), scored(many, {OBJECTIVE: 5.0}), ended(few), first=1)
    mirror(ledger, store).deliver()
    runs = store.runs("trial")
    assert {run.data.params["evaluation.n"]: run.data.metrics[OBJECTIVE] for run in runs} == {"32": 9.0, "64": 5.0}
    assert [len(store.series(run, "loss")) for run in runs] == [1, 1]


def test_a_score_that_another_sweep_made_stands_in_this_sweep_too(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    ledger.tell(ledger.begin(entry), scored(entry, {OBJECTIVE: 3.0}).model_copy(update={"collapsed": True}), ended(entry))
    theirs = LedgerFixture(ledger.engine, name="theirs", owner=BOB)
    theirs.plan(entry)
    mirror(theirs, store).deliver()
    run = only(store.runs("trial"))
    assert run.data.tags["sweep"] == "theirs"
    assert (run.data.tags["cached"], run.data.tags["collapsed"]) == ("true", "true")
    assert run.data.metrics[OBJECTIVE] == 3.0
    assert run.info.status == "FINISHED"


def test_a_smaller_budget_scored_after_a_larger_one_arrives_too(ledger: LedgerFixture, store: MlflowStore) -> None:
    for images, value in ((960, 1.0), (480, 2.0)):
        ledger.train(planned(arm=X, images=images), {OBJECTIVE: value})
        mirror(ledger, store).deliver()
    assert [(step, value) for step, value, _ in store.series(only(store.runs("trial")), OBJECTIVE)] == [(480, 2.0), (960, 1.0)]


def test_the_sample_grid_is_an_artifact_of_its_trial(ledger: LedgerFixture, store: MlflowStore, tmp_path: Path) -> None:
    (tmp_path / "grid.png").write_bytes(b"a picture")
    entry = planned(arm=X)
    ledger.plan(entry)
    report = scored(entry, {OBJECTIVE: 1.0}).model_copy(update={"grid": f"file://{tmp_path}/grid.png"})
    ledger.tell(ledger.begin(entry), report, ended(entry))
    mirror(ledger, store).deliver()
    assert store.files(only(store.runs("trial")), "samples") == {"samples/000000000960.png"}


def test_a_rung_s_pictures_are_artifacts_of_its_trial(ledger: LedgerFixture, store: MlflowStore, tmp_path: Path) -> None:
    (tmp_path / "row.png").write_bytes(b"a picture")
    entry = planned(arm=X)
    ledger.plan(entry)
    rung = Rung(images=480, values={}, pictures={"progress": f"{tmp_path}/row.png", "denoised": f"{tmp_path}/gone.png"})
    ledger.tell(ledger.begin(entry), rung)
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert store.files(run, "progress") == {"progress/000000000480.png"}
    assert store.files(run, "denoised") == set()


def test_a_delivery_that_failed_on_the_way_makes_no_second_run(
    ledger: LedgerFixture, store: MlflowStore, tmp_path: Path
) -> None:
    entry, grid = planned(arm=X), tmp_path / "grid.png"
    grid.mkdir()
    ledger.plan(entry)
    report = scored(entry, {OBJECTIVE: 1.0}).model_copy(update={"grid": f"file://{grid}"})
    ledger.tell(ledger.begin(entry), report, ended(entry))
    view = mirror(ledger, store)
    with pytest.raises(IsADirectoryError):
        view.deliver()
    assert view.undelivered() == len(ledger.events())
    grid.rmdir()
    grid.write_bytes(b"a picture")
    assert view.deliver() == len(ledger.events())
    assert view.undelivered() == 0
    assert only(store.runs("trial")).data.metrics[OBJECTIVE] == 1.0


def told(store: MlflowStore) -> dict[str, tuple[dict[str, float], dict[str, str], str]]:
    """What every trial's run shows, by trial: its last values, parameters and status."""
    runs = store.runs("trial")
    shown = {run.data.tags["trial"]: (run.data.metrics, run.data.params, run.info.status) for run in runs}
    assert len(shown) == len(runs), "a trial has two runs"
    return shown


@pytest.mark.parametrize("kind", ["trial", "sweep"])
@pytest.mark.parametrize("for_good", [False, True])
def test_a_run_that_somebody_deleted_comes_back_whole_and_once(
    ledger: LedgerFixture, store: MlflowStore, kind: str, for_good: bool
) -> None:
    for seed in range(2):
        entry = planned(arm=X, seed=seed, position=seed)
        ledger.plan(entry)
        attempt = ledger.begin(entry)
        ledger.tell(attempt, progress(480), Rung(images=480, values={"heldout_v_error": 1.0}))
        ledger.tell(attempt, scored(entry, {OBJECTIVE: 3.0}), ended(entry), first=2)
    ledger.writer.finish(ledger.name, SweepState.DONE)
    mirror(ledger, store).deliver()
    before, own = told(store), only(store.runs("sweep"))
    run = store.runs(kind)[0]
    store.client.delete_run(run.info.run_id)
    if for_good:
        store.empty_bin(run)
    mirror(ledger, store).deliver()
    assert told(store) == before
    again = only(store.runs("sweep"))
    assert (again.data.metrics, again.data.params) == (own.data.metrics, own.data.params)
    assert store.files(again) == {"sweep.json", "leaderboard.json", "report.html", "report.md"}
    assert {trial.data.tags["mlflow.parentRunId"] for trial in store.runs("trial")} == {again.info.run_id}


def test_a_run_deleted_under_a_running_sweep_comes_back_with_its_next_point(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    attempt, view = ledger.begin(entry), mirror(ledger, store)
    ledger.tell(attempt, progress(480))
    view.deliver()
    store.client.delete_run(only(store.runs("trial")).info.run_id)
    ledger.tell(attempt, progress(960, loss=2.0), first=1)
    with pytest.raises(MlflowException):
        view.deliver()
    view.deliver()
    assert [step for step, *_ in store.series(only(store.runs("trial")), "loss")] == [480, 960]


def test_a_finished_sweep_is_readable_from_its_own_run(ledger: LedgerFixture, store: MlflowStore) -> None:
    for seed, (x, v) in enumerate([(1.0, 4.0), (3.0, 8.0)]):
        ledger.train(planned(arm=X, seed=seed, position=seed), {OBJECTIVE: x})
        ledger.train(planned(arm=V, seed=seed, position=2 + seed), {OBJECTIVE: v})
    ledger.writer.finish(ledger.name, SweepState.DONE)
    mirror(ledger, store).deliver()
    parent = only(store.runs("sweep"))
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics[f"{OBJECTIVE} mean/patch_size-16 prediction-x"] == 2.0
    assert parent.data.metrics[f"{OBJECTIVE} sd/patch_size-16 prediction-v"] == pytest.approx(8**0.5)
    assert parent.data.metrics[f"{OBJECTIVE} n/patch_size-16 prediction-v"] == 2.0
    assert parent.data.metrics["evaluation_share"] == pytest.approx(2 / 13)
    assert store.files(parent) == {"sweep.json", "leaderboard.json", "report.html", "report.md"}
    rows = json.loads((Path(store.client.download_artifacts(parent.info.run_id, "leaderboard.json"))).read_text())["rows"]
    assert [row["cell"]["prediction"] for row in rows] == ["x", "v"]
    described = parent.data.tags["mlflow.note.content"]
    assert described.startswith("Is prediction=v better or worse than prediction=x at patch_size=16?")
    assert "Nothing is decided" in described


def test_the_report_is_written_again_as_scores_come_in_but_not_with_each(ledger: LedgerFixture, store: MlflowStore) -> None:
    def report() -> str:
        return Path(store.client.download_artifacts(only(store.runs("sweep")).info.run_id, "report.md")).read_text()

    view = mirror(ledger, store)
    ledger.train(planned(arm=X), {OBJECTIVE: 1.0})
    view.deliver()
    first = report()
    assert "prediction=v" not in first
    ledger.clock.now += REPORT_EVERY_S - 1
    ledger.train(planned(arm=V, position=1), {OBJECTIVE: 2.0})
    view.deliver()
    assert report() == first
    ledger.clock.now += 1
    ledger.train(planned(arm=V, seed=1, position=2), {OBJECTIVE: 3.0})
    view.deliver()
    assert "prediction=v" in report()


@pytest.mark.parametrize(
    ("state", "status"), [(SweepState.DONE, "FINISHED"), (SweepState.INTERRUPTED, "KILLED"), (SweepState.FAILED, "FAILED")]
)
def test_a_sweep_that_goes_on_is_running_again(
    ledger: LedgerFixture, store: MlflowStore, state: SweepState, status: str
) -> None:
    entry = planned(arm=X)
    ledger.plan(entry)
    ledger.writer.finish(ledger.name, state)
    mirror(ledger, store).deliver()
    assert only(store.runs("sweep")).info.status == status
    ledger.begin(entry)
    mirror(ledger, store).deliver()
    assert only(store.runs("sweep")).info.status == "RUNNING"


def test_a_sweep_of_the_same_name_in_another_ledger_does_not_continue_this_one(
    ledger: LedgerFixture, store: MlflowStore, tmp_path: Path
) -> None:
    ledger.train(planned(arm=X), {OBJECTIVE: 1.0})
    mirror(ledger, store).deliver()
    engine = open_engine(f"sqlite:///{tmp_path / 'other.db'}")
    other = LedgerFixture(engine)
    other.clock.now = 5000.0
    with other.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE sweep SET created_at = 5000.0")
    other.train(planned(arm=X), {OBJECTIVE: 2.0})
    assert mirror(other, store).deliver() == len(other.events())
    assert len(store.runs("sweep")) == 2
    assert [run.data.metrics[OBJECTIVE] for run in store.runs("trial")] == [1.0, 2.0]


def test_more_events_than_a_page_holds_arrive_in_order(ledger: LedgerFixture, store: MlflowStore) -> None:
    entry = planned(arm=X, images=48 * 2000)
    ledger.plan(entry)
    images = range(48, 48 * (PAGE_EVENTS + 50), 48)
    tell_in_time(ledger, ledger.begin(entry), *images)
    assert mirror(ledger, store).deliver() == len(images) + 3
    assert [step for step, _, _ in store.series(only(store.runs("trial")), "loss")] == list(images)


def test_the_thread_delivers_the_rest_when_it_is_closed(ledger: LedgerFixture, store: MlflowStore) -> None:
    ledger.train(planned(arm=X), {OBJECTIVE: 1.0})
    thread = MirrorThread(Mirror(store.uri, ledger.reader, ledger.name, artifacts=store.artifacts))
    thread.start()
    ledger.train(planned(arm=V, position=1), {OBJECTIVE: 2.0})
    assert thread.close(30.0) == 0
    assert [run.data.metrics[OBJECTIVE] for run in store.runs("trial")] == [2.0, 1.0]


def test_an_mlflow_that_does_not_answer_raises_nothing_and_the_events_are_counted(ledger: LedgerFixture) -> None:
    ledger.train(planned(arm=X), {OBJECTIVE: 1.0})
    thread = MirrorThread(Mirror(f"http://127.0.0.1:{closed_port()}", ledger.reader, ledger.name))
    thread.start()
    assert thread.close(1.0) == len(ledger.events())


def closed_port() -> int:
    """A port of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_mlflow_prints_nothing(ledger: LedgerFixture, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ledger.train(planned(arm=X), {OBJECTIVE: 1.0})
    Mirror(
        f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", ledger.reader, ledger.name, artifacts=str(tmp_path / "files")
    ).deliver()
    assert capfd.readouterr() == ("", "")


def test_an_address_where_nothing_answers_is_refused_with_what_was_tried() -> None:
    port = closed_port()
    with pytest.raises(UserError, match=rf"GET http://127.0.0.1:{port}/health within .* refused.*`tracking`"):
        check.check(f"http://127.0.0.1:{port}")


def test_a_refused_address_does_not_show_its_password() -> None:
    with pytest.raises(UserError) as told:
        check.check(f"http://alice:hunter2@127.0.0.1:{closed_port()}")
    assert "hunter2" not in str(told.value)


def test_a_server_that_takes_a_connection_and_says_nothing_is_refused_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(UserError, match="within 0.2 s: timed out"):
            check.check(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)


def test_a_database_server_that_does_not_answer_is_refused_at_once() -> None:
    port = closed_port()
    with pytest.raises(UserError, match=rf"tried a connection to 127.0.0.1:{port} within"):
        check.check(f"postgresql://alice@127.0.0.1:{port}/mlflow")


def test_an_address_of_no_known_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"`tracking` must be .* got /some/folder"):
        check.check("/some/folder")


def test_a_sqlite_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(UserError, match="file that can be written"):
        check.check(f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_links_open_on_the_sweep_ordered_by_its_objective() -> None:
    link = links.sweep_runs("http://h:5/", experiment_id="3", sweep="quick", objective="fid", ascending=True, charts=True)
    assert link == (
        "http://h:5/#/experiments/3/runs?workflowType=machine_learning&searchFilter=tags.sweep%20%3D%20%22quick%22"
        "%20and%20tags.trial%20LIKE%20%22%25%22"  # the trials alone: the sweep's own metrics make no charts
        "&orderByKey=metrics.%60fid%60&orderByAsc=true&compareRunsMode=CHART"
    )


def test_a_trials_run_shows_what_it_was_trained_on_last_and_its_flops_and_gradient(
    ledger: LedgerFixture, store: MlflowStore
) -> None:
    ledger.plan(planned())
    attempt = ledger.begin(planned())
    machine: dict[str, Any] = {"device": "H100", "host": "node-3", "cpus": 12, "cuda": "13.0"}
    phase = Phase(images=0, start="seed", **machine, workers=1, micro_batch=48, activation_checkpointing=False)
    ledger.tell(attempt, phase, phase.model_copy(update={"micro_batch": 24, "start": "checkpoint"}))
    measured = progress(480).model_copy(update={"flops": 10**12, "grad_norm": 0.5})
    ledger.tell(attempt, measured, first=3)
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    expected = {**machine, "start": "checkpoint", "workers": 1, "micro_batch": 24}
    assert {name: run.data.tags[name] for name in expected} == {name: str(value) for name, value in expected.items()}
    assert (run.data.metrics["flops"], run.data.metrics["grad_norm"]) == (1e12, 0.5)
    assert "mfu" not in run.data.metrics


def test_what_a_process_takes_from_its_machine_stands_among_the_system_metrics(
    ledger: LedgerFixture, store: MlflowStore
) -> None:
    ledger.plan(planned())
    attempt = ledger.begin(planned())
    ledger.clock.now = 2000.0
    ledger.tell(attempt, progress(480).model_copy(update={"system": {"process_memory_gib": 1.5}}))
    mirror(ledger, store).deliver()
    assert store.series(only(store.runs("trial")), "system/process_memory_gib") == [(480, 1.5, 2_000_000)]


def test_a_trial_s_run_names_its_last_checkpoint_without_secrets(ledger: LedgerFixture, store: MlflowStore) -> None:
    ledger.plan(planned())
    attempt = ledger.begin(planned())
    ledger.tell(attempt, Committed(images=480, uri="s3://bucket/one"))
    mirror(ledger, store).deliver()
    ledger.tell(attempt, Committed(images=960, uri="s3://me:hunter2@bucket/two"), first=1)
    mirror(ledger, store).deliver()
    tags = only(store.runs("trial")).data.tags
    assert (tags["checkpoint"], tags["checkpoint_images"]) == ("s3://me:***@bucket/two", "960")


def test_a_trial_s_run_says_whether_the_model_scored_last_had_collapsed(ledger: LedgerFixture, store: MlflowStore) -> None:
    short, longer = planned(arm=X, images=480), planned(arm=X, images=960, position=1)
    ledger.plan(short, longer)
    collapsed = scored(short, {OBJECTIVE: 9.0}).model_copy(update={"collapsed": True})
    ledger.tell(ledger.begin(short), collapsed, ended(short))
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert (run.data.tags["collapsed"], run.data.metrics[OBJECTIVE]) == ("true", 9.0)
    ledger.tell(ledger.begin(longer), scored(longer, {OBJECTIVE: 1.0}), ended(longer))
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert (run.data.tags["collapsed"], run.data.metrics[OBJECTIVE]) == ("false", 1.0)


def test_a_configuration_of_more_parameters_than_mlflow_takes_at_once_arrives_whole(
    ledger: LedgerFixture, store: MlflowStore
) -> None:
    entry = planned()
    averages = [{"kind": "decay", "name": f"a{place}", "decay": 0.9} for place in range(40)]
    trial = type(entry.trial).model_validate({**entry.trial.model_dump(), "ema": averages})
    entry = entry.model_copy(update={"trial": trial})
    ledger.train(entry, {OBJECTIVE: 1.0})
    mirror(ledger, store).deliver()
    run = only(store.runs("trial"))
    assert len(run.data.params) > 150
    # The reply to the last of them was lost.
    store.client.delete_tag(run.info.run_id, "jit_sweep.described")
    store.client.set_tag(run.data.tags["mlflow.parentRunId"], "jit_sweep.cursor", "0")
    mirror(ledger, store).deliver()
    assert only(store.runs("trial")).data.params == run.data.params


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ((EntryState.PRUNED,), "KILLED"),
        ((EntryState.HELD,), "SCHEDULED"),
        ((EntryState.PRUNED, EntryState.HELD), "SCHEDULED"),
        ((EntryState.DONE, EntryState.PRUNED), "KILLED"),
        ((EntryState.PRUNED, EntryState.RUNNING), "RUNNING"),
    ],
)
def test_a_run_s_status_is_that_of_the_entry_which_still_goes_on(
    ledger: LedgerFixture, states: tuple[EntryState, ...], status: str
) -> None:
    ledger.plan(planned())
    row = ledger.row(planned())
    assert translation.trial_status([dataclasses.replace(row, state=state) for state in states]) == status
