"""The contract with the installed Ray: what `ray_internals` takes from it does what is said there."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from ray._private.node import Node
from ray.train._internal.storage import _VALIDATE_STORAGE_MARKER_FILENAME
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import VALIDATE_STORAGE_MARKER_FILENAME
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.tune.execution import class_cache

from jit_sweep.executor import ray_internals
from tests.support.cli import environment
from tests.support.ray_head import Head

RAYLET = Path(ray.__file__).parent / "core/src/ray/raylet/raylet"
GCS_SERVER = Path(ray.__file__).parent / "core/src/ray/gcs/gcs_server"
COMMON = """
import json, sys
import ray
from ray.util.placement_group import placement_group
from jit_sweep.executor import ray_internals
ray.init(sys.argv[1], namespace="contract", log_to_driver=False)
job = ray.get_runtime_context().get_job_id()
"""
ENDED_JOB = COMMON + "print(json.dumps(job))"
DEAD_MAKER = (
    COMMON
    + """
@ray.remote(num_cpus=0)
class Maker:
    def make(self):
        return placement_group([{"CPU": 100.0}]).id.hex()

maker = Maker.remote()
group, own = ray.get(maker.make.remote()), placement_group([{"CPU": 100.0}]).id.hex()
before = ray_internals.groups_of_dead_actors()
ray.kill(maker)
while not ray_internals.groups_of_dead_actors() - before:
    pass
print(json.dumps({
    "made": group, "own": own, "job": job, "of": ray_internals.job_of(group), "before": sorted(before),
    "after": sorted(ray_internals.groups_of_dead_actors()), "ended": sorted(ray_internals.ended_jobs("contract")),
    "of_others": sorted(ray_internals.ended_jobs("another")),
}))
"""
)
HALF_STARTED = """
import json
import psutil
from jit_sweep.executor.before_ray import prepare_environment
prepare_environment(address=None)
from jit_sweep.errors import UserError
from jit_sweep.executor.cluster import local_cluster
left = []
def tell(line):
    left.append([line, *(process.name() for process in psutil.Process().children(recursive=True))])
try:
    with local_cluster(tell):
        pass
except UserError as error:
    tell(str(error))
print(json.dumps(left))
"""


def answer(script: str, head: Head) -> object:
    """What a process of the cluster's prints."""
    command = [sys.executable, "-c", script, head.address]
    mine = environment(head.home, **head.client_env)
    done = subprocess.run(command, env=mine, cwd=head.home, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_installed_ray_is_the_one_that_the_code_is_written_for() -> None:
    assert ray.__version__ == ray_internals.RAY_VERSION


def test_groups_of_dead_actors_and_ended_jobs_are_found(head: Head) -> None:
    ended = answer(ENDED_JOB, head)
    found = answer(DEAD_MAKER, head)
    assert isinstance(found, dict)
    assert set(found["after"]) - set(found["before"]) == {found["made"]}  # earlier tests of this head leave their own
    assert found["of"] == found["job"] != ended
    assert (found["ended"], found["of_others"]) == ([ended], [])


def test_a_lane_s_trainer_leaves_out_two_callbacks_and_no_other() -> None:
    ours = ray_internals.LaneTrainer(print)._create_default_callbacks()
    rays = DataParallelTrainer(print)._create_default_callbacks()
    left_out = {type(callback) for callback in rays} - {type(callback) for callback in ours}
    assert left_out == {PlacementGroupCleanerCallback, DatasetsCallback}
    assert len(ours) == len(rays) - 2


def test_tune_would_hand_the_keys_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", set(class_cache.ENV_VARS_TO_PROPAGATE))
    keys = set(ray_internals.CREDENTIALS)
    assert keys <= class_cache.ENV_VARS_TO_PROPAGATE
    ray_internals.keep_credentials_here()
    assert not keys & class_cache.ENV_VARS_TO_PROPAGATE


def test_tune_and_train_know_a_storage_by_the_marker_that_ours_has() -> None:
    assert ray_internals.STORAGE_MARKER == VALIDATE_STORAGE_MARKER_FILENAME == _VALIDATE_STORAGE_MARKER_FILENAME


def test_the_processes_of_a_node_can_be_killed_without_being_asked() -> None:
    assert {"check_alive", "allow_graceful", "wait"} <= set(inspect.signature(Node.kill_all_processes).parameters)


def test_a_start_that_fails_half_way_leaves_no_process(tmp_path: Path) -> None:
    """Ray reads the resources that a node is to have once its first servers are up, and forgets these where it cannot."""
    mine = environment(tmp_path, RAY_OVERRIDE_RESOURCES="no JSON")
    done = subprocess.run([sys.executable, "-c", HALF_STARTED], env=mine, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [once, *after_the_first], [twice, *after_the_second] = json.loads(done.stdout.splitlines()[-1])
    assert once.startswith("Ray did not come up (")
    assert twice.startswith("Ray must come up on this machine, got twice: ")
    assert (after_the_first, after_the_second) == ([], [])


def test_ray_s_servers_say_why_an_actor_died_in_the_words_looked_for() -> None:
    assert b"its node has died" in GCS_SERVER.read_bytes()
    assert b"running low on memory" in RAYLET.read_bytes()
    assert ray_internals.names_a_dead_node(RuntimeError("The actor died because its node has died. Node Id: 1"))
    assert ray_internals.names_lack_of_memory(RuntimeError("Task was killed due to the node running low on memory."))
