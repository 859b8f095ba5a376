"""Every use of what Ray does not promise to keep, in one place: written for, and tested against, the version named here."""

import os
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.core.generated import gcs_pb2
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.tune.execution import class_cache

RAY_VERSION = "2.60.0"
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""What every machine of a cluster has in its own environment, or has not."""
STORAGE_MARKER = ".validate_storage_marker"
"""The name of the file by which Tune and Train see whether a node reaches the storage."""
EXPERIMENT_STATE = "experiment_state-0.json"
"""A name that Tune takes for the state of an experiment."""
_NOBODY = b"\xff"
"""The bytes of an id that stands for no actor."""
_JOB_ID_HEX = 8


class LaneTrainer(DataParallelTrainer):
    """A trainer without two helpers of Ray Train that a lane has no use for.

    The placement group cleaner is a detached actor: it outlives a killed driver, and would be left behind; the executor
    removes the groups itself. The data set manager serves Ray Data. Each is a process of 110 MB.
    """

    def _create_default_callbacks(self) -> list[Any]:
        left_out = (PlacementGroupCleanerCallback, DatasetsCallback)
        return [callback for callback in super()._create_default_callbacks() if not isinstance(callback, left_out)]


def keep_credentials_here() -> None:
    """Keep Tune from copying this process's keys into its actors' runtime environment, which dashboard and logs show."""
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(CREDENTIALS)


def groups_of_dead_actors() -> set[str]:
    """Ids of the placement groups whose creator was an actor and has died; the public table does not say who that was."""
    accessor = ray._private.state.state._connect_and_get_accessor()
    tables = [gcs_pb2.PlacementGroupTableData.FromString(raw) for raw in accessor.get_placement_group_table()]
    return {
        table.placement_group_id.hex() for table in tables if table.creator_actor_dead and table.creator_actor_id.strip(_NOBODY)
    }


def ended_jobs(namespace: str) -> set[str]:
    """Ids of the namespace's jobs that have ended; the public list of jobs names no namespace."""
    jobs = ray._private.worker.global_worker.gcs_client.get_all_job_info()
    return {job_id.hex() for job_id, job in jobs.items() if job.is_dead and job.config.ray_namespace == namespace}


def job_of(group: str) -> str:
    """The id of the job that made a placement group: the end of the group's own."""
    return group[-_JOB_ID_HEX:]


def on_loopback(folder: str) -> dict[str, Any]:
    """Arguments of `ray.init` that keep a local cluster on the loopback interface, and its files in a folder."""
    return {"_node_ip_address": "127.0.0.1", "_temp_dir": folder}


def shut_down_local(folder: str) -> None:
    """`ray.shutdown` of a local cluster, whose processes heed no SIGTERM: they are killed, and not asked for a second each.

    So are the raylet's children, some of which would look for the head for half a minute; and what a start has left that
    failed half way, which Ray knows nothing of: all its servers have the cluster's `folder` in their command lines.
    """
    node = ray._private.worker._global_node
    if node is not None:
        kill = node.kill_all_processes

        def kill_all(**_: bool) -> None:
            raylets = {info.process.pid for info in node.all_processes.get(PROCESS_TYPE_RAYLET, ())}
            below = _children_of(raylets)
            kill(check_alive=False, allow_graceful=False, wait=True)
            _kill(below)

        node.kill_all_processes = kill_all
    ray.shutdown()
    servers = _servers_of(folder)
    _kill([*servers, *_children_of(servers)])


def _servers_of(folder: str) -> list[int]:
    """Processes that have a folder in their command lines."""
    servers = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"{folder}/".encode() in file.read_bytes() and int(file.parent.name) != os.getpid():
                servers.append(int(file.parent.name))
    return servers


def _kill(pids: Iterable[int]) -> None:
    """Kill processes, and wait for those that this one has started."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _children_of(parents: Collection[int]) -> list[int]:
    children = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            _, parent, *_ = file.read_text().rpartition(")")[2].split()
            if int(parent) in parents:
                children.append(int(file.parent.name))
    return children


def names_a_dead_node(error: BaseException) -> bool:
    """Whether an actor's death came with its node's, which Ray says in the error's text alone."""
    return "its node has died" in str(error)


def names_lack_of_memory(error: BaseException) -> bool:
    """Whether Ray's memory monitor killed the worker, which it says in the error's text alone."""
    return "running low on memory" in str(error)
