"""What a processor can do at best, which measured speeds are shares of."""

PEAK_BF16_FLOPS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 4090": 165e12,
}
"""Dense bf16 FLOP/s by a part of the device's name, as its maker gives them; the first that matches counts."""


def peak_flops(device_name: str) -> float | None:
    """FLOP/s that a device of this name reaches at best in bf16; None where nobody has written it down."""
    return next((peak for part, peak in PEAK_BF16_FLOPS.items() if part in device_name), None)
