"""Shards of a prepared set made by Ray Data, on a cluster or on this machine's processors."""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import ray.data

from jit_sweep.executor.cluster import local_cluster, running_cluster
from trainables.data.prepared.making import ShardRecord, ShardWork, make_shard
from trainables.data.prepared.preparing import Run


@contextmanager
def on_ray(*, address: str | None) -> Iterator[Run]:
    """What makes shards on a running cluster, or on one that is started here for it. UserError: there is none."""
    with local_cluster() if address is None else running_cluster(address):
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield _shards


def _shards(works: Sequence[ShardWork]) -> Iterable[ShardRecord]:
    """Each shard is a block of its own, so that a lost worker costs one. They come as they are done."""
    if not works:
        return
    rows = [{"work": pickle.dumps(work)} for work in works]
    for row in ray.data.from_items(rows, override_num_blocks=len(rows)).map(_made).iter_rows():
        yield ShardRecord.model_validate_json(row["record"])


def _made(row: dict[str, bytes]) -> dict[str, str]:
    return {"record": make_shard(pickle.loads(row["work"])).model_dump_json()}
