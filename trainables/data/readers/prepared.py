"""A prepared set, by the address of its folder."""

from trainables.data.description import DataDescription, refuse_other_holdout
from trainables.data.holdout import Holdout
from trainables.data.image_set import ImageSet
from trainables.data.prepared.manifest import Manifest

_FILE_SUFFIXES = (".npz",)
"""Asking about a file's address would open it."""


class PreparedReader:
    """Folders that hold `prepared-set.json`."""

    def reads(self, uri: str) -> bool:
        """Whether a manifest lies there; an address that ends as a file's is not asked about. OSError: it cannot be reached."""
        # Here and not at the top, as below: they start fsspec, which a packaged set does without.
        from trainables.data.prepared.layout import MANIFEST
        from trainables.storage.folder import Folder

        if uri.endswith(_FILE_SUFFIXES):
            return False
        try:
            return Folder(uri).has(MANIFEST)
        except (ValueError, ImportError):
            return False

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        # Here and not at the top, as above.
        from trainables.data.prepared.layout import check_files
        from trainables.storage.folder import Folder

        manifest = _manifest(uri, holdout=holdout)
        check_files(Folder(uri), manifest)
        return manifest.description(uri)

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        # Here and not at the top: they start torch and numpy, and describing does without.
        from trainables.data.prepared.images import PreparedImages
        from trainables.data.prepared.prepared_set import open_prepared

        _manifest(uri, holdout=holdout)
        return PreparedImages(open_prepared(uri))


def _manifest(uri: str, *, holdout: Holdout | None) -> Manifest:
    from trainables.data.prepared.layout import read_manifest
    from trainables.storage.folder import Folder

    manifest = read_manifest(Folder(uri))
    if manifest is None:
        raise ValueError(f"a prepared set must have its prepared-set.json, got none at {uri}; prepare it again")
    refuse_other_holdout(uri, listed=manifest.heldout_count, holdout=holdout)
    return manifest
