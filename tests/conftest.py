"""What several test files share."""

from collections.abc import Iterator

import pytest

from tests.cluster import Head, running_head


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray head with dashboard and token authentication, up for the whole session. Leave nothing running on it."""
    with running_head() as running:
        yield running
