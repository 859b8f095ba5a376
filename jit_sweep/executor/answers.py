"""Whether a Ray cluster answers at an address. Free of Ray, so that a wrong address is told at once."""

import socket

from jit_sweep.errors import UserError

CONNECT_S = 3.0


def check_answers(address: str) -> None:
    """A wrong address would keep ray.init trying for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return  # `auto` and named addresses are answered at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError as error:
        raise unreachable(address, f"{error.strerror or error} within {CONNECT_S:g} s") from None


def unreachable(address: str, reason: str) -> UserError:
    rule = f"`--address` must be a running Ray cluster, got {address} ({reason})"
    return UserError(f"{rule}; start one with `ray start --head`, or leave it out for a local one")
