"""Whether an address is to be prepared, what would come of it, and where the result lies. Nothing is decoded here."""

from typing import NamedTuple

from trainables.config.spelling import did_you_mean
from trainables.data.description import DataDescription
from trainables.data.prepared.layout import MANIFEST, read_manifest
from trainables.data.prepared.manifest import SourceRecord
from trainables.data.prepared.preparing import Preparation, check_holdout, check_looks, heldout_count, source_record
from trainables.data.prepared.settings import DataFormat, PrepareSettings
from trainables.data.readers.npz import NpzReader
from trainables.data.readers.registry import reader_of
from trainables.data.sources.registry import format_name, source_of
from trainables.storage.address import Addresses, check_protocol, local_path
from trainables.storage.folder import Folder
from trainables.storage.listing import FileListing, is_pattern, listing_of, names_beside

_SETS = "data"
"""The folder of a storage that keeps prepared sets."""


def to_prepare(uri: Addresses, settings: PrepareSettings, *, format: DataFormat | None) -> FileListing | None:
    """The files that images are to be prepared from; None where a reader takes the address as it is.

    ValueError: nothing is there, or settings are given that a set which is ready cannot follow. OSError: it cannot be reached.
    """
    if not isinstance(uri, str) or is_pattern(uri):
        return listed(uri)
    plain = settings.model_copy(update={"holdout": None}) == PrepareSettings() and format in (None, "npz")
    if not isinstance(reader_of(uri), NpzReader):
        _refuse_settings(uri, plain)
        return None
    if plain and uri.endswith(".npz"):
        return None
    try:
        listing = listed(uri)
    except ValueError:
        if plain:
            return None  # the reader of .npz files says what was probably meant
        raise
    if not plain or listing.is_folder:
        return listing
    return None if format_name(listing) in (None, "npz") else listing


def listed(uri: Addresses) -> FileListing:
    """The files of a source. ValueError: nothing is there, or it is no address. OSError: it cannot be reached."""
    for address in (uri,) if isinstance(uri, str) else uri:
        check_protocol(address, key="data")
    try:
        return listing_of(uri)
    except FileNotFoundError as error:
        rule = "`data` must be a packaged set, or the path or URI of images"
        raise ValueError(f"{rule}, got {error}; {_meant(uri)}") from None


def _meant(uri: Addresses) -> str:
    """What beside an address was probably to be named."""
    otherwise, path = "check the spelling, and your access to it", local_path(uri) if isinstance(uri, str) else None
    if path is None or is_pattern(str(path)):
        return otherwise
    return did_you_mean(path.name, names_beside(path), otherwise=otherwise)


def _refuse_settings(uri: str, plain: bool) -> None:
    if not plain:
        rule = "a set that is prepared already takes `holdout` and `flip` alone, got further keys"
        raise ValueError(f"{rule} for {uri}; leave them out, or name the source")


def record_of(listing: FileListing, *, format: DataFormat | None, uri: str) -> SourceRecord:
    """What a source is, by its listing. ValueError: no format takes it."""
    name, _ = source_of(listing, format=format)
    return source_record(listing, format=name, uri=uri)


class FormerSet(NamedTuple):
    """A set that was prepared of a source as it was before."""

    address: str
    source: SourceRecord


def former_set(storage: str, source: SourceRecord, settings: PrepareSettings) -> FormerSet | None:
    """The set in a storage that was made by these settings of the same source, before it changed; None: there is none."""
    for name in Folder(storage).folders(_SETS):
        manifest = read_manifest(Folder(home_of(storage, name)))
        same = manifest is not None and (manifest.source.uri, manifest.settings) == (source.uri, settings)
        if manifest is not None and same and manifest.source.identity != source.identity:
            return FormerSet(home_of(storage, name), manifest.source)
    return None


def home_of(storage: str, id: str) -> str:
    """Where a storage keeps the prepared set of this id."""
    return f"{storage.rstrip('/')}/{_SETS}/{id}"


def is_there(address: str) -> bool:
    """Whether a whole set lies there. OSError: the storage fails."""
    return Folder(address).has(MANIFEST)


def description_of(plan: Preparation) -> DataDescription:
    """What a plan can know of a source that has been looked at."""
    check_holdout(plan)
    check_looks(plan)
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
