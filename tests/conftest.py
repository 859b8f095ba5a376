"""What several test files share."""

from collections.abc import Iterator

import pytest

from tests.support.ray_head import Head, running_head


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    """A Ray head with dashboard and token authentication, up for the whole session. Leave nothing running on it."""
    with running_head() as running:
        yield running


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order: torch splits them over threads otherwise."""
    # Here and not at the top: most tests start no torch.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
