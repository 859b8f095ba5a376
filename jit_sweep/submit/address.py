"""What a cluster can reach: the form of its address, and which locations of a sweep must not be local to the submitter."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from jit_sweep.errors import UserError
from jit_sweep.home import LOCATIONS
from jit_sweep.redact import redact
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.method import AutoencoderMethod
from trainables.config.objective import RepresentationTerm
from trainables.config.space import FileEncoder, LatentSpace
from trainables.storage.address import local_path


@dataclass(frozen=True)
class Address:
    """A cluster's dashboard, where its Jobs API answers."""

    url: str
    loopback: bool
    """The host is this machine's loopback interface. (A port forwarded from elsewhere looks the same.)"""


def parsed_address(text: str) -> Address:
    """The address of a cluster as the user gave it. UserError: not http(s)://HOST:PORT."""
    parts = _split(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise UserError(
            f"`--address` must be http://HOST:PORT of the cluster's dashboard (port 8265 by default), got {redact(text)!r}"
        )
    return Address(url=text.rstrip("/"), loopback=is_loopback(parts.hostname))


def is_loopback(host: str) -> bool:
    """Whether a host name or literal address means this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_reachable(spec: SweepSpec, *, cluster: str) -> None:
    """UserError: locations of the sweep that workers on other machines cannot reach, one line for each."""
    faults = [fault for key in LOCATIONS if (fault := _fault(key, getattr(spec, key)))]
    named = [*(("data.uri", uri) for uri in spec.data.addresses), *_files(spec)]
    faults += [fault for key, uri in named if (fault := _fault(key, uri))]
    if faults:
        lead = f"{cluster} is not this machine, so its workers must be able to reach every place the sweep names:"
        raise UserError("\n".join([lead, *(f"  {fault}" for fault in faults)]))


def _files(spec: SweepSpec) -> Iterator[tuple[str, str]]:
    """The files that workers read beside the images, each with its key: of features, statistics, encoders and teachers."""
    features, reference = spec.evaluation.features, spec.evaluation.reference
    if not isinstance(features, str):
        yield "evaluation.features.weights", features.weights
    if reference is not None:
        yield "evaluation.reference.file", reference.file
    recipe = spec.baseline.recipe()
    if isinstance(recipe.space, LatentSpace) and isinstance(recipe.space.encoder, FileEncoder):
        yield "baseline.space.encoder.weights", recipe.space.encoder.weights
    for term in recipe.diffusion.terms:
        if isinstance(term, RepresentationTerm):
            yield "baseline.diffusion.terms.teacher.weights", term.teacher.weights
    for taught in recipe.method.taught if isinstance(recipe.method, AutoencoderMethod) else ():
        yield f"baseline.method.{taught.kind}.teacher.weights", taught.teacher.weights


_A_FILE = "the URI of a file (s3://BUCKET/FILE), or an absolute path on a file system that all nodes share"
_VALID = {
    "storage": "a URI such as s3://BUCKET/PREFIX, or an absolute path on a file system that all nodes share",
    "tracking": "the URI of an MLflow server, such as http://HOST:5000",
    "ledger": "the URI of a PostgreSQL database, such as postgresql://USER@HOST/DATABASE",
    "data.uri": "the URI of an image file (s3://BUCKET/images.npz), or an absolute path on a file system that all nodes share",
    "evaluation.features.weights": _A_FILE,
    "evaluation.reference.file": _A_FILE,
    "baseline.diffusion.terms.teacher.weights": _A_FILE,
    "baseline.method.alignment.teacher.weights": _A_FILE,
    "baseline.method.perceptual.teacher.weights": _A_FILE,
    "baseline.space.encoder.weights": _A_FILE,
}


def _fault(key: str, uri: str | None) -> str | None:
    if uri is None:
        return f"`{key}` must be {_VALID[key]}, got none (its default lies in the submitter's home)"
    reason = _why_local(uri)
    return f"`{key}` must be {_VALID[key]}, got {redact(uri)!r} ({reason})" if reason else None


def _why_local(uri: str) -> str | None:
    parts = _split(uri)
    if parts is not None and parts.scheme.startswith("sqlite"):
        return "a sqlite file"
    if parts is not None and parts.hostname and is_loopback(parts.hostname):
        return "the loopback interface"
    if local_path(uri) is not None and not uri.startswith(("/", "file:")):
        return "a relative path"
    return None


def _split(uri: str) -> SplitResult | None:
    try:
        parts = urlsplit(uri)
        _ = parts.port  # raises on a port that is no number
    except ValueError:
        return None
    return parts
