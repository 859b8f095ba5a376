"""What a sweep has left behind on a cluster that outlives it."""

import json
import subprocess
import sys
import time
from contextlib import suppress

import psutil

from tests.support.cli import environment
from tests.support.ray_head import Head

WAIT_S = 60.0
"""Ray ends a dead job's actors a moment after it."""
RAYS_OWN = (
    "ray::IDLE",
    "ray::_AutoscalingCoordinatorActor",
    "ray::JobSupervisor",
    "ray::DashboardAgent",
    "ray::RuntimeEnvAgent",
)
"""Waiting workers, actors that Ray makes once for a cluster or a job and ends itself, and a joined node's agents."""
_ASK = """
import json, sys, ray
from ray.util import placement_group_table
ray.init(address=sys.argv[1], log_to_driver=False)
print(json.dumps([name for name, group in placement_group_table().items() if group["state"] != "REMOVED"]))
"""


def groups(head: Head) -> list[str]:
    """Placement groups that hold or wait for resources."""
    done = subprocess.run(
        [sys.executable, "-c", _ASK, head.address],
        cwd=head.home,
        env=environment(head.home, **head.client_env),
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def actors(head: Head) -> list[str]:
    """Titles of the actors' processes that are still there."""
    titles = []
    for process in head.processes():
        with suppress(psutil.Error):
            titles.append(" ".join(process.cmdline()).strip())
    return [title for title in titles if title.startswith("ray::") and not title.startswith(RAYS_OWN)]


def left_behind(head: Head) -> list[str]:
    """Placement groups and actors, once Ray has had its moment."""
    deadline = time.monotonic() + WAIT_S
    while (left := actors(head)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [f"placement group {group}" for group in groups(head)] + left
