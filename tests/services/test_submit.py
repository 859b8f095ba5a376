"""Submitting a sweep, short of a cluster: what is refused, what it is called, and how its end is told."""

import asyncio
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.job_submission import JobSubmissionClient

from jit_sweep.errors import UserError
from jit_sweep.home import home_at, on_this_machine
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.submit import cluster_versions, follow, ray_jobs, submit
from jit_sweep.submit.address import Address, check_reachable, parsed_address
from tests.support.paths import TOP
from tests.support.ports import free_ports
from tests.support.sweep_files import tiny_sweep

AWAY = Address(url="http://ray.example:8265", loopback=False)
HERE = Address(url="http://127.0.0.1:8265", loopback=True)
REACHABLE: dict[str, Any] = {
    "storage": "s3://bucket/store",
    "tracking": "http://mlflow.example:5000",
    "ledger": "postgresql://jit@postgres.example/ledger",
}


def spec_of(**changes: Any) -> SweepSpec:
    return SweepSpec.model_validate(tiny_sweep(**changes))


# What is refused before anything is started


@pytest.mark.parametrize(
    "text", ["auto", "127.0.0.1:8265", "ray://127.0.0.1:10001", "http://", "http://host:port", "http://u:p@h:1"]
)
def test_an_address_must_be_the_dashboard_s_url(text: str) -> None:
    with pytest.raises(UserError, match="must be http://HOST:PORT") as refusal:
        parsed_address(text)
    assert "u:p" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("http://127.0.0.1:8265", True),
        ("http://127.8.8.8:8265/", True),
        ("http://localhost:8265", True),
        ("http://[::1]:8265", True),
        ("http://192.0.2.7:8265", False),
        ("https://127.0.0.1.example", False),
    ],
)
def test_only_this_machine_s_own_interface_is_loopback(text: str, loopback: bool) -> None:
    assert parsed_address(text).loopback is loopback


@pytest.mark.parametrize("key", ["storage", "tracking", "ledger"])
def test_a_place_left_to_the_submitter_s_home_is_refused_off_loopback_by_name(key: str) -> None:
    with pytest.raises(UserError, match=f"`{key}` must be") as refusal:
        check_reachable(spec_of(**{**REACHABLE, key: None}), cluster=AWAY.url)
    assert [other for other in REACHABLE if f"`{other}`" in str(refusal.value)] == [key]


@pytest.mark.parametrize(
    ("key", "uri", "reason"),
    [
        ("storage", "store", "a relative path"),
        ("tracking", "sqlite:////shared/mlflow.db", "a sqlite file"),
        ("tracking", "http://localhost:5000", "the loopback interface"),
        ("ledger", "sqlite:///ledger.db", "a sqlite file"),
        ("ledger", "postgresql://jit@127.0.0.1/ledger", "the loopback interface"),
    ],
)
def test_a_local_place_is_refused_off_loopback_with_its_reason(key: str, uri: str, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"`{key}` must be")) as refusal:
        check_reachable(spec_of(**{**REACHABLE, key: uri}), cluster=AWAY.url)
    assert f"got '{uri}' ({reason})" in str(refusal.value)


def test_every_local_place_is_named_at_once() -> None:
    with pytest.raises(UserError) as refusal:
        check_reachable(spec_of(data={"uri": "images.npz"}), cluster=AWAY.url)
    assert all(f"`{key}`" in str(refusal.value) for key in (*REACHABLE, "data.uri"))
    with pytest.raises(UserError, match=r"`data.uri` must be .*, got 'b.tar' \(a relative path\)"):
        check_reachable(spec_of(**REACHABLE, data={"uri": ["s3://bucket/a.tar", "b.tar"]}), cluster=AWAY.url)


def spec_with_files(top: str) -> SweepSpec:
    """A sweep with a network of features, statistics and a teacher in files below a place."""
    teacher = {"weights": f"{top}teacher.pt", "sha256": "0" * 64}
    network = {"kind": "inception", "weights": f"{top}inception.pth"}
    statistics = {"file": f"{top}statistics.npz", "sha256": "0" * 64}
    tree = tiny_sweep(**REACHABLE, data={"uri": "s3://bucket/images.npz"}, objective="heldout_v_error")
    tree["evaluation"] |= {"features": network, "reference": statistics}
    tree["baseline"]["diffusion"] = {"terms": [{"kind": "representation", "weight": 0.5, "teacher": teacher}]}
    return SweepSpec.model_validate(tree)


def test_the_teachers_of_an_autoencoder_are_among_these_files() -> None:
    teacher = {"weights": "nets/teacher.pt", "sha256": "0" * 64}
    terms = {"alignment": {"teacher": teacher}, "perceptual": {"teacher": teacher}}
    tree = tiny_sweep(**REACHABLE, data={"uri": "s3://bucket/images.npz"})
    tree["baseline"] = {"preset": "autoencoder-tiny", "method": terms}
    with pytest.raises(UserError) as refusal:
        check_reachable(SweepSpec.model_validate(tree), cluster=AWAY.url)
    assert [line.split("`")[1] for line in str(refusal.value).splitlines()[1:]] == [
        f"baseline.method.{kind}.teacher.weights" for kind in terms
    ]


def test_files_beside_the_images_are_refused_off_loopback_as_places_are() -> None:
    with pytest.raises(UserError) as refusal:
        check_reachable(spec_with_files("nets/"), cluster=AWAY.url)
    valid = "the URI of a file (s3://BUCKET/FILE), or an absolute path on a file system that all nodes share"
    assert str(refusal.value).splitlines()[1:] == [
        f"  `{key}` must be {valid}, got 'nets/{file}' (a relative path)"
        for key, file in (
            ("evaluation.features.weights", "inception.pth"),
            ("evaluation.reference.file", "statistics.npz"),
            ("baseline.diffusion.terms.teacher.weights", "teacher.pt"),
        )
    ]
    check_reachable(spec_with_files("s3://bucket/"), cluster=AWAY.url)
    check_reachable(spec_with_files("/shared/"), cluster=AWAY.url)


@pytest.mark.parametrize("storage", ["s3://bucket/store", "/shared/store", "file:///shared/store"])
def test_reachable_places_are_accepted_off_loopback(storage: str) -> None:
    check_reachable(spec_of(**{**REACHABLE, "storage": storage}, data={"uri": "s3://bucket/images.npz"}), cluster=AWAY.url)


def test_local_places_are_refused_before_a_cluster_off_loopback_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ray\.example:8265 is not this machine"):
        submit(spec_of(), address=AWAY.url, home=home_at(tmp_path), wait=True, echo=print)


def test_a_port_forwarded_to_another_host_is_no_loopback() -> None:
    elsewhere = {**cluster_versions.versions(), "host": "head-of-a-cluster"}
    with pytest.raises(UserError, match="leads to head-of-a-cluster, which is not this machine"):
        ray_jobs.check_host(elsewhere, spec_of(), url=HERE.url)
    ray_jobs.check_host(elsewhere, spec_of(**REACHABLE), url=HERE.url)
    ray_jobs.check_host(cluster_versions.versions(), spec_of(), url=HERE.url)


@pytest.mark.parametrize("name", ["python", "ray", "torch", "numpy"])
def test_a_differing_version_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError) as refusal:
        ray_jobs.check_same({**cluster_versions.versions(), name: "1.2"}, url=HERE.url)
    assert f"  {name}: 1.2 there, {cluster_versions.versions()[name]} here" in str(refusal.value)
    assert len(re.findall(" there, ", str(refusal.value))) == 1


def test_a_missing_package_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="torch: none there"):
        ray_jobs.check_same({**cluster_versions.versions(), "torch": None}, url=HERE.url)


def test_another_build_of_the_same_torch_is_accepted() -> None:
    assert "+" not in str(cluster_versions.versions()["torch"])
    ray_jobs.check_same(cluster_versions.versions(), url=HERE.url)


def test_a_dead_address_is_refused_with_its_remedy(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with pytest.raises(UserError, match=rf"no Ray cluster answers at http://127\.0\.0\.1:{port} .*refused.*check that"):
        submit(spec_of(), address=f"http://127.0.0.1:{port}", home=home_at(tmp_path), wait=True, echo=print)


def test_an_address_that_never_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_jobs, "ANSWER_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Ray cluster answers at {address} .*timed out"):
            submit(spec_of(), address=address, home=home_at(tmp_path), wait=True, echo=print)


@contextmanager
def web_server() -> Iterator[str]:
    """A web server that is no Ray dashboard."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_is_no_dashboard_is_refused(tmp_path: Path) -> None:
    with web_server() as address, pytest.raises(UserError, match="not as a Ray dashboard"):
        submit(spec_of(), address=address, home=home_at(tmp_path), wait=True, echo=print)


@pytest.mark.parametrize("name", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
def test_an_environment_that_would_redirect_the_submission_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://other.example:8265")
    with pytest.raises(UserError, match=f"`{name}` must be unset or equal to --address"):
        ray_jobs.check_answers(HERE)


@pytest.mark.parametrize("package", ["trainables", "search_spaces"])
def test_somebody_else_s_package_of_our_name_is_refused(package: str, tmp_path: Path) -> None:
    shutil.copytree(TOP / package, tmp_path / package)
    code = "from jit_sweep.submit.package import package_folders; package_folders()"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{TOP}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert f"UserError: `{package}` must be the one of this installation" in done.stderr.replace("jit_sweep.errors.", "")
    assert f"got {tmp_path / package}" in done.stderr


# Names


def submission(target: Address = HERE, place: str = "here", **changes: Any) -> ray_jobs.Submission:
    return ray_jobs.submission_of(spec_of(**changes), target=target, home=home_at(Path(place)))


def test_a_submission_is_named_by_sweep_hash_and_attempt() -> None:
    named = submission()
    assert re.fullmatch(r"tiny-[0-9a-f]{12}-3", named.id(3))
    assert named.attempt(named.id(3)) == 3
    assert [named.attempt(other) for other in (None, "tiny-3", f"x{named.id(3)}", f"{named.id(3)}-1")] == [None] * 4


def test_another_sweep_gets_another_name_and_the_same_one_the_same() -> None:
    others: list[dict[str, Any]] = [
        {"budget": {"images_per_trial": 32}},
        {"name": "other"},
        {"storage": "/elsewhere"},
        {"objective": "heldout_v_error"},
    ]
    names = {submission(**other).prefix for other in others} | {submission().prefix, submission(place="there").prefix}
    assert len(names) == len(others) + 2
    assert submission().prefix == submission().prefix


def test_the_submitter_s_home_counts_only_where_a_place_is_left_to_it() -> None:
    assert submission(place="a", **REACHABLE) == submission(place="b", **REACHABLE)
    assert submission().arguments[1:] == ("--home", str(Path("here").absolute()))


def test_a_job_on_this_machine_gets_absolute_paths_and_the_same_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    spec = spec_of(storage="store", ledger="sqlite:///ledger.db", tracking="http://h:1", data={"uri": "images.npz"})
    placed = on_this_machine(spec)
    assert placed.storage == str(tmp_path / "store")
    assert placed.ledger == f"sqlite:///{tmp_path}/ledger.db"
    assert placed.tracking == "http://h:1"
    assert placed.model_dump()["data"]["uri"] == str(tmp_path / "images.npz")
    assert on_this_machine(placed) == placed


def test_a_sweep_survives_the_journey(tmp_path: Path) -> None:
    stages = [
        {"grid": {"axes": {"patch_size": [16, 4]}, "seeds": 2, "cells": [{"where": {"patch_size": 4}, "seeds": 1}]}},
        {"search": {"from": "best_cell", "trials": 2, "axes": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}}},
    ]
    spec = spec_of(stages=stages, **REACHABLE)
    named = ray_jobs.submission_of(spec, target=AWAY, home=home_at(tmp_path))
    assert SweepSpec.model_validate_json(named.arguments[0]) == spec


@pytest.mark.parametrize(
    ("statuses", "attempt", "state"),
    [
        ((), 1, "new"),
        (("PENDING",), 1, "going"),
        (("RUNNING",), 1, "going"),
        (("SUCCEEDED",), 1, "succeeded"),
        (("FAILED",), 2, "new"),
        (("STOPPED",), 2, "new"),
        (("FAILED", "STOPPED", "RUNNING"), 3, "going"),
        (("FAILED", "SUCCEEDED"), 2, "succeeded"),
        (("FAILED",) * 10, 11, "new"),
    ],
)
def test_a_submission_attaches_resumes_or_rests(
    statuses: tuple[str, ...], attempt: int, state: Literal["new", "going", "succeeded"]
) -> None:
    named = submission()
    found = [job(status, name=named.id(number)) for number, status in enumerate(statuses, start=1)]
    standing = ray_jobs.standing(named, [*found, job("RUNNING", name="tiny-else-7")])
    assert standing == ray_jobs.Standing(attempt=attempt, state=state)


# Following a job


def job(status: str, code: int | None = None, *, name: str = "a-1") -> JobDetails:
    return JobDetails(type="SUBMISSION", status=status, entrypoint="", submission_id=name, driver_exit_code=code)


@pytest.mark.parametrize(
    ("finished", "expected"),
    [
        (job("SUCCEEDED", 0), 0),
        (job("FAILED", 1), 1),
        (job("FAILED", 2), 2),
        (job("FAILED", -9), 137),
        (job("FAILED"), 1),
        (job("STOPPED"), 130),
    ],
)
def test_a_job_s_end_becomes_an_exit_code(finished: JobDetails, expected: int) -> None:
    assert follow.exit_code(finished) == expected


async def chunks(*texts: str, broken: bool = False) -> AsyncIterator[str]:
    for text in texts:
        yield text
    if broken:
        raise RuntimeError("connection closed")


def test_a_broken_log_goes_on_after_the_last_whole_line() -> None:
    shown: list[str] = []
    first = chunks("one\ntw", "o\nRunning entrypoint for job a: secretive\nth", broken=True)
    assert asyncio.run(follow.tail(first, skip=0, echo=shown.append)) == 3
    assert shown == ["one", "two"]
    again = chunks("one\ntwo\nRunning", " entrypoint for job a: secretive\nthree\nlast")
    assert asyncio.run(follow.tail(again, skip=3, echo=shown.append)) == 5
    assert shown == ["one", "two", "three", "last"]


class OneJob(JobSubmissionClient):  # type: ignore[misc]  # ray has no types here
    """A cluster's list of jobs, of which one may be there: it ends by itself without an answer, or when it is stopped."""

    def __init__(self, status: str, code: int | None = None, message: str | None = None) -> None:
        self.status, self.code, self.message, self.listed = status, code, message, False

    def submit_job(self, **_: Any) -> str:
        self.listed = True
        return "asked"

    def get_job_info(self, job_id: str) -> JobDetails:
        return job(self.status, self.code, name=job_id).model_copy(update={"message": self.message})

    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        return chunks("trial a: 960 images\n")

    def get_job_logs(self, job_id: str) -> str:
        return f"{job_id}: no such program"

    def stop_job(self, job_id: str) -> bool:
        self.status = "STOPPED"
        return bool(job_id)

    def delete_job(self, job_id: str) -> bool:
        if self.status == "RUNNING":
            raise RuntimeError(f"{job_id} must have ended")
        self.listed = False
        return True


@pytest.mark.parametrize(
    ("status", "said"),
    [("FAILED", "cannot be asked for its versions .*no such program"), ("RUNNING", "must run a small job within")],
)
def test_a_job_that_does_not_say_its_versions_leaves_ray_s_list_too(
    status: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "CHECK_TIMEOUT_S", 0.0)
    monkeypatch.setattr(ray_jobs, "SEEN_S", 0.0)
    cluster = OneJob(status)
    with pytest.raises(UserError, match=said), ray_jobs._cluster_versions(cluster):
        pass
    assert not cluster.listed


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (-9, "exit code -9, last logs: ...", "a-1 was ended by SIGKILL without a last word: by somebody, or by its host"),
        (-64, None, "a-1 was ended by SIGRTMAX without a last word: by somebody, or by its host"),
        (-99, None, "a-1 was ended by signal 99 without a last word: by somebody, or by its host"),
        (None, "The actor died.\n", "Ray lost a-1, and says: The actor died."),
        (None, None, "Ray lost a-1, and says: no reason"),
    ],
)
def test_a_job_that_ends_without_a_last_word_is_told_by_name_with_the_remedy(
    code: int | None, message: str | None, said: str
) -> None:
    told: list[str] = []
    assert follow.follow(OneJob("FAILED", code, message), "a-1", url="http://head", echo=told.append) != 0
    assert told[:2] == ["trial a: 960 images", "a-1 failed"]
    why, remedy = told[2].split("\n")
    assert why.startswith(said)
    assert remedy == "submit the sweep again: the next attempt goes on from what its trials have committed"


@pytest.mark.parametrize(
    ("status", "code"), [("FAILED", 1), ("FAILED", 130), ("SUCCEEDED", 0), ("STOPPED", None), ("STOPPED", -9)]
)
def test_a_job_that_said_how_it_ended_or_was_stopped_is_not_explained(status: str, code: int | None) -> None:
    assert follow.silent_end(job(status, code)) == ""
