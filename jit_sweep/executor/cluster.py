"""A Ray cluster of this command's own, or a connection to one that runs; and what either holds.

Both start Ray from an empty folder: it puts the driver's folder first on its workers' path, and a user's own `trainables`
there would be run instead of ours.
"""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path

import ray

from jit_sweep.errors import UserError
from jit_sweep.executor.before_ray import ENVIRONMENT, check_answers, unreachable
from jit_sweep.executor.held_folder import held_folder
from jit_sweep.plan.lanes import NodeSize, lanes_held
from jit_sweep.results.why import Free
from jit_sweep.spec.sweep import Resources
from trainables.lane.namespace import NAMESPACE

_TEMPORARY = "jit-sweep-"
_OBJECT_STORE_BYTES = 128 * 2**20
"""Nothing large goes through Ray's object store: images and checkpoints take their own way."""
OWNER_CPU = 0.01
"""Tune refuses a trial that asks for nothing; a lane's workers leave this much of their CPUs to their owner."""


@contextmanager
def local_cluster(tell: Callable[[str], None] = print) -> Iterator[None]:
    """A Ray cluster on the loopback interface, gone at the end. UserError: it does not come up.

    `tell` hears of a first try that failed.
    """
    from jit_sweep.executor.ray_internals import on_loopback, shut_down_local  # starts Tune and Train

    with held_folder(Path("/tmp"), prefix=_TEMPORARY) as folder:
        clear = partial(shut_down_local, str(folder))
        try:
            with chdir(folder), _sigterm_kept_back():
                start = partial(
                    ray.init,
                    address="local",
                    namespace=NAMESPACE,
                    include_dashboard=False,
                    log_to_driver=False,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    **on_loopback(str(folder)),
                )
                tried_twice(start, clear=clear, tell=tell)
            yield
        finally:
            clear()


@contextmanager
def _sigterm_kept_back() -> Iterator[None]:
    """What is started within, and what that starts, heeds no SIGTERM; one for this process comes at the end.

    `timeout`, `scancel` and systemd send it to every process of a group at once: Ray would be gone before a trial had saved.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tried_twice(start: Callable[[], object], *, clear: Callable[[], None], tell: Callable[[str], None]) -> None:
    """Start Ray; where it does not come up, as on a machine that is too busy, once more. UserError: not then either.

    `clear` takes down what a failed start has left.
    """
    try:
        start()
    except Exception as error:  # noqa: BLE001 - Ray raises no narrower one when its processes are late
        clear()
        tell(f"Ray did not come up ({_first_line(error)}); once more")
    else:
        return
    try:
        start()
    except Exception as error:
        remedy = "start again when the machine is less busy, or use a running cluster with --address"
        raise UserError(f"Ray must come up on this machine, got twice: {_first_line(error)}; {remedy}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0].rstrip(".")


@contextmanager
def running_cluster(address: str) -> Iterator[None]:
    """A connection to a cluster. UserError: nobody answers there, or it does not let us in."""
    check_answers(address)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def concurrent_lanes(resources: Resources, evaluator: Resources | None = None) -> int:
    """How many lanes to have at once: what the cluster holds beside the evaluators, at most what the file asks for. UserError:
    not even one.

    Tune does not count Train's workers; without this limit half-placed groups would wait for each other. An autoscaled
    cluster may hold nothing when the sweep starts: there the number in the file is taken as it is.
    """
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [NodeSize(cpus=node.get("CPU", 0), gpus=node.get("GPU", 0)) for node in alive]
    lanes = lanes_held(resources, nodes, evaluator=evaluator)
    if lanes >= 1:
        return min(lanes, resources.concurrent or lanes)
    if resources.concurrent is not None:
        return resources.concurrent
    asked = f"{resources.workers} x ({resources.cpus:g} CPU, {resources.gpus:g} GPU)"
    there = "; ".join(f"{node.cpus:g} CPU, {node.gpus:g} GPU" for node in nodes)
    beside = ""
    if evaluator is not None:
        beside = f" and {evaluator.concurrent} x ({evaluator.cpus:g} CPU, {evaluator.gpus:g} GPU) for evaluators"
    rule = f"`resources` must fit the cluster's nodes, got {asked} for one trial{beside} where there are {there}"
    less = "ask for less, or `evaluation.at: trial`" if beside else "ask for less"
    raise UserError(f"{rule}; {less}, or give `concurrent` where the cluster grows by itself")


def lost_nodes() -> set[str]:
    """Ids of the cluster's nodes that are no more."""
    return {node["NodeID"] for node in ray.nodes() if not node["Alive"]}


def free_resources(address: str) -> Free:
    """CPUs and GPUs that nothing holds now. UserError: nobody answers there."""
    with running_cluster(address):
        available = ray.available_resources()
    return Free(cpus=available.get("CPU", 0.0), gpus=available.get("GPU", 0.0))


def _connect(address: str) -> None:
    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, runtime_env={"env_vars": ENVIRONMENT})
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise unreachable(address, str(error).strip().splitlines()[0]) from None
