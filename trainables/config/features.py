"""Which network's features images are compared by, and the file that holds its weights."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from trainables.config.fields import Frozen

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the weights that FID is defined by: pytorch-fid's and torch-fidelity's `...inception-2015-12-05-6726825d.pth`."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _FromFile(Frozen):
    """A network of ours whose weights lie in a file of yours; nothing is fetched from the network's publisher."""

    weights: Annotated[str, Field(min_length=1)]
    """Path or URI of a state dict, .safetensors or what torch.save wrote. It runs no code, and a copy elsewhere is the same."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """The weights' content, and not where they lie."""
        return {name: value for name, value in content.items() if name != "weights"}


class ReferenceStatistics(Frozen):
    """Statistics of real images that were made elsewhere, of the evaluation's features; `stats import` writes their
    file and prints its hash."""

    file: Annotated[str, Field(min_length=1)]
    """Path or URI."""
    sha256: Sha256
    """Of the file."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """The statistics, and not where they lie."""
        return {name: value for name, value in content.items() if name != "file"}


class InceptionFeatures(_FromFile):
    """The Inception network of 2015. With the published weights its distance is FID."""

    kind: Literal["inception"] = "inception"
    sha256: Sha256 = INCEPTION_SHA256
    """Of the file. Left out: the published weights'. With any other the distance is `fd_inception`, not `fid`."""


class Dinov2Features(_FromFile):
    """A DINOv2 vision transformer at 224 px, of any width and depth, without registers; its class token."""

    kind: Literal["dinov2"] = "dinov2"
    sha256: Sha256
    """Of the file."""


class VitFeatures(_FromFile):
    """A plain vision transformer with timm's names at the size that its position table says; its class token."""

    kind: Literal["vit"] = "vit"
    sha256: Sha256
    """Of the file."""


FILE_KINDS = ("inception", "dinov2", "vit")
"""The networks whose weights lie in a file."""


def _with_its_weights(value: Any) -> Any:
    """A network by its bare name has no weights to be loaded from."""
    if isinstance(value, str) and value in FILE_KINDS:
        raise ValueError(f"`features` {value} needs its weights, got none; try {features_form(value)}")
    return value


def features_form(kind: str) -> str:
    """How a network with a file is written in a sweep file, such as `{kind: inception, weights: FILE}`."""
    return f"{{kind: {kind}, weights: FILE{'' if kind == 'inception' else ', sha256: ...'}}}"


FileFeatures = Annotated[InceptionFeatures | Dinov2Features | VitFeatures, Field(discriminator="kind")]
FeaturesConfig = Annotated[Literal["efflite0", "points"] | FileFeatures, BeforeValidator(_with_its_weights)]
"""The packaged network by its name, `points` for points of a plane, or a network with a file."""


def extractor_name(features: FeaturesConfig) -> str:
    """The name by which metrics know a network; Inception with other weights than the published ones has another."""
    if isinstance(features, str):
        return features
    if isinstance(features, InceptionFeatures) and features.sha256 != INCEPTION_SHA256:
        return "inception_other"
    return features.kind
