"""The Inception network of 2015 that FID is defined by: pooled features, 2048 numbers an image, and class logits.

Szegedy et al. (arXiv 1512.00567) as TensorFlow released it on 2015-12-05: 1008 classes, average pools that leave the padding
out, a max-pool in the last block, and images resized as TensorFlow 1 did.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.evaluation.features.inception_names import in_our_names
from trainables.evaluation.features.weights import check_fits

DIMENSIONS = 2048
CLASSES = 1008
SIZE = 299


class _Conv(nn.Module):
    """Convolution, normalisation and ReLU. The normalisation keeps TensorFlow's epsilon."""

    def __init__(self, channels: int, out: int, kernel: int | tuple[int, int], *, stride: int = 1, padding: object = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=False)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _largest(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2)


class _Mixed35(nn.Module):
    """The blocks at 35 x 35."""

    def __init__(self, channels: int, *, pool: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(channels, 64, 1)
        self.branch5x5_1 = _Conv(channels, 48, 1)
        self.branch5x5_2 = _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = _Conv(channels, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(channels, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], 1)


class _To17(nn.Module):
    """From 35 x 35 to 17 x 17."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(channels, 384, 3, stride=2)
        self.branch3x3dbl_1 = _Conv(channels, 64, 1)
        self.branch3x3dbl_2 = _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, _halved(x)], 1)


class _Mixed17(nn.Module):
    """The blocks at 17 x 17, whose 7 x 7 convolutions are a row's and a column's."""

    def __init__(self, *, inner: int) -> None:
        super().__init__()
        row, column = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        self.branch1x1 = _Conv(768, 192, 1)
        self.branch7x7_1 = _Conv(768, inner, 1)
        self.branch7x7_2 = _Conv(inner, inner, **row)  # type: ignore[arg-type]
        self.branch7x7_3 = _Conv(inner, 192, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_1 = _Conv(768, inner, 1)
        self.branch7x7dbl_2 = _Conv(inner, inner, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_3 = _Conv(inner, inner, **row)  # type: ignore[arg-type]
        self.branch7x7dbl_4 = _Conv(inner, inner, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_5 = _Conv(inner, 192, **row)  # type: ignore[arg-type]
        self.branch_pool = _Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], 1)


class _To8(nn.Module):
    """From 17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = _Conv(768, 192, 1)
        self.branch3x3_2 = _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = _Conv(768, 192, 1)
        self.branch7x7x3_2 = _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = _Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, _halved(x)], 1)


class _Mixed8(nn.Module):
    """The blocks at 8 x 8; the last of them pools by the largest."""

    def __init__(self, channels: int, *, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.branch1x1 = _Conv(channels, 320, 1)
        self.branch3x3_1 = _Conv(channels, 384, 1)
        self.branch3x3_2a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = _Conv(channels, 448, 1)
        self.branch3x3dbl_2 = _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = _Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(channels, 192, 1)
        self._pool = pool

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        threes = [self.branch3x3_2a(three), self.branch3x3_2b(three)]
        doubles = [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *threes, *doubles, self.branch_pool(self._pool(x))], 1)


class Inception2015(nn.Module):
    """The network, its parts named as torch-fidelity and pytorch-fid name them; 23.9 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3)
        self.Mixed_5b = _Mixed35(192, pool=32)
        self.Mixed_5c = _Mixed35(256, pool=64)
        self.Mixed_5d = _Mixed35(288, pool=64)
        self.Mixed_6a = _To17(288)
        self.Mixed_6b = _Mixed17(inner=128)
        self.Mixed_6c = _Mixed17(inner=160)
        self.Mixed_6d = _Mixed17(inner=160)
        self.Mixed_6e = _Mixed17(inner=192)
        self.Mixed_7a = _To8()
        self.Mixed_7b = _Mixed8(1280, pool=_average)
        self.Mixed_7c = _Mixed8(2048, pool=_largest)
        self.fc = nn.Linear(DIMENSIONS, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features [n, 2048] of images [n, 3, H, W] in grey levels 0 to 255."""
        x = (resized(images, SIZE, SIZE) - 128) / 128
        x = _halved(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = _halved(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        pooled: Tensor = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return pooled

    def unbiased_logits(self, features: Tensor) -> Tensor:
        """Class logits [n, 1008] of pooled features, without the bias, as the Inception score takes them."""
        return features.to(self.fc.weight.device) @ self.fc.weight.T


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """Bilinear as TensorFlow 1 did it: output row i reads input row i H / height, without a shift of half a pixel.

    images float [n, C, H, W] -> [n, C, height, width].
    """
    return _along(_along(images, height, dim=2), width, dim=3)


def _along(images: Tensor, size: int, *, dim: int) -> Tensor:
    given = images.shape[dim]
    if given == size:
        return images
    at = torch.arange(size, device=images.device, dtype=torch.float64) * (given / size)
    low = at.floor().long().clamp(max=given - 1)
    share = (at - low).to(images.dtype).view([-1 if d == dim else 1 for d in range(images.ndim)])
    below, above = images.index_select(dim, low), images.index_select(dim, (low + 1).clamp(max=given - 1))
    return below + (above - below) * share


def inception_of(state: Mapping[str, Tensor]) -> Inception2015:
    """The network with these weights, by pytorch-fid's names or NVIDIA's, in evaluation form.

    ValueError: they are another network's.
    """
    with torch.device("meta"):
        network = Inception2015()
    convolutions = [name for name, module in network.named_modules() if isinstance(module, _Conv)]
    ours = in_our_names(state, convolutions=convolutions)
    check_fits(network, ours, what="the Inception network of 2015")
    network.load_state_dict(ours, assign=True)
    return network.eval().requires_grad_(False)
