"""Where it plays: a Ray head with a second node, an S3 server and an MLflow server, all started here and ended here."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import s3fs

from tests.chaos.mlflow_server import MlflowServer
from tests.chaos.partition import Namespace, forwarded, namespace
from tests.chaos.second_node import SecondNode
from tests.support.ray_head import Head, running_head
from tests.support.s3 import BUCKET, S3Server, s3_server

SOON_MISSED = {"period_ms": "1000", "timeout_ms": "3000", "failure_threshold": "5"}
"""Ray's health checks: a node that cannot be reached is given up within a quarter of a minute."""
SHORT_WAIT = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15"}
"""A lane that finds no place gives up after this many seconds, not sixty: a killed node may stay away until the next kill."""


@dataclass(frozen=True)
class World:
    """All that a disturbed sweep stands on."""

    head: Head
    node: SecondNode
    s3: S3Server
    mlflow: MlflowServer
    storage_environment: Mapping[str, str]
    namespace: Namespace | None = None
    """Where the second node is, if it is not beside the head."""

    @property
    def storage(self) -> str:
        """Where every sweep keeps its files."""
        return f"s3://{BUCKET}/store"

    @property
    def environment(self) -> dict[str, str]:
        """What a command finds them by."""
        return {**self.head.client_env, **self.storage_environment}

    def mend(self) -> None:
        """Start again what lies dead, without waiting for more than the storage."""
        if self.s3.process is None:
            self.s3.start()
        if self.mlflow.process is None:
            self.mlflow.start()
        if self.namespace is not None and self.namespace.is_cut:
            self.namespace.heal()
        if not self.node.raylets():
            self.node.end()
            self.node.start()


@contextmanager
def whole_world(folder: Path, *, apart: bool = False) -> Iterator[World]:
    """Everything up; each node of the cluster holds one lane. `apart`: the second node has a network of its own."""
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_server())
        network = stack.enter_context(namespace()) if apart else None
        storage = dict(s3.environment())
        if network is not None:
            port = stack.enter_context(forwarded(s3.ports["s3"], to=network.outside))
            storage["AWS_ENDPOINT_URL"] = f"http://{network.outside}:{port}"
        checks = {f"RAY_health_check_{name}": value for name, value in SOON_MISSED.items()}
        ip = network.outside if network is not None else "127.0.0.1"
        head = stack.enter_context(running_head({**storage, **checks, **SHORT_WAIT}, cpus=1, ip=ip))
        stack.enter_context(found_by_this_process(storage))
        node = SecondNode(head, {**storage, **SHORT_WAIT})
        if network is not None:
            node = SecondNode(head, {**storage, **SHORT_WAIT}, ip=network.inside, within=network.within)
        world = World(head, node, s3, MlflowServer(folder), storage, network)
        try:
            world.mlflow.start()
            world.node.start()
            world.node.wait()
            world.mlflow.wait()
            yield world
        finally:
            world.node.end()
            world.mlflow.kill()


@contextmanager
def found_by_this_process(storage: Mapping[str, str]) -> Iterator[None]:
    """Checks read the storage too."""
    before = dict(os.environ)
    os.environ |= storage
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before
        s3fs.S3FileSystem.clear_instance_cache()


def kept_folder() -> Path:
    """A folder that outlives the process: what went wrong there is looked into later."""
    return Path(tempfile.mkdtemp(prefix="jit-sweep-chaos-"))
