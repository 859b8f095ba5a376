"""What is done before Ray is imported: its environment is set, and whether a cluster answers is asked.

Free of Ray: it reads some of its environment when it is imported, and a wrong address would keep it trying for minutes.
"""

import os
import secrets
import socket

from jit_sweep.errors import UserError

ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # how often a lane's controller looks; the default is ten times that
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune would force-kill lanes that are about to save
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",  # the searcher limits the trials; by itself Tune starts one lane after the other
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # nothing is ever restored but from the ledger
    "RAY_AIR_NEW_OUTPUT": "0",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",  # a lane's shapes follow each other: fixed segments end in fragments
}
CONNECT_S = 3.0
"""How long a cluster's head may take to answer."""
_LOCAL = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody preempts a laptop
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",  # even on loopback: a Ray port runs whatever it is sent
}


def prepare_environment(*, address: str | None) -> None:
    """Set what Ray must find before it is imported; a local cluster gets a token that nobody else knows."""
    os.environ |= ENVIRONMENT
    if address is None:
        os.environ |= _LOCAL | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
        os.environ.pop("RAY_ADDRESS", None)


def check_answers(address: str) -> None:
    """UserError: nobody answers at this address."""
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
