"""The same few images in every format that images come in."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from trainables.data.prepared.preparing import Preparation, preparation_of
from trainables.data.prepared.settings import DataFormat, PrepareSettings
from trainables.storage.address import in_words
from trainables.storage.listing import listing_of

CLASSES = ("ants", "bees", "cats")


class Drawn:
    """Images [N, S, S, C] of three classes in turn."""

    def __init__(self, count: int = 24, *, size: int = 8, channels: int = 3, pixels: NDArray[np.uint8] | None = None) -> None:
        drawn = np.random.default_rng(0).integers(0, 256, (count, size, size, channels), dtype=np.uint8)
        self.pixels: NDArray[np.uint8] = drawn if pixels is None else pixels
        self.labels: NDArray[np.int64] = np.arange(len(self.pixels)) % len(CLASSES)

    def name(self, place: int) -> str:
        return f"{CLASSES[self.labels[place]]}/{place:05d}.png"

    def files(self) -> dict[str, bytes]:
        """As class folders have them."""
        return {self.name(place): png(image) for place, image in enumerate(self.pixels)}


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(top: Path, drawn: Drawn) -> str:
    for name, content in drawn.files().items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return str(top)


def write_zip(top: Path, drawn: Drawn, *, compression: int = zipfile.ZIP_STORED) -> str:
    top.mkdir()
    with zipfile.ZipFile(top / "images.zip", "w", compression) as archive:
        for name, content in drawn.files().items():
            archive.writestr(name, content)
    return str(top / "images.zip")


def write_edm_zip(top: Path, drawn: Drawn) -> str:
    """As EDM's `dataset_tool.py` writes it: numbered files, labels in `dataset.json`."""
    top.mkdir()
    names = [f"{place // 1000:05d}/img{place:08d}.png" for place in range(len(drawn.pixels))]
    with zipfile.ZipFile(top / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, image in zip(names, drawn.pixels, strict=True):
            archive.writestr(name, png(image))
        labels = [[name, int(label)] for name, label in zip(names, drawn.labels, strict=True)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return str(top / "images.zip")


def write_parquet(top: Path, drawn: Drawn, *, shards: int = 2, rows: int = 5) -> str:
    """As Hugging Face's `datasets` writes it, with the classes' names in the schema's metadata."""
    top.mkdir()
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(CLASSES)}}
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image_type), ("label", pa.int64())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    for shard, places in enumerate(np.array_split(np.arange(len(drawn.pixels)), shards)):
        cells = [{"bytes": png(drawn.pixels[place]), "path": f"{place}.png"} for place in places]
        table = pa.Table.from_pydict({"image": cells, "label": drawn.labels[places].tolist()}, schema=schema)
        pq.write_table(table, top / f"train-{shard:05d}-of-{shards:05d}.parquet", row_group_size=rows)
    return str(top)


def write_tars(top: Path, drawn: Drawn, *, shards: int = 3) -> str:
    """As WebDataset lays them out; the address has braces."""
    top.mkdir()
    for shard, places in enumerate(np.array_split(np.arange(len(drawn.pixels)), shards)):
        with tarfile.open(top / f"{shard:04d}.tar", "w") as archive:
            for place in places:
                _add(archive, f"{place:06d}.png", png(drawn.pixels[place]))
                _add(archive, f"{place:06d}.cls", str(drawn.labels[place]).encode())
    return f"{top}/{{0000..{shards - 1:04d}}}.tar"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def write_npz(top: Path, drawn: Drawn) -> str:
    top.mkdir()
    np.savez(top / "images.npz", images=drawn.pixels, labels=drawn.labels)
    return str(top / "images.npz")


def write_idx(top: Path, drawn: Drawn) -> str:
    """As MNIST's files are, packed by gzip; colour has a fourth axis."""
    top.mkdir()
    for name, array in (("images-idx3", drawn.pixels), ("labels-idx1", drawn.labels.astype(np.uint8))):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (top / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + array.tobytes(), mtime=0))
    return str(top)


WRITERS: dict[str, Callable[[Path, Drawn], str]] = {
    "folder": write_folder,
    "zip": write_zip,
    "edm zip": write_edm_zip,
    "parquet": write_parquet,
    "tar": write_tars,
    "npz": write_npz,
    "idx": write_idx,
}


def looked_at(uri: str | Path | tuple[str, ...], *, format: DataFormat | None = None, **settings: Any) -> Preparation:
    """A source with some settings, before it is prepared: 8 px and 4 held out, if nothing else is said."""
    given = PrepareSettings(**{"image_size": 8, "holdout": 4, **settings})
    address = uri if isinstance(uri, tuple) else str(uri)
    return preparation_of(listing_of(address), given, format=format, uri=in_words(address))
