"""The program's own source as it travels to a cluster: the three packages with their packaged files, and nothing else."""

import importlib.util
import shutil
from pathlib import Path

from jit_sweep.errors import UserError

PACKAGES = ("jit_sweep", "search_spaces", "trainables")
TRAVELS = frozenset({".py", ".typed", ".yaml", ".json", ".npz", ".md", ".html", ".css", ".js"})
"""Suffixes of what the wheel holds; a test compares the two."""


def copy_source(target: Path) -> list[Path]:
    """Copy the three packages below a folder; returns their copies. UserError: Python imports one of them from elsewhere."""
    return [_copy(folder, target / name) for name, folder in package_folders().items()]


def package_folders() -> dict[str, Path]:
    """Where each package lies. UserError: Python finds one of them outside our own distribution."""
    ours = Path(__file__).resolve().parents[2]
    origins = {name: _origin(name) for name in PACKAGES}
    for name, folder in origins.items():
        if folder != ours / name:
            rule = f"`{name}` must be the one of this installation, {ours / name}, got {folder}"
            raise UserError(f"{rule}: rename that one, take it off PYTHONPATH, or start from another folder")
    return {name: ours / name for name in PACKAGES}


def _origin(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin).resolve()
    return origin.parent if spec.submodule_search_locations else origin


def _copy(folder: Path, target: Path) -> Path:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in TRAVELS and "__pycache__" not in file.parts:
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return target
