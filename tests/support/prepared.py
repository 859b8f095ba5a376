"""Small prepared sets for tests."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainables.data.pixel_counts import PixelCounts
from trainables.data.prepared.content import pixel_hashes
from trainables.data.prepared.layout import SetContent, commit, write_shard
from trainables.data.prepared.manifest import Manifest, SourceRecord
from trainables.data.prepared.settings import PrepareSettings
from trainables.storage.folder import Folder

SOURCE = SourceRecord(uri="drawn", format="folder", identity="0" * 16, files=1, bytes=1)


def prepared(
    address: str | Path, images: NDArray[np.uint8], labels: NDArray[np.int64], *, per_shard: int = 7, heldout: int = 4
) -> Manifest:
    """Write images [N, S, S, C] and labels [N] as a prepared set, the first `heldout` of the canonical order held out."""
    folder = Folder(str(address))
    starts = range(0, len(images), per_shard)
    return commit(
        folder,
        SetContent(pixel_hashes(images), labels),
        shards=[write_shard(folder, i, images[start : start + per_shard]) for i, start in enumerate(starts)],
        shape=images.shape[1:],
        class_names=tuple(f"class {label}" for label in range(int(labels.max()) + 1)),
        heldout=np.arange(heldout),
        source=SOURCE,
        pixels=PixelCounts.of(images),
        settings=PrepareSettings(holdout=heldout),
    )
