"""What an image set is, without its pixels. Free of torch and numpy."""

from trainables.config.fields import Frozen
from trainables.data.holdout import Holdout


class DataDescription(Frozen):
    """The facts about an image set that a plan needs."""

    uri: str
    """A packaged set's name, or the address that it was read from."""
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
    warnings: tuple[str, ...] = ()
    """A line for each thing about the images that is probably a mistake."""
    is_prepared: bool = True
    """False: a source that has been listed alone. Its counts include what may prove bad; its digest stands for the listing."""


def refuse_other_holdout(uri: str, *, listed: int, holdout: Holdout | None) -> None:
    """A set's own held-out list decides: ValueError where `holdout` asks for another number."""
    if holdout not in (None, listed):
        rule = f"`holdout` must be left out or equal the length of the set's own held-out list, {listed}"
        raise ValueError(f"{rule}, got holdout={holdout} for {uri}; leave it out")
