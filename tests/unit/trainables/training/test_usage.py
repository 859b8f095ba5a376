"""What a process says of its use of its machine."""

import os
import time
from pathlib import Path

import psutil
import pytest
import torch

from trainables.training import usage
from trainables.training.usage import GIB, Usage, cpus, cuda_version, host

CPU = torch.device("cpu")


class Hands:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_cpu_is_what_was_used_since_the_last_reading_over_the_time_that_passed() -> None:
    wall, cpu = Hands(), Hands()
    measured = Usage(CPU, wall_s=wall, cpu_s=cpu)
    wall.now, cpu.now = 104.0, 106.0
    assert measured.read()["cpu_utilization_percentage"] == 150.0
    wall.now, cpu.now = 106.0, 106.5
    assert measured.read()["cpu_utilization_percentage"] == 25.0


def test_no_time_between_two_readings_is_no_utilisation() -> None:
    measured = Usage(CPU, wall_s=Hands(), cpu_s=Hands())
    assert "cpu_utilization_percentage" not in measured.read()


def test_a_process_that_computes_has_used_its_cpu() -> None:
    measured = Usage(CPU)
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    assert measured.read()["cpu_utilization_percentage"] > 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_is_what_this_process_has_resident() -> None:
    held = bytearray(os.urandom(1)) * (200 * 2**20)
    found, known = Usage(CPU).read()["process_memory_gib"], psutil.Process().memory_info().rss / GIB
    assert found == pytest.approx(known, rel=0.05)
    assert found > len(held) / GIB


def test_a_system_without_proc_leaves_memory_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(usage, "_PAGES", tmp_path / "statm")
    assert "process_memory_gib" not in Usage(CPU).read()


def test_a_cpu_has_neither_gpu_memory_nor_a_cuda_version() -> None:
    assert not any(name.startswith("gpu") for name in Usage(CPU).read())
    assert cuda_version(CPU) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpus_memory_is_what_tensors_hold_now_and_held_at_most_since_the_beginning() -> None:
    device = torch.device("cuda")
    before = torch.empty(2**28, dtype=torch.uint8, device=device)
    del before
    measured = Usage(device)
    held = torch.empty(2**27, dtype=torch.uint8, device=device)
    more = torch.empty(2**26, dtype=torch.uint8, device=device)
    del more
    found = measured.read()
    assert held.nbytes / GIB <= found["gpu_memory_gib"] < found["gpu_peak_memory_gib"]
    assert found["gpu_peak_memory_gib"] < found["gpu_memory_gib"] + 0.1
    assert cuda_version(device) == torch.version.cuda


def test_the_machine_has_a_name_and_cores() -> None:
    assert host() == os.uname().nodename
    assert 1 <= cpus() <= (os.cpu_count() or 1)
