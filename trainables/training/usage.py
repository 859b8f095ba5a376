"""What this process takes from its machine, and which machine that is."""

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import torch

GIB = 2**30
_PAGES = Path("/proc/self/statm")


class Usage:
    """Measures since the last reading, or since it was made; the GPU's peak counts from then on."""

    def __init__(
        self,
        device: torch.device,
        *,
        wall_s: Callable[[], float] = time.perf_counter,
        cpu_s: Callable[[], float] = time.process_time,
    ) -> None:
        self._device, self._wall_s, self._cpu_s = device, wall_s, cpu_s
        self._last = (wall_s(), cpu_s())
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def read(self) -> dict[str, float]:
        """By name: CPU in per cent of one core, memory in GiB; what this system does not tell is left out."""
        return self._cpu() | _memory() | self._gpu()

    def _cpu(self) -> dict[str, float]:
        (wall_before, cpu_before), self._last = self._last, (self._wall_s(), self._cpu_s())
        wall, cpu = self._last[0] - wall_before, self._last[1] - cpu_before
        return {"cpu_utilization_percentage": 100 * cpu / wall} if wall > 0 else {}

    def _gpu(self) -> dict[str, float]:
        if self._device.type != "cuda":
            return {}
        now, peak = torch.cuda.memory_allocated(self._device), torch.cuda.max_memory_allocated(self._device)
        return {"gpu_memory_gib": now / GIB, "gpu_peak_memory_gib": peak / GIB}


def _memory() -> dict[str, float]:
    """Resident memory of this process, where there is Linux's /proc."""
    try:
        resident = int(_PAGES.read_text().split()[1])
    except FileNotFoundError:
        return {}
    return {"process_memory_gib": resident * os.sysconf("SC_PAGE_SIZE") / GIB}


def host() -> str:
    """The machine's name."""
    return socket.gethostname()


def cpus() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cuda_version(device: torch.device) -> str | None:
    """The CUDA version that torch was built for; None where the device is no GPU."""
    return torch.version.cuda if device.type == "cuda" else None
