"""The program's own source as it travels to a cluster: the three packages with their packaged files, and nothing else."""

import importlib.util
import shutil
from pathlib import Path

from jit_sweep.errors import UserError

PACKAGES = ("jit_sweep", "search_spaces", "trainables")
TRAVELS = frozenset({".py", ".typed", ".yaml", ".json", ".npz", ".md"})
"""Suffixes of what the wheel holds; a test compares the two."""


def copy_source(target: Path) -> list[Path]:
    """Copy the three packages below a folder; their copies. UserError: one of them is somebody else's."""
    return [_copy(folder, target / name) for name, folder in package_folders().items()]


def package_folders() -> dict[str, Path]:
    """Where each package lies. UserError: Python finds one of them outside our own distribution."""
    ours = Path(__file__).resolve().parents[2]
    found = {name: _found(name) for name in PACKAGES}
    for name, folder in found.items():
        if folder != ours / name:
            rule = f"`{name}` must be the one of this installation, {ours / name}, got {folder}"
            raise UserError(f"{rule}: rename that one, take it off PYTHONPATH, or start from another folder")
    return {name: ours / name for name in PACKAGES}


def _found(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin).resolve()
    return origin.parent if spec.submodule_search_locations else origin


def _copy(folder: Path, target: Path) -> Path:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix in TRAVELS and "__pycache__" not in file.parts:
            place = target / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    return target
