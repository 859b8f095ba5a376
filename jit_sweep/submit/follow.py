"""Watching a cluster's job from outside: its log as it grows, over broken connections, and its end as an exit code."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable

import aiohttp
import requests
from ray.dashboard.modules.job.pydantic_models import JobDetails
from ray.job_submission import JobStatus, JobSubmissionClient

from jit_sweep.commands import shell_line
from jit_sweep.errors import UserError
from trainables.report import ExitCode

IDLE_S = 60.0
"""A silent connection is made anew after this long: a network that drops packets would never end it."""
CONTACT_S = 60.0
"""How long a cluster may be out of reach."""


def follow(client: JobSubmissionClient, job_id: str, *, url: str, echo: Callable[[str], None]) -> int:
    """Echo a job's log until it ends; its exit code. UserError: the cluster stays out of reach. Ctrl-C leaves the job alone."""
    shown, seen_at = 0, time.monotonic()
    try:
        while True:
            shown = asyncio.run(tail(client.tail_job_logs(job_id), skip=shown, echo=echo))
            try:
                job = client.get_job_info(job_id)
            except (requests.RequestException, RuntimeError):
                if time.monotonic() - seen_at > CONTACT_S:
                    raise UserError(f"lost {url} while following {job_id}; the same command attaches again") from None
                time.sleep(1.0)
                continue
            seen_at = time.monotonic()
            if job.status.is_terminal():
                return _end(job, echo=echo)
            time.sleep(0.2)
    except KeyboardInterrupt:
        stop = shell_line("ray", "job", "stop", "--address", url, job_id)
        echo(f"no longer following {job_id}, which goes on; the same command attaches again, `{stop}` ends it")
        return ExitCode.INTERRUPTED


async def tail(chunks: AsyncIterator[str], *, skip: int, echo: Callable[[str], None]) -> int:
    """Echo the lines after the first `skip` until the stream ends, breaks or falls silent; how many have been shown."""
    count, rest = 0, ""

    def show(line: str) -> None:
        nonlocal count
        count += 1
        if count > skip and not _is_command_line(line):
            echo(line)

    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), IDLE_S)
        except StopAsyncIteration:
            if rest:
                show(rest)
            break
        except (TimeoutError, aiohttp.ClientError, RuntimeError):
            break  # the job's state says what it means, and whether to listen again
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            show(line)
    return max(count, skip)


def _is_command_line(line: str) -> bool:
    """Ray's first line of a log repeats the whole command, and with it the sweep."""
    return line.startswith("Running entrypoint for job ")


def _end(job: JobDetails, *, echo: Callable[[str], None]) -> int:
    echo(f"{job.submission_id} {job.status.value.lower()}")
    if why := silent_end(job):
        echo(why)
    return exit_code(job)


def silent_end(job: JobDetails) -> str:
    """Why a job failed that could not say so itself, by name and with the remedy; empty for any other."""
    code: int | None = job.driver_exit_code
    if job.status != JobStatus.FAILED or (code is not None and code >= 0):
        return ""
    if code is None:
        why = f"Ray lost {job.submission_id}, and says: {(job.message or 'no reason').strip()}"
    else:
        by = f"{_name(-code)} without a last word: by somebody, or by its host for want of memory"
        why = f"{job.submission_id} was ended by {by}"
    return f"{why}\nsubmit the sweep again: the next attempt goes on from what its trials have committed"


def _name(number: int) -> str:
    """A signal's, such as SIGKILL."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def exit_code(job: JobDetails) -> int:
    """A finished job's exit code as a shell counts it: 128 + n for a command that signal n ended; 130 for a stopped job."""
    if job.status == JobStatus.SUCCEEDED:
        return ExitCode.DONE
    if job.status == JobStatus.STOPPED:
        return ExitCode.INTERRUPTED
    code: int | None = job.driver_exit_code
    if code is None:
        return 1
    return code if code >= 0 else 128 - code
