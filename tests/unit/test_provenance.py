"""Provenance says which code made a result, and nothing where it cannot tell."""

import subprocess
from pathlib import Path

import pytest

from jit_sweep.provenance import git_commit, package_versions


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A committed file in a repository."""
    file = tmp_path / "module.py"
    file.write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "module.py")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-q", "-m", "first")
    return file


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_is_the_checkout_s(module: Path) -> None:
    assert git_commit(module) == git(module.parent, "rev-parse", "HEAD")


def test_changed_files_make_the_commit_dirty(module: Path) -> None:
    module.write_text("x = 2\n")
    assert git_commit(module) == f"{git(module.parent, 'rev-parse', 'HEAD')}-dirty"


def test_code_installed_below_somebody_s_repository_is_not_its_code(module: Path) -> None:
    installed = module.parent / "site-packages" / "module.py"
    installed.parent.mkdir()
    installed.touch()
    assert git_commit(installed) is None


def test_code_outside_a_repository_has_no_commit(tmp_path: Path) -> None:
    (tmp_path / "module.py").touch()
    assert git_commit(tmp_path / "module.py") is None


def test_versions_are_those_of_the_packages_that_decide_numbers() -> None:
    assert {"python", "torch", "ray", "numpy"} <= package_versions().keys()
