"""The image sets that travel with the package, by name: described from their records, without numpy."""

from trainables.data import packaged
from trainables.data.description import DataDescription, refuse_other_holdout
from trainables.data.holdout import Holdout
from trainables.data.image_set import ImageSet


class PackagedReader:
    """Sets whose pixels lie beside their records."""

    def reads(self, uri: str) -> bool:
        """Whether the address is the name of a packaged set."""
        return uri in packaged.names()

    def describe(self, uri: str, *, holdout: Holdout | None) -> DataDescription:
        record = packaged.record(uri)
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

    def open(self, uri: str, *, holdout: Holdout | None) -> ImageSet:
        # Here and not at the top: they start torch and numpy, and describing does without.
        import numpy as np

        from trainables.data.arrays import checked_arrays
        from trainables.data.in_memory import ArrayImages
        from trainables.data.npz_file import npz_members

        record = packaged.record(uri)
        heldout = np.array(record.heldout, dtype=np.int64)
        members = {**npz_members(str(record.arrays)), "heldout": heldout}
        return ArrayImages.of(checked_arrays(members, uri, holdout=holdout))
