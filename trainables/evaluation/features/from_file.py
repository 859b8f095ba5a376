"""The extractors whose weights are a file of the user's: Inception of 2015, DINOv2, and plain vision transformers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.config.features import Dinov2Features, FileFeatures, InceptionFeatures, VitFeatures
from trainables.evaluation.features.batches import in_batches
from trainables.evaluation.features.inception import DIMENSIONS, Inception2015, inception_of
from trainables.evaluation.features.vit import Vit, input_size, normalised, vit_of
from trainables.evaluation.features.weights import state_dict_of
from trainables.process_caches import ProcessCache

_networks: ProcessCache[tuple[str, str], nn.Module] = ProcessCache("feature networks from files", most=2)
"""By the weights' hash and the kind of device."""


@dataclass(frozen=True)
class InceptionExtractor:
    """The Inception network of 2015 as a `Classifier` of the registry."""

    config: InceptionFeatures
    dimensions: int = DIMENSIONS

    def variant(self, image_size: int) -> str:
        """Named by the weights: every image is resized to 299 px."""
        return f"inception_{self.config.sha256[:12]}"

    def features(self, images: Tensor) -> Tensor:
        """Pooled features, float32 [n, 2048] on the CPU."""
        network = self._on(images.device.type)
        return in_batches(images, lambda batch: network(batch.float().expand(-1, 3, -1, -1)))

    def logits(self, features: Tensor) -> Tensor:
        """Class logits [n, 1008] of pooled features, without the bias."""
        with torch.inference_mode():
            return self._on("cpu").unbiased_logits(features)

    def _on(self, device: str) -> Inception2015:
        network = _networks.get((self.config.sha256, device), make=lambda: self._loaded().to(device))
        assert isinstance(network, Inception2015)
        return network

    def _loaded(self) -> Inception2015:
        return inception_of(state_dict_of(self.config.weights, sha256=self.config.sha256))


@dataclass(frozen=True)
class VitExtractor:
    """A vision transformer as an `Extractor` of the registry."""

    config: Dinov2Features | VitFeatures

    @property
    def dimensions(self) -> int:
        return self._on("cpu").norm.normalized_shape[0]

    def variant(self, image_size: int) -> str:
        """Named by the weights: every image is resized to the network's own size."""
        return f"{self.config.kind}_{self.config.sha256[:12]}"

    def features(self, images: Tensor) -> Tensor:
        """The last class token, float32 [n, width] on the CPU."""
        network = self._on(images.device.type)
        size = input_size(network, dinov2=self.config.kind == "dinov2")
        return in_batches(images, lambda batch: network(normalised(batch, size)))

    def _on(self, device: str) -> Vit:
        network = _networks.get((self.config.sha256, device), make=lambda: self._loaded().to(device))
        assert isinstance(network, Vit)
        return network

    def _loaded(self) -> Vit:
        return vit_of(state_dict_of(self.config.weights, sha256=self.config.sha256))


def from_file(config: FileFeatures) -> InceptionExtractor | VitExtractor:
    """The extractor that a configuration names; its file is read on first use."""
    return InceptionExtractor(config) if isinstance(config, InceptionFeatures) else VitExtractor(config)
