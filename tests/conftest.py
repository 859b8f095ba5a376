"""What all folders share: markers, the way to two workers, and torch on one thread. Nothing heavy is imported here."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
FOLDERS = ("unit", "ledger", "services", "cluster", "gpu")
"""Each is a marker too. A test that stands in none of them is a unit test."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test by the folder it stands in."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        item.add_marker(folder if folder in FOLDERS else "unit")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of pytest-xdist, where it is installed and asked for."""
    from tests.support.two_workers import OneRayAtATime

    return OneRayAtATime(config, log)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums in one order: torch splits them over threads otherwise."""
    # Here and not at the top: most tests start no torch.
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Runs a command line in the test's folder; its exit code and what it said."""
    from jit_sweep.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["jit-sweep", *words])
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
