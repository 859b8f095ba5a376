"""The processes that are killed, each kind found among what was started here."""

import subprocess
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.chaos.world import World

LANE_KINDS = frozenset({"owner", "worker", "raylet", "partition"})
"""They take a lane with its trial."""
_TITLES = {
    "owner": "ray::LaneTrial",
    "worker": "ray::RayTrainWorker",
    "writer": "ray::SweepActor",
    "driver": "jit_sweep.submit.entry",
}
KINDS = ("command", "owner", "worker", "writer", "raylet", "mlflow", "s3")
"""What `run --address` has; the command is the driver there."""


def of_kind(kind: str, world: World, command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of a kind, in an order that does not depend on chance."""
    match kind:
        case "command":
            return _alive(command)
        case "mlflow":
            return _alive(world.mlflow.process)
        case "s3":
            return _alive(world.s3.process)
        case "raylet":
            return world.node.raylets()
        case _:
            return titled(world, _TITLES[kind])


def strike(kind: str, victim: psutil.Process, world: World) -> None:
    """kill -9; a server dies with all of its processes."""
    servers: dict[str, Callable[[], None]] = {"mlflow": world.mlflow.kill, "s3": world.s3.kill}
    servers.get(kind, victim.kill)()


def titled(world: World, title: str) -> list[psutil.Process]:
    """The cluster's processes whose command line has this in it."""
    found = []
    for process in world.head.processes():
        with suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


def _alive(process: subprocess.Popen[bytes] | None) -> list[psutil.Process]:
    return [psutil.Process(process.pid)] if process is not None and process.poll() is None else []
