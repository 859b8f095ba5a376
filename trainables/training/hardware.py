"""Peak speeds of processors, which measured speeds are shares of, and what a CPU can."""

from pathlib import Path

PEAK_BF16_FLOPS = {
    "H200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 4090": 165e12,
}
"""Dense bf16 FLOP/s by words of the device's name, as its maker gives them; the first whose words all occur counts."""


def peak_flops(device_name: str) -> float | None:
    """FLOP/s that a device of this name reaches at best in bf16; None of a device that the table lacks."""
    words = set(device_name.replace("-", " ").split())
    return next((peak for name, peak in PEAK_BF16_FLOPS.items() if words.issuperset(name.split())), None)


def computes_bf16() -> bool:
    """Whether this machine's CPU computes in bf16, as Linux tells it; where it does not, torch emulates it."""
    told = Path("/proc/cpuinfo")
    return told.exists() and not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(told.read_text().split())
