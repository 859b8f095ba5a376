"""The image sets that travel with the package: a JSON record beside each array file, read without numpy."""

from pathlib import Path

from trainables.config.fields import Frozen
from trainables.process_caches import ProcessCache

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


_records: ProcessCache[str, PackagedSet] = ProcessCache("packaged records")


def record(name: str) -> PackagedSet:
    """The record of a packaged set, one of `names()`."""
    path = _FOLDER / f"{name}.json"
    return _records.get(name, make=lambda: PackagedSet.model_validate_json(path.read_bytes()))
