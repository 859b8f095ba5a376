"""Statistics of real images in files: the mean and covariance of their features, ours with what they are of.

Ours is safetensors: `mean` [d], `covariance` and its `root` [d, d] in float64, and a `StatisticsRecord` as metadata. What JiT,
ADM, MAR and pytorch-fid write is npz with `mu` [d] and `sigma` [d, d], and says neither of which network nor of which images.
"""

import io
import zipfile
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from trainables.config.features import ReferenceStatistics
from trainables.config.fields import Frozen, PositiveInt
from trainables.evaluation.features.weights import content_of
from trainables.evaluation.metrics.frechet import Moments

_RECORD = "jit-sweep"
_MEAN, _COVARIANCE = "mu", "sigma"


class _Header(BaseModel):
    """The head of a safetensors file; its tensors' places beside."""

    metadata: dict[str, str] = Field(alias="__metadata__")


class StatisticsRecord(Frozen):
    """What statistics are of."""

    format: Literal[1] = 1
    extractor: str
    """Which features, as `Extractor.variant` names them: the network, its weights, and how it sees an image."""
    image_size: PositiveInt
    """Height and width of the images."""
    source: str
    """Where they came from."""


def packed(moments: Moments, record: StatisticsRecord) -> bytes:
    """A file of ours; equal statistics give equal bytes."""
    tensors = {"mean": moments.mean, "covariance": moments.covariance, "root": moments.root}
    metadata = {_RECORD: record.model_dump_json()}
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata)


def statistics_of(config: ReferenceStatistics, *, extractor: str, image_size: int) -> Moments:
    """The statistics of a file of ours. ValueError: its hash is another, it is no such file, or it is of other features or
    images, with the field that differs. OSError: it cannot be read."""
    content = content_of(config.file, sha256=config.sha256, key="reference")
    record = record_of(content, where=config.file)
    for field, own in (("extractor", extractor), ("image_size", image_size)):
        if (found := getattr(record, field)) != own:
            rule = f"`reference` must be statistics of the sweep's own features and images: {field} {own}"
            raise ValueError(f"{rule}, got {field} {found} in {config.file}; import or build those, or leave `reference` out")
    tensors = load(content)
    moments = Moments(tensors["mean"], tensors["covariance"])
    vars(moments)["root"] = tensors["root"]
    return moments


def record_of(content: bytes, *, where: str) -> StatisticsRecord:
    """What a file of ours says that it is of. ValueError: it is none."""
    try:
        load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = _Header.model_validate_json(content[8 : 8 + size]).metadata
        return StatisticsRecord.model_validate_json(metadata[_RECORD])
    except (SafetensorError, ValidationError, KeyError):
        rule = "`reference` must be a file that `stats import` wrote"
        raise ValueError(f"{rule}, got {where}; import it first") from None


def moments_of_npz(content: bytes, *, where: str, dimensions: int | None) -> Moments:
    """The statistics of another tool's npz. `dimensions`: of the features that they are to be of, where that is known.

    ValueError: it is no such file, or what it holds cannot be moments of those.
    """
    mean, covariance = (_array(content, key, where) for key in (_MEAN, _COVARIANCE))
    mean = mean.reshape(-1)  # some write [1, d]
    if covariance.ndim > 2:
        covariance = covariance.reshape([size for size in covariance.shape if size > 1])
    if dimensions not in (None, len(mean)):
        rule = f"statistics must be of {dimensions} features an image"
        raise ValueError(f"{rule}, got {len(mean)} in {where}; name their own network with --features")
    moments = Moments(torch.from_numpy(mean), torch.from_numpy(covariance))
    if bool((moments.covariance.diagonal() < 0).any()):
        raise ValueError(f"`{_COVARIANCE}` must be a covariance, got negative variances in {where}; make the file again")
    return moments


def npz_of(moments: Moments) -> bytes:
    """The npz that JiT's loader takes: its torch-fidelity wants `mu` in float32, which its own features have, and `sigma` in
    float64, and refuses any other."""
    buffer = io.BytesIO()
    np.savez(buffer, mu=moments.mean.float().numpy(), sigma=moments.covariance.numpy())
    return buffer.getvalue()


def _array(content: bytes, key: str, where: str) -> NDArray[np.floating]:
    rule = f"statistics must be an npz with `{_MEAN}` and `{_COVARIANCE}`"
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            names = list(file.files)
            array = np.asarray(file[key]) if key in names else None
    except (zipfile.BadZipFile, EOFError, TypeError, AttributeError, ValueError):
        raise ValueError(f"{rule}, of numbers, got {where}, which is none") from None
    if array is None:
        raise ValueError(f"{rule}, got {', '.join(names) or 'nothing'} in {where}")
    if array.dtype.kind != "f" or array.dtype.itemsize < 4:
        rule = f"`{key}` must be float32 or float64, which alone are exact enough"
        raise ValueError(f"{rule}, got {array.dtype} in {where}; make the file again")
    return array.astype(np.float64)
