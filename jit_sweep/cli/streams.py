"""Standard output and error that take every text, and end quietly where nobody reads them any more."""

import codecs
import errno
import os
import sys
from typing import TextIO

SPELLED = {"±": "+-", "·": "|", "…": "~", "—": "-", "→": "->"}
"""Characters of tables, where the output's encoding lacks them."""
_RULE = "jit_sweep_spelled"


def prepare() -> None:
    """Make both streams take what their encoding lacks, spelled in ASCII; one that is closed writes to nowhere."""
    codecs.register_error(_RULE, spelled)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_RULE)


def reopened(descriptor: int) -> TextIO:
    """A text stream on a descriptor, with the encoding of standard output."""
    return os.fdopen(descriptor, "w", buffering=1, encoding=sys.stdout.encoding, errors=sys.stdout.errors)


def spelled(error: UnicodeError) -> tuple[str, int]:
    """The characters that an encoding lacks, in ASCII: an error handler for `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(SPELLED.get(character) or ascii(character)[1:-1] for character in lacking), error.end


def is_full(error: OSError) -> bool:
    """Whether a disk is full: standard output's, or another that the command writes to."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def flush(stream: TextIO) -> None:
    """Write out what a stream holds. OSError: its reader has gone, or its disk is full; nothing more is written then."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # the interpreter flushes once more
        raise
