"""What an image set is, without its pixels and without torch."""

from trainables.config.fields import Frozen
from trainables.data import packaged


class DataDescription(Frozen):
    """The facts about an image set that a plan needs."""

    uri: str
    """A packaged set's name, or the address of an .npz file."""
    digest: str
    """First 16 hex digits of a hash over the images, the labels and the held-out list."""
    image_size: int
    """Height and width in pixels."""
    channels: int
    num_classes: int
    """1 for a set without labels: the model is then unconditional."""
    class_names: tuple[str, ...]
    train_count: int
    heldout_count: int


def describe(uri: str, *, holdout: int | None = None) -> DataDescription:
    """Describe a packaged set (from its record, at once) or an .npz file (which is read whole).

    `holdout` is the number of images to split off where the set brings no held-out list. Raises ValueError with rule, value
    and remedy for a set that cannot be read or does not fit.
    """
    record = packaged.record(uri)
    if record is None:
        # Here and not at the top: it starts numpy, which a packaged set does without.
        from trainables.data.readers.npz import read_arrays

        return read_arrays(uri, holdout=holdout).description(uri)
    refuse_other_holdout(uri, listed=record.heldout_count, holdout=holdout)
    return DataDescription(
        uri=uri,
        digest=record.digest,
        image_size=record.image_size,
        channels=record.channels,
        num_classes=len(record.class_names),
        class_names=record.class_names,
        train_count=record.train_count,
        heldout_count=record.heldout_count,
    )


def refuse_other_holdout(uri: str, *, listed: int, holdout: int | None) -> None:
    """A set's own held-out list decides: ValueError where `holdout` asks for another number."""
    if holdout not in (None, listed):
        rule = f"`holdout` must be left out or equal the length of the set's own held-out list, {listed}"
        raise ValueError(f"{rule}, got holdout={holdout} for {uri}; leave it out")
