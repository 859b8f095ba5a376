"""Where it plays: a Ray head with a second node, an S3 server and an MLflow server, all started here and ended here."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import s3fs

from tests.chaos.mlflow_server import MlflowServer
from tests.chaos.second_node import SecondNode
from tests.cluster import Head, running_head
from tests.s3_server import BUCKET, S3Server, s3_server


@dataclass(frozen=True)
class World:
    """All that a disturbed sweep stands on."""

    head: Head
    node: SecondNode
    s3: S3Server
    mlflow: MlflowServer

    @property
    def storage(self) -> str:
        """Where every sweep keeps its files."""
        return f"s3://{BUCKET}/store"

    @property
    def environment(self) -> dict[str, str]:
        """What a command finds them by."""
        return {**self.head.client_env, **self.s3.environment()}

    def mend(self) -> None:
        """Start again what lies dead, without waiting for more than the storage."""
        if self.s3.process is None:
            self.s3.start()
        if self.mlflow.process is None:
            self.mlflow.start()
        if not self.node.raylets():
            self.node.end()
            self.node.start()


@contextmanager
def whole_world(folder: Path) -> Iterator[World]:
    """Everything up; each node of the cluster holds one lane."""
    with s3_server() as s3, running_head(cpus=1, **s3.environment()) as head, storage_of(s3):
        world = World(head, SecondNode(head, s3.environment()), s3, MlflowServer(folder))
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
def storage_of(s3: S3Server) -> Iterator[None]:
    """This process finds the storage too."""
    before = dict(os.environ)
    os.environ |= s3.environment()
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
