"""Whether an address is to be prepared, what would come of it, and where the result lies. Nothing is decoded here."""

from trainables.data.description import DataDescription
from trainables.data.prepared.layout import MANIFEST
from trainables.data.prepared.preparing import Preparation, check_holdout, heldout_count, prepared_id, source_record
from trainables.data.prepared.settings import DataFormat, PrepareSettings
from trainables.data.readers.npz import NpzReader
from trainables.data.readers.registry import reader_of
from trainables.data.sources.registry import format_name, source_of
from trainables.storage.folder import Folder
from trainables.storage.listing import FileListing, listing_of


def to_prepare(uri: str, settings: PrepareSettings, *, format: DataFormat | None) -> FileListing | None:
    """The files that images are to be prepared from; None where a reader takes the address as it is.

    ValueError: nothing is there, or settings are given that a set which is ready cannot follow. OSError: it cannot be reached.
    """
    plain = settings.model_copy(update={"holdout": None}) == PrepareSettings() and format in (None, "npz")
    if not isinstance(reader_of(uri), NpzReader):
        _refuse_settings(uri, plain)
        return None
    if plain and uri.endswith(".npz"):
        return None
    try:
        listing = listing_of(uri)
    except FileNotFoundError:
        if plain:
            return None  # the reader of .npz files says what was probably meant
        rule = "`data` must be a packaged set, or the path or URI of images"
        raise ValueError(f"{rule}, got {uri}, where there is nothing; check the spelling, and your access to it") from None
    if not plain or listing.is_folder:
        return listing
    return None if format_name(listing) in (None, "npz") else listing


def _refuse_settings(uri: str, plain: bool) -> None:
    if not plain:
        rule = "a set that is prepared already takes `holdout` and `flip` alone, got further keys"
        raise ValueError(f"{rule} for {uri}; leave them out, or name the source")


def found_id(listing: FileListing, settings: PrepareSettings, *, format: DataFormat | None, uri: str) -> str:
    """The id that the prepared set of a source has. ValueError: no format takes it."""
    name, _ = source_of(listing, format=format)
    return prepared_id(source_record(listing, format=name, uri=uri), settings)


def home_of(storage: str, id: str) -> str:
    """Where a storage keeps the prepared set of this id."""
    return f"{storage.rstrip('/')}/data/{id}"


def is_there(address: str) -> bool:
    """Whether a whole set lies there. OSError: the storage fails."""
    return Folder(address).has(MANIFEST)


def description_of(plan: Preparation) -> DataDescription:
    """What a plan can know of a source that has been looked at."""
    check_holdout(plan)
    holdout = heldout_count(plan)
    return DataDescription(
        uri=plan.record.uri,
        digest=f"unprepared {plan.id}",
        image_size=plan.image_size(),
        channels=3 if plan.settings.channels == "rgb" else 1,
        num_classes=len(plan.images.class_names),
        class_names=plan.images.class_names,
        train_count=len(plan.images.images) - holdout,
        heldout_count=holdout,
        is_prepared=False,
    )
