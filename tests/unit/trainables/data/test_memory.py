"""What reading takes of a machine's memory: no set is read whole where it need not be, and none twice."""

import gzip
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.prepared import SOURCE
from tests.support.trials import small_model
from trainables.assignment import Assignment
from trainables.config.trial import TrialConfig
from trainables.data.pixel_counts import PixelCounts
from trainables.data.prepared.layout import SetContent, commit
from trainables.data.prepared.manifest import Manifest, Shard
from trainables.data.prepared.settings import PrepareSettings
from trainables.storage.folder import Folder

COUNT, SIZE = 800, 128
SET_BYTES = COUNT * SIZE * SIZE * 3

MEASURED = """
import resource
from trainables.data import open_images
open_images({small!r})  # whatever is made on first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = open_images({large!r})
images.read(images.train[:64])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def drawn(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def saved(path: Path, count: int) -> str:
    np.savez(path, images=drawn(count), heldout=np.arange(2))
    return str(path)


@pytest.mark.slow
def test_a_worker_holds_an_npz_set_once(tmp_path: Path) -> None:
    small, large = saved(tmp_path / "small.npz", 8), saved(tmp_path / "large.npz", COUNT)
    code = MEASURED.format(small=small, large=large)
    limits = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=limits)
    assert int(done.stdout) * 1024 < 1.4 * SET_BYTES


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from trainables.assignment import Assignment
from trainables.data import describe
from trainables.train import train

assignment = Assignment.model_validate_json(sys.stdin.read())
torch.set_num_threads(1)
held = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData")).split()[1])
resource.setrlimit(resource.RLIMIT_DATA, (held * 1024 + {more}, resource.RLIM_INFINITY))
assert describe(assignment.data).digest == assignment.trial.data.digest
print(*[report.kind for report in train(assignment)][-1:])
"""


def sparse_set(folder: Path, *, count: int, per_shard: int) -> Manifest:
    """A prepared set of black images whose shards take no disk."""
    shape, shards = (SIZE, SIZE, 3), []
    for number in range(count // per_shard):
        name = f"images-{number:05d}-sparse.npy"
        np.lib.format.open_memmap(folder / name, "w+", np.uint8, (per_shard, *shape)).flush()
        shards.append(Shard(name=name, bytes=(folder / name).stat().st_size, sha256=f"{number:064x}", count=per_shard))
    hashes = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    return commit(
        Folder(str(folder)),
        SetContent(hashes, np.zeros(count, dtype=np.int64)),
        shards=shards,
        shape=shape,
        class_names=("all",),
        heldout=np.arange(4),
        source=SOURCE,
        pixels=PixelCounts(),
        settings=PrepareSettings(),
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_a_set_larger_than_the_memory_of_its_process_is_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    count, more = 410_000, 256 * 2**20
    record = sparse_set(folder, count=count, per_shard=10_000)
    assert sum(shard.bytes for shard in record.shards) > 20 * 10**9
    facts = {"digest": record.digest, "image_size": SIZE, "num_classes": 1}
    model = small_model(width=8, depth=2, heads=2, class_tokens_start=1).model_copy(update={"patch_size": 32})
    trial = TrialConfig.model_validate({"data": facts, "model": model.model_dump(), "batch_size": 16})
    assignment = Assignment(trial=trial, images=64, evaluations=(), data=str(folder), storage=str(tmp_path / "storage"))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.format(more=more)],
        input=assignment.model_dump_json(),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert (done.stdout.split(), done.returncode) == (["ended"], 0), done.stderr


@pytest.mark.slow
def test_a_file_of_images_is_described_without_being_read_into_memory(tmp_path: Path) -> None:
    large = saved(tmp_path / "large.npz", COUNT)
    code = (
        "import resource, numpy, trainables.data.arrays, trainables.data.npz_file\n"
        "from pathlib import Path\n"
        "from trainables.data import describe\n"
        "held = int(Path('/proc/self/status').read_text().split('VmData:')[1].split()[0])\n"
        f"resource.setrlimit(resource.RLIMIT_DATA, (held * 1024 + {SET_BYTES // 2}, resource.RLIM_INFINITY))\n"
        f"print(describe({large!r}).train_count)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(COUNT - 2), done.stderr


PREPARED = """
import resource
from pathlib import Path
import numpy as np
from tests.support.sources import looked_at
from trainables.data.prepared.preparing import prepare

np.ones((256, 256)) @ np.ones((256, 256))  # whatever is made on first use: small ones are multiplied without a buffer
held = int(Path("/proc/self/status").read_text().split("VmData:")[1].split()[0])
resource.setrlimit(resource.RLIMIT_DATA, (held * 1024 + {more}, resource.RLIM_INFINITY))
for at, uri in enumerate({uris!r}):
    print(prepare(looked_at(uri), str(Path({out!r}) / str(at))).digest)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
def test_arrays_are_prepared_without_being_read_into_memory(tmp_path: Path) -> None:
    images = drawn(COUNT)[:, ::8, ::8].repeat(8, 1).repeat(8, 2)  # quick to pack
    np.savez(tmp_path / "stored.npz", images=images)
    np.savez_compressed(tmp_path / "packed.npz", images=images)
    head = bytes([0, 0, 8, 4]) + struct.pack(">4I", *images.shape)
    (tmp_path / "images-idx4-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes(), compresslevel=1))
    uris = [str(tmp_path / name) for name in ("stored.npz", "packed.npz", "images-idx4-ubyte.gz")]
    code = PREPARED.format(more=SET_BYTES // 2, uris=uris, out=str(tmp_path / "sets"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert len(done.stdout.split()) == 3, done.stderr
    assert len(set(done.stdout.split())) == 1
