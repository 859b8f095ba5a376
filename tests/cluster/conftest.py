"""Ray clusters, and the services that a sweep on one talks to."""

from collections.abc import Iterator

import pytest

from tests.support.databases import postgres_server, postgres_uri
from tests.support.ray_head import Head, running_head
from tests.support.s3 import running_s3, s3

__all__ = ["head", "postgres_server", "postgres_uri", "running_s3", "s3"]


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray head with dashboard and token authentication, up for the whole session. Leave nothing running on it."""
    with running_head() as running:
        yield running
