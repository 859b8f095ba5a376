"""Says what a cluster's Python holds. Sent as text to the head: it needs Python 3.8 and nothing beside it.

`python` on a head's PATH need not be the one that Ray starts workers with; the command line of the raylet, which is
above every job, names that one.
"""

import json
import os
import socket
import sys
from importlib import metadata

MARK = "jit-sweep-versions "
COMPARED = ("ray", "torch", "numpy")
_WORKER_FLAG = "--python_worker_command="


def version_of(package: str) -> "str | None":
    """The installed version without its local part (2.13.0 of 2.13.0+cpu), or None."""
    try:
        return metadata.version(package).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def versions() -> "dict[str, str | None]":
    """The interpreter, its minor version, the compared packages' versions, and the host's name."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    packages = {package: version_of(package) for package in COMPARED}
    return {"python": minor, **packages, "executable": sys.executable, "host": socket.gethostname()}


def _worker_interpreter() -> "str | None":
    """The interpreter of Ray's workers on this node, from the raylet among the processes above this one."""
    pid = os.getppid()
    while pid > 1:
        with open(f"/proc/{pid}/cmdline") as file:
            for argument in file.read().split("\0"):
                if argument.startswith(_WORKER_FLAG):
                    return argument[len(_WORKER_FLAG) :].split(" ")[0]
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return None


def main() -> None:
    """Print the versions of the interpreter that Ray's workers run in. Its own text, as argument, follows it there."""
    worker = _worker_interpreter()
    if sys.argv[1:] and worker not in (None, sys.executable):
        os.execv(worker, [worker, "-c", sys.argv[1]])
    sys.stdout.write(MARK + json.dumps(versions()) + "\n")


if __name__ == "__main__":
    main()
