"""The peaks that utilisation is measured against."""

import pytest

from trainables.training.hardware import peak_flops


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("Tesla K80", None),
    ],
)
def test_a_device_is_known_by_whole_words_of_its_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak
