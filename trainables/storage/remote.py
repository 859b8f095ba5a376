"""Calls to a file system behind a network: each ends by a deadline, what passes by itself is tried again, the rest is OSError.

s3fs waits without end for a server that accepts and never answers, whatever timeouts it is given.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeVar

from aiohttp import ClientError as HttpError
from aiohttp import ClientResponseError
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

_log = logging.getLogger(__name__)
Result = TypeVar("Result")

FAULTS = (OSError, BotoCoreError, HttpError)
"""What file systems raise: s3fs lets the errors of the libraries below it through."""
_PASSING_STATUS = frozenset({408, 409, 429})
"""Besides 5xx: too slow, a conditional write that met another (S3 says: try again), too many requests."""


@dataclass(frozen=True)
class Patience:
    """Deadlines and tries of a call."""

    base_s: float = 30.0
    """For a call that carries no content."""
    least_bytes_per_s: float = 4 * 2**20
    """A link slower than this counts as broken."""
    tries: int = 3
    pause_s: float = 1.0
    """Before the second try; twice as long before each further one."""

    def deadline_s(self, size: int) -> float:
        """Seconds for one try that carries `size` bytes."""
        return self.base_s + size / self.least_bytes_per_s


PATIENCE = Patience()


@dataclass(frozen=True)
class Remote:
    """A file system whose calls are tried again and end by a deadline, both by `patience`."""

    fs: AbstractFileSystem
    patience: Patience = PATIENCE

    def ask(self, method: str, path: str, *arguments: object, address: str, size: int = 0, **named: object) -> Any:
        """Call a method of the file system about `path`; `size`: the bytes that it carries; `address`: for messages.

        FileNotFoundError, FileExistsError: the file system's answer. OSError: it failed; the message has the tries and seconds.
        """
        call = partial(getattr(self.fs, method), path, *arguments, **named)
        deadline_s, began = self.patience.deadline_s(size), time.monotonic()
        if isinstance(self.fs, AsyncFileSystem):
            call = partial(call, timeout=deadline_s)  # ends the request too, which would hold its connection for ever
        for tried in count(1):
            try:
                return within(deadline_s, call)
            except FileNotFoundError as error:
                raise _os_error(f"nothing at {address} ({error})", errno.ENOENT) from error
            except FileExistsError:
                raise
            except FAULTS as error:
                if precondition_failed(error):
                    raise _os_error(f"something is at {address} already", errno.EEXIST) from error
                if tried == self.patience.tries or not passes(error):
                    raise _given_up(error, method, address, tried=tried, seconds=time.monotonic() - began) from error
                _log.warning("%s of %s: %s; trying again", method, address, _reason(error))
            time.sleep(self.patience.pause_s * 2 ** (tried - 1))
        raise AssertionError("unreachable: the loop ends by return or raise")


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """The call's result. TimeoutError: it takes longer, and is left behind in a thread that no exit waits for."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, name="remote-file", daemon=True).start()
    return future.result(timeout=seconds)


def passes(error: Exception) -> bool:
    """Whether the same call may well succeed a moment later."""
    status = _status(error)
    if status is None or isinstance(error, TimeoutError):  # S3 calls a slow upload a bad request
        return isinstance(error, TimeoutError | ConnectionError | HTTPClientError | HttpError)
    return status >= 500 or status in _PASSING_STATUS


def precondition_failed(error: Exception) -> bool:
    """Whether a create-only write was refused in the words of S3 servers other than Amazon's, which s3fs takes for errno 22."""
    message = f"{error} {error.__cause__!r}"
    return isinstance(error, OSError) and error.errno == errno.EINVAL and "PreconditionFailed" in message


def _os_error(message: str, number: int) -> OSError:
    """An OSError of the class that its number stands for, whose text is the message alone."""
    error = type(OSError(number, ""))(message)
    error.errno = number
    return error


def _status(error: Exception) -> int | None:
    """The HTTP status behind an error."""
    for reason in (error, error.__cause__):
        if isinstance(reason, ClientError):
            status: int | None = reason.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return status
        if isinstance(reason, ClientResponseError):
            return reason.status
    return None


def _given_up(error: Exception, method: str, address: str, *, tried: int, seconds: float) -> OSError:
    rule = "storage must be reachable with the credentials in the environment"
    times = "once" if tried == 1 else f"{tried} times in {seconds:.3g} s"
    message = f"{rule}, got {_reason(error)} for {address} ({method} tried {times}); check the endpoint and the AWS_ variables"
    return _os_error(message, _errno(error))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def _errno(error: Exception) -> int:
    """An error's own number, or that of its kind."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    if isinstance(error, PermissionError):
        return errno.EACCES
    return errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO
