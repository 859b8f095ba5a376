"""Which code runs: the versions that a result depends on, and the commit it came from."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jit-sweep", "torch", "ray", "optuna", "mlflow", "numpy")
GIT_TIMEOUT_S = 5


@cache
def package_versions() -> dict[str, str]:
    """Python and the packages that decide numbers; one that is not installed as a package is left out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # this project itself, where it travelled to a cluster as source
            continue
    return versions


@cache
def git_commit(file: Path = Path(__file__)) -> str | None:
    """The commit of the checkout that a file runs from, with `-dirty` after it where files differ; None outside one."""
    # A package installed below somebody's repository is not that repository's code.
    if _git("ls-files", "--error-unmatch", file.name, folder=file.parent) is None:
        return None
    commit = _git("rev-parse", "HEAD", folder=file.parent)
    changes = _git("status", "--porcelain", "--untracked-files=no", folder=file.parent)
    return f"{commit}-dirty" if commit and changes else commit


def _git(*arguments: str, folder: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
