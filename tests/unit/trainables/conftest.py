"""How steps are compiled where a test is about what torch traces of them."""

from collections.abc import Iterator

import pytest

from trainables.process_caches import clear_process_caches


@pytest.fixture
def steps_as_traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compiled steps whose kernels are torch's eager ones: see `traced`. None of another test's is taken, and none is left."""
    from tests.support.networks import traced  # starts torch
    from trainables.training import step

    clear_process_caches()
    monkeypatch.setattr(step, "as_one_graph", traced)
    yield
    clear_process_caches()
