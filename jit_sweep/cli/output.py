"""What the command line prints: tables for people, one JSON object for programs, and the noise of libraries to a file."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from jit_sweep.cli.streams import reopened


def json_line(schema: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> str:
    """One object with `schema` (its name and version) and `rows`."""
    text = json.dumps({"schema": f"jit-sweep/{schema}/1", "rows": list(rows), **more}, allow_nan=False, default=str)
    return text + "\n"


def print_json(schema: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
    """That object on standard output."""
    sys.stdout.write(json_line(schema, rows, **more))


def asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line has `--json` among its options."""
    return "--json" in takewhile(lambda argument: argument != "--", arguments)


def print_error(message: str, *, as_json: bool) -> None:
    """A mistake for the person, and as an object where a program reads."""
    sys.stderr.write(f"error: {message}\n")
    if as_json:
        print_json("error", [{"message": message}])


WIDEST = 400
"""Columns where nobody looks at a terminal: nothing is cut there."""


def console(file: TextIO | None = None, *, stderr: bool = False) -> Console:
    """Wide enough for our tables where nobody looks at a terminal."""
    target = file or (sys.stderr if stderr else sys.stdout)
    return Console(
        file=target,
        soft_wrap=not target.isatty(),
        width=None if target.isatty() else WIDEST,
        highlight=False,
        markup=False,  # a path or a name may have brackets and colons in it
        emoji=False,
    )


def print_next(screen: Console, *commands: str, hint: str = "") -> None:
    """What can be done next: command lines (`jit_sweep.commands`), whole, so that they can be copied."""
    if commands:
        screen.print("\n".join([f"\nnext{hint}:", *(f"  {command}" for command in commands)]), soft_wrap=True)


@contextmanager
def noise_to(log: Path, *, screen: int = 1) -> Iterator[TextIO]:
    """Send all that libraries and their C++ parts print to a file; yields the real standard output (2: standard error).

    Ray's and MLflow's loggers, progress bars and native threads write to the descriptors themselves, past `sys.stdout`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with log.open("ab") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    root = logging.getLogger()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    before = root.level
    root.setLevel(logging.INFO)
    try:
        with reopened(os.dup(kept[screen - 1])) as real:
            yield real
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in enumerate(kept, start=1):
            os.dup2(original, descriptor)
            os.close(original)
        root.removeHandler(handler)
        root.setLevel(before)
