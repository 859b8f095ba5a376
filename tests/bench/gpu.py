"""`python -m tests.bench.gpu`: speed, memory and noise on one GPU. Needs torch, numpy, pydantic, pillow, fsspec.

A row is a case in a mode, as Markdown. Training draws, differentiates, updates and averages as the trainer does, on random
images; the first update must have the loss and gradient norm of torch's eager kernels. A row that fails says why.
"""

import argparse
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tests.bench import gpu_profile, gpu_sampling, gpu_training
from tests.bench.gpu_modes import CASES, MODES, Case
from trainables.networks import kernel_choice

TABLES = {"training": gpu_training, "sampling": gpu_sampling, "profile": gpu_profile}
"""Each has its `HEADER` and the `cells` of a row."""


def main() -> None:
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # as a lane has it
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("table", nargs="?", choices=TABLES, default="training")
    parser.add_argument("--cases", nargs="*", choices=CASES, default=[*CASES], metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--modes", nargs="*", choices=MODES, default=[*MODES], metavar="MODE", help=", ".join(MODES))
    parser.add_argument(
        "--attention", choices=("sdpa", "cudnn", "flash", "triton"), default="sdpa", help="of every mode but the official"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="no row is begun after them")
    parser.add_argument("--out", type=Path, help="a file that the rows are added to as well, so that calls can be joined")
    asked = parser.parse_args()
    table = TABLES[asked.table]
    say = Lines(asked.out)
    say.head(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bf16, one GPU", table.HEADER)
    wanted = [(CASES[name], mode) for name in asked.cases for mode in asked.modes]
    for line in rows(wanted, lambda case, mode: table.cells(case, mode, attention=asked.attention), minutes=asked.minutes):
        say(line)


def rows(wanted: Iterable[tuple[Case, str]], cells: Callable[[Case, str], list[list[str]]], *, minutes: float) -> Iterable[str]:
    """The lines of every case in every mode; a row that fails is its reason, and the table goes on."""
    end = time.perf_counter() + 60 * minutes
    for case, mode in wanted:
        with warnings_of(kernel_choice.log) as notes:
            try:
                if time.perf_counter() > end:
                    raise TimeoutError(f"not begun within {minutes:g} minutes")
                made = cells(case, mode)
            except Exception as error:  # noqa: BLE001  # a kernel may fail in any way, and the rows after it are wanted
                made = [[f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".replace("|", "/")]]
        yield from (f"| {' | '.join((str(case), mode, *line))} |" for line in made)
        yield from (f"| {case} | {mode} | note: {note} |" for note in notes)


@contextmanager
def warnings_of(log: logging.Logger) -> Iterator[list[str]]:
    """What is logged meanwhile: a row whose kernels were not used must say so."""
    notes: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: notes.append(record.getMessage())  # type: ignore[method-assign]
    kernel_choice.warn_once.cache_clear()
    log.addHandler(handler)
    try:
        yield notes
    finally:
        log.removeHandler(handler)


class Lines:
    """Prints lines, and adds them to a file as they come: what a call that is cut off had made is kept."""

    def __init__(self, out: Path | None) -> None:
        self._out = out

    def __call__(self, line: str) -> None:
        print(line, flush=True)  # noqa: T201
        if self._out:
            with self._out.open("a") as file:
                file.write(line + "\n")

    def head(self, machine: str, header: list[str]) -> None:
        """The machine and the table's head, which a file gets once."""
        head = f"{machine}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}"
        if self._out and self._out.exists() and head in self._out.read_text():
            print(head, flush=True)  # noqa: T201
        else:
            self(head)


if __name__ == "__main__":
    main()
