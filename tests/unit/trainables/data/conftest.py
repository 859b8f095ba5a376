"""What the tests of image sets share."""

import tempfile
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_node_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets that are read from a store are kept in the test's own folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
