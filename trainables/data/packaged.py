"""The image sets that travel with the package: a JSON record beside each array file, read without numpy."""

import functools
from pathlib import Path

from trainables.config.fields import Frozen

_FOLDER = Path(__file__).parent


class PackagedSet(Frozen):
    """What the record says; a test holds it equal to the arrays."""

    name: str
    digest: str
    image_size: int
    channels: int
    class_names: tuple[str, ...]
    train_count: int
    heldout_count: int
    heldout: tuple[int, ...]
    """Held-out images, rising: what `split.heldout_indices` gave when the set was packaged, frozen."""

    @property
    def arrays(self) -> Path:
        """The .npz file with the pixels and labels."""
        return _FOLDER / f"{self.name}.npz"


def names() -> list[str]:
    """The packaged sets, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


@functools.cache
def record(name: str) -> PackagedSet:
    """The record of a packaged set, one of `names()`."""
    return PackagedSet.model_validate_json((_FOLDER / f"{name}.json").read_bytes())
