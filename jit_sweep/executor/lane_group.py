"""The worker group of a lane, as Ray Train runs it. Only a group of several workers starts torch outside of them."""

from dataclasses import asdict

from ray import train

from jit_sweep.executor.cluster import OWNER_CPU
from jit_sweep.executor.lane_config import LaneConfig
from jit_sweep.executor.nowhere import nowhere
from jit_sweep.executor.ray_internals import LaneTrainer
from jit_sweep.spec.sweep import Resources
from trainables.lane.loop import LaneSettings, lane_loop


def trainer_of(config: LaneConfig, *, lane: str) -> LaneTrainer:
    """What runs a lane's workers until they are sent home. `lane`: its name."""
    resources = config.resources
    settings = LaneSettings(config.actor, lane, threads=resources.threads, stall_s=resources.stall_s)
    return LaneTrainer(
        lane_loop,
        train_loop_config=asdict(settings),
        backend_config=process_group_of(resources),
        scaling_config=workers_of(resources),
        run_config=train.RunConfig(
            name=lane,
            **nowhere(),
            # Train must not restart the group by itself: the trial in flight would wait for ever.
            failure_config=train.FailureConfig(max_failures=0, controller_failure_limit=1),
        ),
    )


def process_group_of(resources: Resources) -> train.BackendConfig | None:
    """What several workers sum gradients by. One needs none, and so neither its owner nor Train's controller loads torch."""
    if resources.workers == 1:
        return None
    from ray.train.torch import TorchConfig

    return TorchConfig(backend="nccl" if resources.gpus else "gloo")


def workers_of(resources: Resources) -> train.ScalingConfig:
    """The worker group of a lane; with its owner it asks for exactly what the sweep file says."""
    per_worker: dict[str, float] = {"CPU": resources.cpus - OWNER_CPU / resources.workers}
    if resources.gpus:
        per_worker["GPU"] = resources.gpus
    return train.ScalingConfig(num_workers=resources.workers, use_gpu=bool(resources.gpus), resources_per_worker=per_worker)
