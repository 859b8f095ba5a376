"""A second host on this one: a network namespace whose link can be cut. For root, with the `ip` command."""

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

NETWORK = "10.213.47"
"""The first three numbers of both ends' addresses."""


def why_not() -> str:
    """Why there can be no namespace here; empty where there can."""
    if os.geteuid() != 0:
        return "a network namespace needs root"
    if shutil.which("ip") is None:
        return "a network namespace needs the `ip` command"
    return ""


@dataclass
class Namespace:
    """Both ends of a link: the cluster's head outside, its second node inside."""

    name: str = field(default_factory=lambda: f"jsc{os.getpid()}")
    is_cut: bool = field(default=False, init=False)
    outside: str = f"{NETWORK}.1"
    inside: str = f"{NETWORK}.2"

    @property
    def within(self) -> tuple[str, ...]:
        """What runs a command inside."""
        return ("ip", "netns", "exec", self.name)

    def make(self) -> None:
        outer, inner = f"{self.name}o", f"{self.name}i"
        _ip("netns", "add", self.name)
        _ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self.name)
        _ip("addr", "add", f"{self.outside}/24", "dev", outer)
        _ip("link", "set", outer, "up")
        _ip("-n", self.name, "addr", "add", f"{self.inside}/24", "dev", inner)
        for device in (inner, "lo"):
            _ip("-n", self.name, "link", "set", device, "up")

    def cut(self) -> None:
        """Nothing passes, and nobody is told."""
        _ip("link", "set", f"{self.name}o", "down")
        self.is_cut = True

    def heal(self) -> None:
        _ip("link", "set", f"{self.name}o", "up")
        self.is_cut = False

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.name)


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A namespace until the end of the block."""
    made = Namespace()
    try:
        made.make()
        yield made
    finally:
        made.remove()


@contextmanager
def forwarded(port: int, *, to: str) -> Iterator[int]:
    """A port at this address that leads to one on the loopback interface, which a namespace cannot reach."""
    server = socket.create_server((to, 0))
    threading.Thread(target=_serve, args=(server, port), daemon=True).start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.close()


def _serve(server: socket.socket, port: int) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:  # closed
            return
        try:
            upstream = socket.create_connection(("127.0.0.1", port))
        except OSError:  # what it leads to is down
            client.close()
            continue
        for ends in ((client, upstream), (upstream, client)):
            threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
