"""`data`: prepared sets made and looked at; a run prepares what it needs by the same function."""

import time

from rich.console import Console

from jit_sweep.errors import UserError
from jit_sweep.plan.images import prepared_address
from jit_sweep.redact import redact
from jit_sweep.spec.data import FileData
from jit_sweep.spec.sweep import SweepSpec
from trainables.data.prepared.manifest import Manifest
from trainables.data.prepared.preparing import preparation_of, prepare
from trainables.storage.listing import listing_of

TELL_EVERY_S = 5.0


def prepare_for(spec: SweepSpec, storage: str, *, screen: Console) -> None:
    """Prepare a sweep's images into its storage. UserError: they cannot be."""
    address = prepared_address(spec.data, storage)
    assert isinstance(spec.data, FileData), "packaged images need no preparation"
    assert address is not None, "asked for images that need preparation alone"
    prepare_at(spec.data, address, screen=screen)


def prepare_at(data: FileData, out: str, *, screen: Console) -> Manifest:
    """Prepare images at an address, with a line now and then. UserError: they cannot be."""
    try:
        plan = preparation_of(listing_of(data.uri), data.settings, format=data.format, uri=redact(data.uri))
        screen.print(
            f"preparing {len(plan.images.images):,} images of {plan.record.uri} ({plan.record.format})", soft_wrap=True
        )
        manifest = prepare(plan, out, tell=PreparationProgress(screen))
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"data: {error}") from None
    bad = f", {manifest.bad_count} bad files left out" if manifest.bad_count else ""
    counts = f"{manifest.count:,} images of {manifest.image_size} px, {len(manifest.class_names)} classes{bad}"
    screen.print(f"prepared {counts}: {redact(out)}, digest {manifest.digest}", soft_wrap=True)
    return manifest


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
        left = f", {(total - done) / rate:,.0f} s to go" if rate else ""
        self._screen.print(f"{done:,} of {total:,} images, {rate:,.0f} images/s{left}")
