"""A folder of images: class folders, a flat one, or with a record of labels beside them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from trainables.data.sources.labels import indexed
from trainables.data.sources.source import BadImage, Content, SourceImage, SourceIndex, is_image
from trainables.storage.address import local_path
from trainables.storage.folder import read_file
from trainables.storage.listing import FileListing

_REMOTE_READS = 16
"""Files of a bucket that are fetched at once: each waits for its answer."""


class FolderFormat:
    """Image files below a folder."""

    name = "folder"

    def takes(self, listing: FileListing, head: bytes) -> bool:
        return listing.is_folder and any(is_image(file.name) for file in listing.files)

    def source(self, listing: FileListing) -> "FolderSource":
        return FolderSource(listing)


@dataclass(frozen=True)
class FolderSource:
    """Images by their paths within the folder."""

    listing: FileListing

    def index(self, labels: str) -> SourceIndex:
        addresses = {file.name: file.address for file in self.listing.files}
        index = indexed(list(addresses), lambda name: read_file(addresses[name]), labels=labels, where=self.listing.uri)
        images = [image._replace(at=addresses[image.key]) for image in index.images]
        return SourceIndex(images, index.class_names)

    def read(self, images: Sequence[SourceImage]) -> Iterator[Content | BadImage]:
        if not images or local_path(images[0].at) is not None:
            yield from (_content(image.at) for image in images)
            return
        with ThreadPoolExecutor(_REMOTE_READS) as pool:
            yield from pool.map(_content, [image.at for image in images])


def _content(address: str) -> Content | BadImage:
    try:
        return read_file(address)
    except FileNotFoundError:
        return BadImage("gone since the folder was listed")
    except PermissionError as error:
        return BadImage(f"it may not be read ({error})")
