"""Handing a sweep to a Ray cluster as a job, through Ray's Jobs API: attach to it, follow it, mirror its end, stop it.

A submission is named by the sweep, the hash of what it resolves to, and an attempt. Only one job can carry that name, so
submitting twice attaches, and submitting again after a failure takes the next attempt, which resumes from the ledger.
"""

import json
import logging
import os
import re
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import requests
from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

from jit_sweep.errors import UserError
from jit_sweep.home import LOCATIONS, Home, on_this_machine
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.submit import cluster_versions
from jit_sweep.submit.address import Address, check_reachable, parsed_address
from jit_sweep.submit.follow import follow
from jit_sweep.submit.package import copy_source, package_folders
from trainables.config.fields import content_hash
from trainables.report import ExitCode

ANSWER_TIMEOUT_S = 10.0
CHECK_TIMEOUT_S = 120.0
SEEN_S = 4.0
"""Within which a head sees that a job has ended: it looks every second, and once more for the job's process."""
MOST_SPEC_BYTES = 100_000
"""Linux takes 128 KiB as one argument of a command."""

STOP_ENVIRONMENT = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "60"}
"""What makes stopping the job clean: the signal that commits checkpoints, and time for a step and an upload."""

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Submission:
    """One sweep as it goes to one cluster."""

    spec: SweepSpec
    arguments: tuple[str, ...]
    """Of the job's command: the sweep as one line of JSON, and options of the run."""
    prefix: str
    """Of every attempt's name."""

    def id(self, attempt: int) -> str:
        return f"{self.prefix}-{attempt}"

    def attempt(self, submission_id: str | None) -> int | None:
        """The attempt that a job's name stands for; None: another submission's."""
        match = re.fullmatch(rf"{re.escape(self.prefix)}-(\d+)", submission_id or "")
        return int(match[1]) if match else None


@dataclass(frozen=True)
class Standing:
    """Where a submission stands on a cluster."""

    attempt: int
    state: Literal["new", "going", "succeeded"]


@dataclass(frozen=True)
class Sent:
    """A sweep on a cluster."""

    job: str
    cluster: str
    """The address of its dashboard."""
    followed: bool
    """To its end, or until an interrupt."""
    exit_code: int
    """Of the run where it was followed; 0 where it was not, or had succeeded before."""


def submit(spec: SweepSpec, *, address: str, home: Home, wait: bool, echo: Echo) -> Sent:
    """Run a sweep as a job of a cluster, and follow it to its end unless `wait` is False.

    `home` serves the locations that the sweep leaves open, on a cluster on this machine only.
    UserError: the cluster cannot be reached or used, or cannot reach what the sweep names; nothing has been started.
    """
    target = parsed_address(address)
    if not target.loopback:
        check_reachable(spec, cluster=target.url)
    package_folders()
    submission = submission_of(spec, target=target, home=home)
    _quieten_ray()
    with explained(target):
        check_answers(target)
        client = JobSubmissionClient(target.url)
        current = standing(submission, client.list_jobs())
        sent = Sent(submission.id(current.attempt), target.url, followed=False, exit_code=ExitCode.DONE)
        if current.state == "succeeded":
            echo(f"{sent.job} has already succeeded on {target.url}; nothing to do")
            return sent
        if current.state == "going":
            echo(f"attached to {sent.job} on {target.url}")
        else:
            _start(client, submission, sent.job, attempt=current.attempt, echo=echo)
        code = follow(client, sent.job, url=target.url, echo=echo) if wait else ExitCode.DONE
    return replace(sent, followed=wait, exit_code=code)


def stop_jobs(sweep: str, *, address: str) -> None:
    """Signal every job that runs a sweep; it saves its trials. UserError: no cluster answers, or none of its jobs runs it."""
    target = parsed_address(address)
    with explained(target):
        check_answers(target)
        client = JobSubmissionClient(target.url)
        running = [
            job.submission_id
            for job in client.list_jobs()
            if job.submission_id and (job.metadata or {}).get("sweep") == sweep and not job.status.is_terminal()
        ]
        if not running:
            raise UserError(f"no job on {target.url} runs the sweep {sweep!r}; give the cluster that it was submitted to")
        for job_id in running:
            client.stop_job(job_id)


def submission_of(spec: SweepSpec, *, target: Address, home: Home) -> Submission:
    """Name a sweep's submission. Its paths and home count only where the cluster is this machine."""
    options: tuple[str, ...] = ()
    if target.loopback:
        spec = on_this_machine(spec)
        if any(getattr(spec, key) is None for key in LOCATIONS):
            options = ("--home", str(home.path))
    text = spec.model_dump_json(by_alias=True)
    if len(text.encode()) > MOST_SPEC_BYTES:
        raise UserError(
            f"a submitted sweep must take at most {MOST_SPEC_BYTES} bytes as JSON, got {len(text.encode())}; split it"
        )
    recipe = spec.baseline.recipe().model_dump(mode="json")
    digest = content_hash({"spec": text, "baseline": recipe, "options": options})
    return Submission(spec=spec, arguments=(text, *options), prefix=f"{spec.name}-{digest}")


def check_answers(target: Address) -> None:
    """Refuse a silent address, something that is no Ray dashboard, and an open cluster off loopback. UserError."""
    _check_no_override(target)
    answer = requests.get(f"{target.url}/api/jobs/", timeout=ANSWER_TIMEOUT_S, allow_redirects=False)
    if answer.status_code not in (200, 401, 403):
        raise UserError(
            f"{target.url} answers, but not as a Ray dashboard (HTTP {answer.status_code}); give the dashboard's address"
        )
    if answer.status_code == 200 and not target.loopback:
        # CVE-2023-48022: whoever reaches an open Jobs API runs what they like on the cluster.
        rule = "a cluster off this machine must ask for a token"
        raise UserError(f"{rule}, but {target.url} answers without one; start it with RAY_AUTH_MODE=token")


def _quieten_ray() -> None:
    """Drop the line that Ray's client logs for each upload: at the handlers, since its loggers set their own levels."""
    for handler in logging.getLogger("ray").handlers:
        handler.setLevel(logging.WARNING)


def _check_no_override(target: Address) -> None:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        value = os.environ.get(name)
        if value and value.rstrip("/") != target.url:
            rule = f"`{name}` must be unset or equal to --address, since Ray's client prefers it"
            raise UserError(f"{rule}, got {value} and {target.url}; unset {name}")


@contextmanager
def explained(target: Address) -> Iterator[None]:
    """Turns what Ray's client raises into a UserError with the address."""
    try:
        yield
    except AuthenticationError as error:
        reason = str(error).strip().splitlines()[0]
        remedy = "set RAY_AUTH_MODE=token, and the cluster's token in RAY_AUTH_TOKEN or the file RAY_AUTH_TOKEN_PATH names"
        raise UserError(f"{target.url} refuses: {reason}; {remedy}") from None
    except (ConnectionError, requests.RequestException) as error:
        remedy = "check that the cluster is up and its dashboard's port (8265 by default) can be reached from here"
        raise UserError(f"no Ray cluster answers at {target.url} ({_root(error)}); {remedy}") from None


def _root(error: BaseException) -> str:
    """The innermost reason of a chain of network errors."""
    while (
        cause := error.__cause__ or error.__context__ or getattr(error.args[0] if error.args else None, "reason", None)
    ) is not None:
        error = cause
    return str(error) or type(error).__name__


def standing(submission: Submission, jobs: Sequence[JobDetails]) -> Standing:
    """Which attempt a submission is at: the last one while it goes or once it has succeeded, else a new one."""
    attempts = {number: job for job in jobs if (number := submission.attempt(job.submission_id))}
    last = max(attempts, default=0)
    if last and attempts[last].status == JobStatus.SUCCEEDED:
        return Standing(attempt=last, state="succeeded")
    if last and not attempts[last].status.is_terminal():
        return Standing(attempt=last, state="going")
    return Standing(attempt=last + 1, state="new")


def _start(client: JobSubmissionClient, submission: Submission, job_id: str, *, attempt: int, echo: Echo) -> None:
    url = client.get_address()
    with _cluster_versions(client) as cluster, TemporaryDirectory(prefix="jit-sweep-") as folder:
        check_same(cluster, url=url)
        check_host(cluster, submission.spec, url=url)
        command = [str(cluster["executable"]), "-P", "-m", "jit_sweep.cli.job", *submission.arguments]
        modules = [str(copy) for copy in copy_source(Path(folder))]
        try:
            client.submit_job(
                entrypoint=f"exec {shlex.join(command)}",
                submission_id=job_id,
                runtime_env={"py_modules": modules, "env_vars": STOP_ENVIRONMENT},
                metadata={"sweep": submission.spec.name, "attempt": str(attempt)},
            )
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise
            echo(f"attached to {job_id} on {url}, which somebody else has just submitted")
            return
    echo(f"submitted {job_id} to {url}")


def check_same(cluster: dict[str, str | None], *, url: str) -> None:
    """Refuse a cluster whose Python or packages differ from ours. UserError: every difference by name."""
    ours = cluster_versions.versions()
    differing = [name for name in ("python", *cluster_versions.COMPARED) if cluster[name] != ours[name]]
    if differing:
        lines = [f"  {name}: {cluster[name] or 'none'} there, {ours[name] or 'none'} here" for name in differing]
        lead = f"{cluster['executable']} of {url} must have the versions of this installation:"
        remedy = "submit from an environment like the cluster's, or build its image from the constraints file used here"
        raise UserError("\n".join([lead, *lines, remedy]))


def check_host(cluster: dict[str, str | None], spec: SweepSpec, *, url: str) -> None:
    """Refuse local locations on another host, however local its address looks: ports are forwarded. UserError."""
    if cluster["host"] != socket.gethostname():
        check_reachable(spec, cluster=f"{url} leads to {cluster['host']}, which")


@contextmanager
def _cluster_versions(client: JobSubmissionClient) -> Iterator[dict[str, str | None]]:
    """What the cluster's Python says of itself, asked by a small job of its own, which is gone from Ray's list afterwards."""
    source = shlex.quote(Path(cluster_versions.__file__).read_text())
    python = '"$(command -v python || command -v python3)"'
    job_id = client.submit_job(entrypoint=f"exec {python} -c {source} {source}")
    ended_at: float | None = None
    try:
        info = _ended(client, job_id)
        ended_at = time.monotonic()
        yield _answer(client.get_job_logs(job_id), info)
    finally:
        _forget(client, job_id, ended_at=ended_at)


def _answer(log: str, job: JobDetails) -> dict[str, str | None]:
    """The versions that a job's log tells. UserError: it tells none."""
    answers = [line.removeprefix(cluster_versions.MARK) for line in log.splitlines() if line.startswith(cluster_versions.MARK)]
    if not answers:
        reason = _last_line(log) or job.message
        raise UserError(f"the cluster's Python cannot be asked for its versions ({job.submission_id}): {reason}")
    answer: dict[str, str | None] = json.loads(answers[-1])
    return answer


def _ended(client: JobSubmissionClient, job_id: str) -> JobDetails:
    """A small job at its end. UserError: it has none in time."""
    deadline = time.monotonic() + CHECK_TIMEOUT_S
    while not (info := client.get_job_info(job_id)).status.is_terminal():
        if time.monotonic() > deadline:
            raise UserError(
                f"the cluster must run a small job within {CHECK_TIMEOUT_S:.0f} s, but {job_id} is {info.status.value}"
            )
        time.sleep(0.1)
    return info


def _forget(client: JobSubmissionClient, job_id: str, *, ended_at: float | None) -> None:
    """Delete a job, which is stopped first where it has not ended (None).

    Deleted before the head has looked at its end, it would come again, as one that failed.
    """
    with suppress(UserError, RuntimeError, requests.RequestException):  # what was sent counts, though this stays in the list
        if ended_at is None:
            client.stop_job(job_id)
            _ended(client, job_id)
            ended_at = time.monotonic()
        time.sleep(max(0.0, ended_at + SEEN_S - time.monotonic()))
        client.delete_job(job_id)


def _last_line(log: str) -> str:
    return (log.strip().splitlines() or [""])[-1]
