"""A real sweep through Ray, MLflow and the ledger, as a user runs it."""

import json
import signal
import subprocess
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from pydantic import TypeAdapter

from jit_sweep.doctor.replay import every_event, judged, replayed
from jit_sweep.ledger.connect import open_engine
from jit_sweep.ledger.event_records import EventKind
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, EntryState
from jit_sweep.spec.read import read_spec
from jit_sweep.spec.schedulers import SchedulerSpec
from tests.support.cli import Running, jit_sweep, rows_of
from tests.support.ray_head import Head
from tests.support.sweep_files import tiny_sweep, write_sweep_of_few_images
from trainables.assignment import Assignment
from trainables.config.trial import TrialConfig
from trainables.storage.checkpoint import Store
from trainables.train import train

LEARNING_RATES = [1e-3, 1e30]
COLLAPSED = ("--force", "so few images teach nothing")
"""What `promote` needs here."""
ONE_TRIAL = [{"grid": {"axes": {"prediction": ["x"]}, "seeds": 1}}]
LONG = {"budget": {"images_per_trial": 9_600, "rungs": 12}, "evaluation": {"n": 8, "sampler": "euler", "steps": 2}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a sweep of two stages has run: a grid with two seeds and one arm that diverges, then a search."""
    folder = tmp_path_factory.mktemp("finished")
    grid = {"axes": {"learning_rate": LEARNING_RATES, "prediction": ["x"]}, "seeds": 2}
    search = {
        "from": "best_cell",
        "trials": 2,
        "axes": {"t_sampling": ["logit_normal", "uniform"], "t_mu": {"low": -1.0, "high": 0.0}},
    }
    file = write_sweep_of_few_images(
        folder, stages=[{"grid": grid}, {"search": search}], budget={"images_per_trial": 64, "rungs": 2}
    )
    done = jit_sweep("run", file, cwd=folder)
    (folder / "said.txt").write_text(done.stdout)
    assert (done.returncode, "2 diverged" in done.stdout) == (1, True), done.stdout + done.stderr
    return folder


def run_on(head: Head, file: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A run on the session's head: where a claim is not about the cluster, starting one more only takes time."""
    return jit_sweep("run", file, "--address", head.address, cwd=cwd, **head.client_env)


def rows(folder: Path) -> list[dict[str, Any]]:
    return rows_of("leaderboard", "tiny", cwd=folder)


def test_a_sweep_scores_every_trial_that_can_be_scored_and_names_the_others(finished: Path) -> None:
    arms = {row["cell"]["learning_rate"]: row for row in rows(finished) if row["kind"] == "arm"}
    assert arms[1e-3]["scored"] == 2
    assert arms[1e-3]["metrics"]["fd_efflite0_96"]["n"] == 2
    assert arms[1e30]["diverged"] == 2
    assert arms[1e30]["metrics"] == {}
    assert all(trial["first_bad_step"] >= 1 for trial in arms[1e30]["trials"])


def test_a_search_proposes_its_trials_from_the_best_cell_and_stands_in_a_table_of_its_own(finished: Path) -> None:
    searched = [row for row in rows(finished) if row["kind"] == "search"]
    assert len(searched) == 2
    assert all(("t_mu" in row["cell"]) == (row["cell"]["t_sampling"] == "logit_normal") for row in searched)
    reader = LedgerReader(open_engine(f"sqlite:///{finished}/.jit-sweep/ledger.db"))
    assert {row.trial.optimiser.learning_rate for row in reader.entries("tiny") if row.origin == "search"} == {1e-3}


def test_the_end_shows_tables_pictures_and_the_next_commands(finished: Path) -> None:
    said = (finished / "said.txt").read_text()
    for part in (
        "held-out real images",
        "search trials",
        "2 diverged",
        "2 collapsed",
        "white images",
        "tiny-report.html",
        "jit-sweep ui tiny",
    ):
        assert part in said
    assert "promote" not in said  # so few images teach nothing
    page = (finished / ".jit-sweep" / "store" / "tiny-report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "data:image/webp;base64," in page
    assert "Traceback" not in said


def test_a_second_run_prints_the_same_result_and_starts_nothing(finished: Path) -> None:
    before = rows(finished)
    done = jit_sweep("run", "sweep.yaml", cwd=finished)
    assert done.returncode == 1
    assert "attempt" not in done.stdout
    assert rows(finished) == before


def test_a_changed_baseline_under_the_same_name_is_refused_with_what_changed(finished: Path, tmp_path: Path) -> None:
    file = write_sweep_of_few_images(tmp_path, evaluation={"n": 16})
    done = jit_sweep("run", file, "--home", str(finished / ".jit-sweep"), cwd=tmp_path)
    assert done.returncode == 2
    assert "evaluation.n" in done.stderr
    assert "rename the sweep" in done.stderr


def test_a_trial_in_a_warm_lane_equals_the_same_trial_in_this_process_bit_for_bit(finished: Path, tmp_path: Path) -> None:
    reader = LedgerReader(open_engine(f"sqlite:///{finished}/.jit-sweep/ledger.db"))
    entry = [row for row in reader.entries("tiny") if row.arm.get("learning_rate") == 1e-3][-1]
    lane = next(row.lane for row in reader.attempts("tiny") if row.trial_id == entry.trial_id)
    assert sum(row.lane == lane for row in reader.attempts("tiny")) > 1
    train_here(finished, entry, storage=tmp_path)
    assert_same_weights(finished / ".jit-sweep" / "store", tmp_path, entry.trial, entry.images)


def train_here(folder: Path, entry: EntryRow, *, storage: Path) -> None:
    """Train an entry of a folder's sweep in this process, from its seed and in one go, on one thread as a lane has."""
    data = read_spec(str(folder / "sweep.yaml")).data
    work = Assignment(
        trial=entry.trial,
        images=entry.images,
        evaluations=(),
        data=data.address,
        holdout=data.holdout,
        storage=str(storage),
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    list(train(work))
    torch.set_num_threads(before)


def test_a_lane_of_two_workers_trains_what_a_lane_of_one_does_but_for_rounding(
    finished: Path, tmp_path: Path, head: Head
) -> None:
    workers = 2
    grid = {"axes": {"learning_rate": LEARNING_RATES[:1], "prediction": ["x"]}, "seeds": 1}
    resources = {"workers": workers, "cpus": 0.5, "memory_gib": 1.0, "micro_batch": 1, "activation_checkpointing": True}
    file = write_sweep_of_few_images(
        tmp_path, stages=[{"grid": grid}], budget={"images_per_trial": 64, "rungs": 2}, resources=resources
    )
    done = run_on(head, file, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    reader = LedgerReader(open_engine(f"sqlite:///{tmp_path}/.jit-sweep/ledger.db"))
    trial = reader.entries("tiny")[0].trial
    phases = [event.data for event in reader.events_since("tiny", 0, limit=1000) if event.kind is EventKind.PHASE]
    told = [(phase["workers"], phase["micro_batch"], phase["activation_checkpointing"]) for phase in phases]
    assert told == [(workers, 1, True)]
    one, several = (Store(str(folder / ".jit-sweep" / "store")) for folder in (finished, tmp_path))
    commits = [store.latest(trial.id, most_images=64) for store in (one, several)]
    assert commits[0] is not None
    assert commits[1] is not None
    alone, together = one.read(commits[0]).tensors["model"], several.read(commits[1]).tensors["model"]
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=1e-5, msg=f"{name}: {{}}".format)


def assert_same_weights(a: Path, b: Path, trial: TrialConfig, images: int) -> None:
    both = []
    for store in (Store(str(a)), Store(str(b))):
        commit = store.latest(trial.id, most_images=images)
        assert commit is not None
        assert commit.images == images
        both.append(store.read(commit).tensors)
    for part in ("model", "ema", "optimiser"):
        assert both[0][part].keys() == both[1][part].keys()
        assert all(torch.equal(tensor, both[1][part][name]) for name, tensor in both[0][part].items())


def test_status_tells_how_every_trial_stands(finished: Path) -> None:
    states = [row["state"] for row in rows_of("status", "tiny", cwd=finished)]
    assert sorted(states) == ["diverged"] * 2 + ["done"] * 4
    assert [row["name"] for row in rows_of("status", cwd=finished)] == ["tiny"]


def test_promote_retrains_on_fresh_seeds_and_what_it_registers_can_be_sampled_and_exported(finished: Path, head: Head) -> None:
    trial = next(row["trial"] for row in rows(finished) if row["kind"] == "search")
    asked = ("promote", "tiny", "--name", "faces", "--trial", trial, "--yes", "--address", head.address)
    refused, forced = (rows_of(*asked, *more, cwd=finished, **head.client_env)[0] for more in ((), COLLAPSED))
    assert (refused["promoted"], refused["version"]) == (False, None)
    assert [gate["name"] for gate in refused["gates"]] == ["lost seeds"]  # and so nothing was trained for it
    assert (forced["promoted"], forced["version"], len(forced["score"]["by_seed"])) == (True, 1, 3)
    assert "collapse" in [gate["name"] for gate in forced["gates"] if not gate["holds"]]
    assert jit_sweep("sample", "faces", "--out", "faces.png", "--n", "4", cwd=finished).returncode == 0
    assert (finished / "faces.png").read_bytes().startswith(b"\x89PNG")
    assert jit_sweep("export", "faces", "faces", cwd=finished).returncode == 0
    files = {path.name for path in (finished / "faces").iterdir()}
    assert files == {"model.safetensors", "config.json", "scores.json", "lineage.json", "README.md"}
    lineage = json.loads((finished / "faces" / "lineage.json").read_text())
    assert (lineage["chosen_in"], lineage["forced"]) == ("tiny", COLLAPSED[1])


def test_promote_to_a_cluster_s_jobs_retrains_there_and_registers_here(finished: Path, head: Head) -> None:
    trial = next(row["trials"][0]["trial"] for row in rows(finished) if row["kind"] == "arm" and not row["diverged"])
    asked = ("promote", "tiny", "--name", "sent", "--trial", trial, "--yes", "--address", head.url, *COLLAPSED)
    [sent] = rows_of(*asked, cwd=finished, **head.client_env)
    assert (sent["promoted"], sent["version"], len(sent["score"]["by_seed"])) == (True, 1, 3)
    [job] = head.jobs(f"{sent['retraining']}-").values()
    assert job["status"] == "SUCCEEDED"
    listed = json.loads(jit_sweep("models", "--json", cwd=finished).stdout)["rows"]
    assert ("sent", ["champion"]) in [(row["model"], row["aliases"]) for row in listed]


def test_ui_serves_mlflow_with_a_link_that_opens_on_the_sweep_and_ends_when_interrupted(finished: Path) -> None:
    with Running("ui", "tiny", "--port", "0", cwd=finished) as command:
        command.until(lambda said: "Ctrl-C ends it" in said)
        assert "tags.sweep%20%3D%20%22tiny%22" in command.said
        address = command.said.split("MLflow: ")[1].split()[0]
        with urllib.request.urlopen(f"{address}/health", timeout=10) as answer:
            assert answer.read() == b"OK"
        assert command.end(signal.SIGINT) == 0


def begun(said: str) -> int:
    """How many trials have reached a rung."""
    return len({line.split()[1] for line in said.splitlines() if " images, heldout_v_error" in line})


def test_a_sweep_whose_every_process_is_terminated_saves_and_the_same_command_goes_on_to_the_same_weights(
    tmp_path: Path,
) -> None:
    """As by `scancel` and systemd, which ask all processes of a control group at once; `timeout` asks a process group."""
    file = write_sweep_of_few_images(tmp_path, **LONG, stages=ONE_TRIAL)
    with Running("run", file, cwd=tmp_path) as command:
        command.until(lambda said: begun(said) == 1)
        rays = psutil.Process(command.process.pid).children(recursive=True)
        assert {"raylet", "gcs_server"} <= {process.name() for process in rays}
        for process in rays:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
        assert command.end(signal.SIGTERM) == 130
        assert not psutil.wait_procs(rays, timeout=30)[1]
        assert_paused(tmp_path, command)
    resumed = jit_sweep("run", file, cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    reader = LedgerReader(open_engine(f"sqlite:///{tmp_path}/.jit-sweep/ledger.db"))
    entry = reader.entries("tiny")[0]
    train_here(tmp_path, entry, storage=tmp_path / "whole")
    assert_same_weights(tmp_path / ".jit-sweep" / "store", tmp_path / "whole", entry.trial, entry.images)


@pytest.mark.parametrize("how", ["SIGINT", "stop"])
def test_an_interrupted_and_a_stopped_sweep_save_as_a_terminated_one_does(tmp_path: Path, head: Head, how: str) -> None:
    file = write_sweep_of_few_images(tmp_path, **LONG, stages=ONE_TRIAL)
    with Running("run", file, "--address", head.address, cwd=tmp_path, env=head.client_env) as command:
        command.until(lambda said: begun(said) == 1)
        if how == "SIGINT":
            assert command.end(signal.SIGINT) == 130
        else:
            asked = jit_sweep("stop", "tiny", cwd=tmp_path)
            assert "running its file again goes on with it" in asked.stdout, asked.stdout + asked.stderr
            assert command.wait() == 130
            assert "nobody runs it" in jit_sweep("stop", "tiny", cwd=tmp_path).stdout
        assert_paused(tmp_path, command)


def assert_paused(folder: Path, command: Running) -> None:
    assert "\nnext:\n  jit-sweep run " in command.said
    stopped = rows_of("status", "tiny", cwd=folder)
    assert {row["state"] for row in stopped} == {"paused"}
    assert all(0 < row["images_done"] < row["images"] for row in stopped)


def test_arms_wait_for_each_other_and_the_promoted_one_ends_as_if_it_had_never_waited(tmp_path: Path, head: Head) -> None:
    scheduler = {"kind": "promotion", "first_rung": {"images": 16}, "reduction": 2, "s_train": 0.0}
    grid = {"axes": {"learning_rate": [2e-3, 1e-4, 1e-3, 1e30]}, "contrasts": []}
    budget = {"images_per_trial": 64}
    resources = {"cpus": 1, "concurrent": 1}
    file = write_sweep_of_few_images(tmp_path, stages=[{"grid": grid}], scheduler=scheduler, budget=budget, resources=resources)
    done = run_on(head, file, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr  # one diverges
    assert "stopped early" in done.stdout
    reader = LedgerReader(open_engine(f"sqlite:///{tmp_path}/.jit-sweep/ledger.db"))
    entries = reader.entries("tiny")
    assert sorted(str(row.state) for row in entries) == ["diverged", "done", "pruned", "pruned"]
    (best,) = (row for row in entries if row.state is EntryState.DONE)
    assert best.attempt is not None
    assert best.attempt.number > 1, "the first to come waits for others to be compared with"
    train_here(tmp_path, best, storage=tmp_path / "whole")
    assert_same_weights(tmp_path / ".jit-sweep" / "store", tmp_path / "whole", best.trial, best.images)
    pruned = next(row for row in entries if row.state is EntryState.PRUNED)
    assert (
        f"was stopped early: place {pruned.why.split()[1]} of"
        in jit_sweep("status", "tiny", "--why", pruned.trial_id, cwd=tmp_path).stdout
    )
    events = every_event(reader, "tiny")
    assert replayed(events, TypeAdapter(SchedulerSpec).validate_python(scheduler)) == judged(events)


def test_two_sweeps_on_one_cluster_train_what_both_want_once_and_nothing_else_of_each_other_s(
    tmp_path: Path, head: Head
) -> None:
    home = str(tmp_path / "home")
    rates = {"one": [1e-3, 2e-3], "two": [1e-3, 3e-3]}
    files = {}
    for name, learning_rates in rates.items():
        stages = [{"grid": {"axes": {"prediction": ["x"], "learning_rate": learning_rates}, "seeds": 1}}]
        budget = {"images_per_trial": 64, "rungs": 2}
        files[name] = write_sweep_of_few_images(tmp_path, name=name, stages=stages, budget=budget)
        files[name] = str(Path(files[name]).rename(tmp_path / f"{name}.yaml"))
    with ExitStack() as stack:
        options = ("--address", head.address, "--home", home)
        both = [
            stack.enter_context(Running("run", file, *options, cwd=tmp_path, env=head.client_env)) for file in files.values()
        ]
        assert [command.wait() for command in both] == [0, 0], [command.said for command in both]
    reader = LedgerReader(open_engine(f"sqlite:///{home}/ledger.db"))
    rows = {name: {row.trial.optimiser.learning_rate: row for row in reader.entries(name)} for name in rates}
    assert {name: sorted(found) for name, found in rows.items()} == rates
    assert rows["one"][1e-3].trial_id == rows["two"][1e-3].trial_id
    attempts = [attempt for name in rates for attempt in reader.attempts(name)]
    trained = [row.trial_id for found in rows.values() for row in found.values()]
    assert sorted(attempt.trial_id for attempt in attempts) == sorted(set(trained))
    assert {attempt.outcome for attempt in attempts} == {"done"}


MISSING_PARENT = {"baseline": {**tiny_sweep()["baseline"], "parent": {"trial": "0" * 12, "images": 8}}}
NO_MEMORY = {"resources": {"workers": 1, "cpus": 1, "memory_gib": 1e-4}}


@pytest.mark.parametrize(
    ("changes", "cause", "begins"),
    [
        (MISSING_PARENT, "data_error", "`parent` must have a checkpoint at 8 images"),
        (NO_MEMORY, "infeasible", "one image must fit a worker's memory"),
    ],
    ids=["missing parent", "no memory"],
)
def test_a_trial_that_fails_before_its_first_report_fails_alone_and_says_why(
    tmp_path: Path, head: Head, changes: dict[str, Any], cause: str, begins: str
) -> None:
    done = run_on(head, write_sweep_of_few_images(tmp_path, stages=ONE_TRIAL, **changes), cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "0 of 1 (1 failed)" in done.stdout
    assert {row["cause"] for row in rows_of("status", "tiny", cwd=tmp_path)} == {cause}
    [detail] = {row["detail"] for row in rows_of("status", "tiny", cwd=tmp_path)}
    assert detail.startswith(begins)


def test_a_second_interrupt_ends_the_command_at_once(tmp_path: Path) -> None:
    with Running("run", write_sweep_of_few_images(tmp_path, **LONG, stages=ONE_TRIAL), cwd=tmp_path) as command:
        command.until(lambda said: begun(said) == 1)
        command.process.send_signal(signal.SIGINT)
        command.until(lambda said: "interrupt again to end at once" in said)
        assert command.end(signal.SIGINT) == 130
        assert "interrupted; " not in command.said
