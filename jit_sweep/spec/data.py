"""The kinds of data that a sweep file can name, each with what the program asks of any of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, Tag

from jit_sweep.spec.stages import key_of
from jit_sweep.spec.uri import DataUri, located
from trainables.config.fields import Frozen
from trainables.data.prepared.settings import DataFormat, PrepareSettings
from trainables.storage.address import in_words


class PackagedData(Frozen):
    """A data set that comes with the program."""

    name: Literal["emoji32", "spiral"]
    """The data set's name: real images of 32 px that ship with the program, or the points of a flat spiral."""
    flip: bool = True
    """Mirror each image left to right with probability one half."""

    @property
    def licence(self) -> str:
        """Of its images."""
        return "MIT (Microsoft Fluent Emoji)" if self.name == "emoji32" else "none: made by rule"

    @property
    def address(self) -> str:
        """What `trainables.data` opens it by."""
        return self.name

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every path or URI that each node must reach: none, since all have it."""
        return ()

    @property
    def holdout(self) -> int | None:
        """Images to hold out: None, since the set brings its own list."""
        return None

    def located(self) -> Self:
        """With its relative path made absolute: it has none."""
        return self


class FileData(PrepareSettings):
    """Images of your own: a folder, zip, parquet, tar, idx or npz, or a prepared set. What is not prepared, a run prepares.

    An .npz file (`images` [N, S, S, C] uint8, optionally `labels`, `heldout`, `class_names`) without further keys is read as
    it is.
    """

    uri: DataUri | Annotated[tuple[DataUri, ...], Field(min_length=1)]
    """Path or URI of the source, or of a prepared set; or a list of those that are one source together."""
    format: DataFormat | None = None
    """What kind of source it is; found by looking where it is left out."""
    flip: bool = True
    """Mirror each image left to right with probability one half."""
    licence: str | None = None
    """Under which the images may be used, for the page of a model that is trained on them."""

    @property
    def settings(self) -> PrepareSettings:
        """What a prepared set is made by."""
        return PrepareSettings(**{name: getattr(self, name) for name in PrepareSettings.model_fields})

    @property
    def address(self) -> str:
        """What `trainables.data` opens it by; of a list, which is prepared first, all of it in words."""
        return in_words(self.uri)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every path or URI that each node must reach."""
        return (self.uri,) if isinstance(self.uri, str) else self.uri

    def located(self) -> Self:
        """With its relative path made absolute."""
        uris = tuple(map(located, self.addresses))
        return self.model_copy(update={"uri": uris[0] if isinstance(self.uri, str) else uris})


DataSpec = Annotated[Annotated[PackagedData, Tag("name")] | Annotated[FileData, Tag("uri")], key_of("name", "uri")]
