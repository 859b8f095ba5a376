"""What registered models were made of, so that it is kept."""

from typing import NamedTuple

from mlflow.entities.model_registry import ModelVersion

from jit_sweep.tracking.client import answering, open_client, sqlite_file

_PAGE = 1000


class Promoted(NamedTuple):
    """The checkpoint that a version's weights were taken from."""

    trial_id: str
    images: int


def promoted(tracking_uri: str) -> frozenset[Promoted]:
    """The checkpoints behind all versions of all models registered at this address. UserError: it does not answer."""
    file = sqlite_file(tracking_uri)
    if file is not None and not file.is_file():
        return frozenset()
    found: set[Promoted] = set()
    with answering(tracking_uri):
        client, token = open_client(tracking_uri, create=False), None
        while True:
            page = client.search_model_versions(max_results=_PAGE, page_token=token)
            found |= {source for version in page if (source := _source(version)) is not None}
            token = page.token
            if not token:
                return frozenset(found)


def _source(version: ModelVersion) -> Promoted | None:
    """None of a version that `promote` has not made."""
    tags = dict(version.tags)
    images = str(tags.get("images", ""))
    return Promoted(str(tags["trial"]), int(images)) if "trial" in tags and images.isdecimal() else None
