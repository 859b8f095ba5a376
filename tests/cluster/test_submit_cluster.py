"""Submitting to a real cluster: one job a sweep, whatever is typed twice or interrupted, and no secret in it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from jit_sweep.errors import UserError
from jit_sweep.submit import ray_jobs
from jit_sweep.submit.address import Address
from tests.support.cli import DEADLINE_S
from tests.support.ports import free_ports
from tests.support.ray_head import Head, running_head
from tests.support.sources import Drawn, write_folder
from tests.support.sweep_files import write_sweep, write_sweep_of_few_images

ONE_TRIAL = [{"grid": {"axes": {"prediction": ["x"]}, "seeds": 1}}]


@dataclass(frozen=True)
class Submitter:
    """Where somebody submits from: a home, and an environment with the cluster's token and a secret of their own."""

    head: Head
    folder: Path
    secret: str = "planted-4711-secret"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def command(self, file: str, *options: str) -> list[str]:
        program = [sys.executable, "-P", "-m", "jit_sweep", "submit", file]
        return [*program, "--address", self.head.url, "--home", str(self.home), *options]

    def environment(self, **changes: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        secrets = {"AWS_SECRET_ACCESS_KEY": self.secret, "PGPASSWORD": self.secret, "MLFLOW_TRACKING_PASSWORD": self.secret}
        return {**kept, **secrets, **self.head.client_env, "HOME": str(self.folder), **changes}

    def submit(self, file: str, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(file, *options),
            env=self.environment(**changes),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def python(self, code: str) -> str:
        """What a program prints that is let into the cluster."""
        program = [sys.executable, "-P", "-c", code]
        done = subprocess.run(
            program, env=self.environment(), cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, file: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(file, *options), env=self.environment(), cwd=self.folder, stdout=subprocess.PIPE, text=True
        )


@pytest.fixture
def submitter(head: Head, tmp_path: Path) -> Submitter:
    return Submitter(head=head, folder=tmp_path)


def states(head: Head, name: str) -> dict[str, str]:
    """The state of each attempt of a sweep, by its number."""
    return {key.rpartition("-")[2]: found["status"] for key, found in head.jobs(f"{name}-").items()}


def test_a_submitted_sweep_runs_to_its_end_once(submitter: Submitter) -> None:
    data = {"uri": write_folder(submitter.folder / "photos", Drawn(96, size=32)), "holdout": 16}
    file = write_sweep(submitter.folder, name="submitted", stages=ONE_TRIAL, data=data)
    first = submitter.submit(file)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "prepared 96 images of 32 px, 3 classes" in first.stdout
    assert "scored fd_efflite0_96" in first.stdout
    assert states(submitter.head, "submitted") == {"1": "SUCCEEDED"}
    again = submitter.submit(file, "--json")
    assert (again.returncode, states(submitter.head, "submitted")) == (0, {"1": "SUCCEEDED"})
    assert "has already succeeded" in again.stderr
    row = json.loads(again.stdout)["rows"][0]
    assert (row["job"].startswith("submitted-"), row["followed"], row["exit_code"]) == (True, False, 0)

    assert submitter.head.jobs("raysubmit_") == {}  # of the small jobs that asked for the cluster's versions
    (job_seen,) = submitter.head.jobs("submitted-").values()
    assert submitter.secret not in str(submitter.head.call("/api/jobs/"))
    assert len(job_seen["runtime_env"]["py_modules"]) == 3
    assert job_seen["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
    assert job_seen["entrypoint"].startswith(f"exec {sys.executable} -P ")


@pytest.mark.timeout(1200)
@pytest.mark.long
def test_a_stopped_sweep_is_one_job_for_all_who_submit_it_and_the_next_attempt_resumes(submitter: Submitter) -> None:
    budget = {"images_per_trial": 12_000, "rungs": 8}
    file = write_sweep_of_few_images(submitter.folder, name="stopped", stages=ONE_TRIAL, budget=budget)
    both = [submitter.start(file, "--no-wait") for _ in range(2)]
    assert [each.wait(DEADLINE_S) for each in both] == [0, 0]
    assert list(states(submitter.head, "stopped")) == ["1"]

    follower = submitter.start(file)
    assert follower.stdout is not None
    lines = iter(follower.stdout)
    assert "attached to stopped-" in next(lines)
    next(line for line in lines if " images, " in line)
    submitter.python(f"from jit_sweep.submit import stop_jobs; stop_jobs('stopped', address={submitter.head.url!r})")
    rest = "".join(lines)
    assert follower.wait(DEADLINE_S) == 130
    assert states(submitter.head, "stopped") == {"1": "STOPPED"}
    assert "paused" in rest, rest

    resumed = submitter.submit(file)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert states(submitter.head, "stopped") == {"1": "STOPPED", "2": "SUCCEEDED"}
    assert "attempt 2 begins" in resumed.stdout


def test_a_killed_run_is_told_by_name_with_the_remedy(submitter: Submitter) -> None:
    follower = submitter.start(write_sweep_of_few_images(submitter.folder, name="killed", stages=ONE_TRIAL))
    assert follower.stdout is not None
    lines = iter(follower.stdout)
    next(line for line in lines if "connecting to Ray" in line)
    (run,) = (each for each in submitter.head.processes() if "jit_sweep.cli.job" in each.cmdline()[:5])
    run.kill()
    rest = "".join(lines)
    assert follower.wait(DEADLINE_S) == 137
    assert "killed-" in rest
    assert " was ended by SIGKILL without a last word" in rest
    assert "submit the sweep again" in rest
    assert states(submitter.head, "killed") == {"1": "FAILED"}


def test_what_a_cluster_has_free_can_be_asked(submitter: Submitter) -> None:
    ask = f"from jit_sweep.executor.cluster import free_resources; print(free_resources({submitter.head.address!r}))"
    assert submitter.python(ask).strip().splitlines()[-1] == "Free(cpus=2.0, gpus=0.0)"


def test_a_failed_run_s_exit_code_is_mirrored(submitter: Submitter) -> None:
    (port,) = free_ports(1)
    file = write_sweep(submitter.folder, name="failed", tracking=f"http://127.0.0.1:{port}")
    done = submitter.submit(file)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"127.0.0.1:{port}" in done.stdout
    assert states(submitter.head, "failed") == {"1": "FAILED"}


@pytest.mark.parametrize("changes", [{"RAY_AUTH_TOKEN": "f" * 32}, {"RAY_AUTH_MODE": "disabled"}], ids=["wrong", "none"])
def test_a_submission_without_the_cluster_s_token_is_refused(submitter: Submitter, changes: dict[str, str]) -> None:
    done = submitter.submit(write_sweep(submitter.folder, name="refused"), **changes)
    assert done.returncode == 2
    assert "set RAY_AUTH_MODE=token" in done.stderr
    assert "Traceback" not in done.stderr
    assert submitter.head.jobs("refused-") == {}


def test_a_bad_sweep_is_refused_before_the_cluster_is_asked(submitter: Submitter) -> None:
    done = submitter.submit(write_sweep(submitter.folder, name="refused", objective="nothing"))
    assert (done.returncode, submitter.head.jobs("refused-")) == (2, {})
    assert "`objective`" in done.stderr


def test_an_open_cluster_is_refused_off_loopback_and_a_guarded_one_is_not(head: Head) -> None:
    with running_head(token=False) as open_head:
        ray_jobs.check_answers(Address(url=open_head.url, loopback=True))
        with pytest.raises(UserError, match="must ask for a token"):
            ray_jobs.check_answers(Address(url=open_head.url, loopback=False))
    ray_jobs.check_answers(Address(url=head.url, loopback=False))
