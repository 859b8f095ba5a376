"""A second node of a head's cluster, on the same host."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from tests.support.cli import RAY
from tests.support.ray_head import Head

JOIN_S = 180.0


@dataclass
class SecondNode:
    """It joins, loses its raylet, and joins anew."""

    head: Head
    more: dict[str, str]
    """Added to its environment."""
    ip: str = "127.0.0.1"
    within: Sequence[str] = ()
    """What runs it, such as `ip netns exec NAME`."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it, and do not wait. Its processes are known by the head's home, and end with the head."""
        options = {
            "address": self.head.address,
            "node-ip-address": self.ip,
            "dashboard-agent-listen-port": 0,
            "min-worker-port": 0,
            "max-worker-port": 0,
            "num-cpus": 1,
        }
        command = [*self.within, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        environment = {"HOME": str(self.head.home), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **RAY}
        with (self.head.home / "second_node.log").open("ab") as log:
            self.process = subprocess.Popen(
                command + [f"--{name}={value}" for name, value in options.items()],
                env={**environment, **self.head.client_env, **self.more},
                cwd=self.head.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until the cluster counts two nodes. RuntimeError: its process has ended, or they are not two in time."""
        deadline = time.monotonic() + JOIN_S
        while self._alive() < 2:
            ended = self.process.poll() if self.process is not None else "no process"
            if ended is not None or time.monotonic() > deadline:
                why = f"its process ended with {ended}" if ended is not None else f"not within {JOIN_S:g} s"
                raise RuntimeError(f"the second node did not join: {why}\n{(self.head.home / 'second_node.log').read_text()}")
            time.sleep(0.1)

    def raylets(self) -> list[psutil.Process]:
        """Its raylet, once there is one."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            below = psutil.Process(self.process.pid).children(recursive=True)
            return [each for each in below if each.name() == "raylet" and each.status() != psutil.STATUS_ZOMBIE]
        return []

    def end(self) -> None:
        """What is left of a node whose raylet is dead, so that another can be started."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _alive(self) -> int:
        """Nodes that the cluster counts; 0 while a busy dashboard does not answer."""
        try:
            nodes: list[dict[str, dict[str, str]]] = self.head.call("/nodes?view=summary")["data"]["summary"]
        except OSError:
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)
