"""`data`: prepared sets made and looked at; a run prepares what it needs by the same function."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from rich.console import Console

from jit_sweep.cli import streams
from jit_sweep.cli.output import console, print_json
from jit_sweep.cli.silence import clock
from jit_sweep.errors import UserError
from jit_sweep.plan.images import prepared_address
from jit_sweep.redact import redact
from jit_sweep.spec.data import FileData
from jit_sweep.spec.sweep import SweepSpec
from jit_sweep.spec.uri import located
from trainables.config.fields import and_more, counted
from trainables.data.prepared.finding import is_there, listed
from trainables.data.prepared.inspecting import SHEET_OF_CLASS, Inspection, inspect_prepared, inspect_source
from trainables.data.prepared.manifest import Manifest
from trainables.data.prepared.prepared_set import open_prepared
from trainables.data.prepared.preparing import Preparation, Run, in_this_process, preparation_of, prepare
from trainables.report import ExitCode
from trainables.storage.address import check_protocol

TELL_EVERY_S = 5.0
LOCAL_RAY_BYTES = 2 * 2**30
"""A source of more is prepared by as many processes as a local Ray starts."""


def prepare_for(spec: SweepSpec, storage: str, *, address: str | None, screen: Console) -> None:
    """Prepare a sweep's images into its storage. UserError: they cannot be."""
    out = prepared_address(spec.data, storage)
    assert isinstance(spec.data, FileData), "packaged images need no preparation"
    assert out is not None, "asked for images that need preparation alone"
    prepare_at(spec.data, out, address=address, screen=screen)


def prepare_at(data: FileData, out: str, *, screen: Console, address: str | None = None) -> Manifest:
    """Prepare images, with a line now and then; `address`: of the cluster that does the work. UserError: they cannot be."""
    try:
        plan = preparation_of(listed(data.uri), data.settings, format=data.format, uri=redact(data.address))
        images = counted(len(plan.images.images), "image")
        screen.print(f"preparing {images} of {plan.record.uri} ({plan.record.format})", soft_wrap=True)
        with _workers(plan, address=address) as run:
            manifest = prepare(plan, out, run=run, tell=PreparationProgress(screen))
    except OSError as error:
        raise UserError(f"data: {_in_words(error, out)}") from None
    except (ValueError, ImportError) as error:
        raise UserError(f"data: {error}") from None
    bad = f", {counted(manifest.bad_count, 'bad file')} left out" if manifest.bad_count else ""
    classes = "1 class" if len(manifest.class_names) == 1 else f"{len(manifest.class_names):,} classes"
    counts = f"{counted(manifest.count, 'image')} of {manifest.image_size} px, {classes}{bad}"
    screen.print(f"prepared {counts}: {redact(out)}, digest {manifest.digest}", soft_wrap=True)
    for line in manifest.warnings():
        screen.print(f"warning: {line}", soft_wrap=True)
    return manifest


def _in_words(error: OSError, out: str) -> str:
    """Rule, value and remedy of what an operating system or a store has refused."""
    if streams.is_full(error):
        return f"the place of a prepared set must have room for it, got {error}; make some, and the same command goes on"
    if error.filename is None:
        return str(error)
    if str(error.filename).startswith(out):
        return f"the place of a prepared set must be a folder that can be written, got {error}; name another"
    return f"images must be readable, got {error}; check your access to them"


@contextmanager
def _workers(plan: Preparation, *, address: str | None) -> Iterator[Run]:
    """What makes the shards: Ray on a cluster that is named, and on this machine for a large source; else this process."""
    if address is None and plan.record.bytes < LOCAL_RAY_BYTES:
        yield in_this_process
        return
    from jit_sweep.executor.before_ray import check_answers, prepare_environment

    if address is not None:
        check_answers(address)
    prepare_environment(address=address)
    from jit_sweep.executor.preparing import on_ray

    with on_ray(address=address) as run:
        yield run


def asked(uri: str, **keys: Any) -> FileData:
    """The data that a command line means, by the rules of a sweep file. UserError: what is wrong with it."""
    try:
        return FileData.model_validate({"uri": _address(uri, of="URI"), **keys})
    except ValidationError as error:
        first = {str(item["loc"][0]): _message(item) for item in reversed(error.errors())}
        lines = [f"{'URI' if key == 'uri' else f'--{key}'}: {words}" for key, words in reversed(first.items())]
        raise UserError("\n".join(lines)) from None


def _message(item: ErrorDetails) -> str:
    """What is wrong with a value, in lower case but for the value itself."""
    return str(item["ctx"]["error"]) if item["type"] == "value_error" else item["msg"].lower()


def _address(text: str, *, of: str) -> str:
    """What an argument names. UserError: it is no address."""
    try:
        check_protocol(text, key=of)
    except ValueError as error:
        raise UserError(str(error)) from None
    return located(text)


def prepare_set(data: FileData, out: str, *, address: str | None, as_json: bool) -> int:
    """Make a prepared set. UserError: whatever is wrong with the source, the settings or the place."""
    try:
        manifest = prepare_at(data, _address(out, of="OUT"), address=address, screen=console(stderr=as_json))
    except KeyboardInterrupt:
        console(stderr=True).print("interrupted; the same command goes on with the shards that are done", soft_wrap=True)
        return ExitCode.INTERRUPTED
    if as_json:
        facts = manifest.model_dump(mode="json", exclude={"shards"})
        print_json("data-prepare", [{"address": out, **facts, "warnings": manifest.warnings()}])
    return ExitCode.DONE


def inspect_set(data: FileData, *, sheet: Path | None, by_class: bool, n: int | None, as_json: bool) -> int:
    """Print what a source or set holds. UserError: it cannot be read, or `sheet` is no PNG's name."""
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UserError(f"`--sheet` must be a PNG file to write, got {sheet}; name it {sheet.stem or 'sheet'}.png")
    try:
        seen = _looked_at(data)
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"data: {error}") from None
    if sheet is not None and (images := seen.class_sheet if by_class else seen.sheet) is not None:
        _draw(images, sheet)
    if as_json:
        row = {
            "uri": redact(seen.uri),
            "images": seen.count,
            "sizes": seen.sizes,
            "modes": seen.modes,
            "classes": dict(seen.classes()),
            "bad": [file.model_dump() for file in seen.bad],
            "bad_count": seen.bad_count,
            "near_duplicates": seen.near_duplicates,
            "digest": seen.digest,
            "warnings": seen.warnings(n=n),
        }
        print_json("data-inspect", [row])
    else:
        for line in _lines(seen, n=n):
            console().print(line, soft_wrap=True)
    return ExitCode.DONE


def _draw(images: NDArray[np.uint8], sheet: Path) -> None:
    from trainables.evaluation.grid import write_sheet  # starts torch

    try:
        write_sheet(images, str(sheet), columns=SHEET_OF_CLASS)
    except OSError as error:
        raise UserError(f"`--sheet` must be a file that can be written, got {error}; name another") from None


def _looked_at(data: FileData) -> Inspection:
    if isinstance(data.uri, str) and is_there(data.uri):
        return inspect_prepared(open_prepared(data.uri), uri=data.uri)
    settings = data.settings
    return inspect_source(preparation_of(listed(data.uri), settings, format=data.format, uri=redact(data.address)))


def _lines(seen: Inspection, *, n: int | None) -> Iterator[str]:
    yield f"{seen.uri}: {counted(seen.count, 'image')}" + (f", digest {seen.digest}" if seen.digest else ", not prepared")
    yield f"sizes: {_most(seen.sizes)}"
    yield f"modes: {_most(seen.modes)}"
    yield f"near-duplicates: {seen.near_duplicates:,}"
    yield f"classes: {len(seen.class_names)}"
    yield from (f"  {name}: {count:,}" for name, count in seen.classes())
    if seen.bad_count:
        yield f"bad files: {seen.bad_count:,}"
        yield from (f"  {file.key}: {file.reason}" for file in seen.bad)
        if more := seen.bad_count - len(seen.bad):
            yield f"  and {more:,} more"
    yield from (f"warning: {line}" for line in seen.warnings(n=n))


def _most(counts: Counter[str]) -> str:
    words = [f"{name} ({count:,})" for name, count in counts.most_common(5)]
    return ", ".join(words) + and_more(len(counts) - 5 if len(counts) > 5 else 0, "kind")


class PreparationProgress:
    """Says how far a preparation is, at most every few seconds, with the time that is left."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` images are."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
            if done:
                self._screen.print(f"going on with {done:,} images that were prepared before")
        if now - self._told < TELL_EVERY_S:
            return
        self._told = now
        rate = (done - self._first) / (now - self._began)
        left = f", {clock((total - done) / rate)} to go" if rate and done < total else ""
        self._screen.print(f"{done:,} of {total:,} images, {rate:,.0f} images/s{left}")
