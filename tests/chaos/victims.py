"""The processes that are killed, each kind found among what was started here."""

import subprocess
from collections.abc import Callable
from contextlib import suppress

import psutil

from tests.chaos.world import World
from tests.support.ray_head import Head

LANE_KINDS = frozenset({"owner", "worker", "raylet", "partition"})
"""They take a lane with its trial."""
TITLES = {
    "owner": ("ray::LaneTrial", "ray::ResourceTrainable"),
    "worker": ("ray::RayTrainWorker",),
    "writer": ("ray::SweepActor",),
    "driver": ("jit_sweep.cli.job",),
}
"""What is in their command lines; Tune wraps an owner's class, and the name of the wrap is seen once it runs."""
KINDS = ("command", "owner", "worker", "writer", "raylet", "mlflow", "s3")
"""What `run --address` has; the command is the driver there. What `submit` starts has a `driver` besides."""


def of_kind(kind: str, world: World, command: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes of a kind, in an order that does not depend on chance."""
    match kind:
        case "command":
            return _alive(command)
        case "mlflow":
            return _alive(world.mlflow.process)
        case "s3":
            return _alive(world.s3.process)
        case "raylet" | "partition":
            return world.node.raylets()
        case _:
            return titled(world.head, kind)


def strike(kind: str, victim: psutil.Process, world: World) -> None:
    """kill -9; a server dies with all of its processes. A partition kills nobody: the node lives on, and is not heard."""
    others: dict[str, Callable[[], None]] = {"mlflow": world.mlflow.kill, "s3": world.s3.kill}
    if world.namespace is not None:
        others["partition"] = world.namespace.cut
    others.get(kind, victim.kill)()


def titled(head: Head, kind: str) -> list[psutil.Process]:
    """The cluster's processes of a kind, by their command lines."""
    found = []
    for process in head.processes():
        with suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if any(title in line for title in TITLES[kind]):
                found.append(process)
    return sorted(found, key=lambda process: process.pid)


def _alive(process: subprocess.Popen[bytes] | None) -> list[psutil.Process]:
    return [psutil.Process(process.pid)] if process is not None and process.poll() is None else []
