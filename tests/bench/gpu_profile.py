"""Rows of the profile: milliseconds of an update by kind of kernel, and the gap in which none ran."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import torch
from torch._C._autograd import DeviceType

from tests.bench.gpu_modes import OFFICIAL, Case, in_mode, trial_of
from tests.bench.gpu_training import begin, images_of, timed

HEADER = ["case", "mode", "kind", "ms an update", "kernels", "longest"]
UPDATES = 5
KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("copies", ("memcpy", "memset")),
    ("draws", ("_write_",)),
    (
        "attention",
        ("flash", "fmha", "sdpa", "_attention_", "softmax", "cudnn"),
    ),
    ("optimiser", ("adam", "lerp", "multi_tensor", "foreach")),
    ("matmul", ("nvjet", "gemm", "cutlass", "cublas", "splitk", "triton_tem")),
    ("SwiGLU", ("silu", "_gate_forward", "_gate_backward", "swiglu", "sigmoid")),
    ("q/k", ("_turn_", "_one_forward", "_one_back", "flip", "complex", "_fused_cat", "stack", "rotat")),
    ("norm/gate", ("norm", "rsqrt", "addcmul", "gated", "modulat", "_pass")),
    ("bias sums", ("triton_red", "reduce_kernel", "sum")),
)
"""A kernel is of the first kind of which a word occurs in its name; what the compiler fused has its operators in its name."""
OTHER, GAP, WHOLE = "other elementwise", "gap", "whole"


def cells(case: Case, mode: str, *, attention: str) -> list[list[str]]:
    """A row a kind, the longest first, then the gap and the whole update by the clock, without the profiler."""
    plain = trial_of(case, attention=attention)
    begun = begin(in_mode(plain, mode), images_of(plain), official=mode == OFFICIAL)
    update_ms = 1000 * timed(begun.trained, 2 * UPDATES, "cuda") / (2 * UPDATES)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(UPDATES):
            begun.trained.update()
        torch.cuda.synchronize()
    events = (event for event in profile.events() or [] if event.device_type == DeviceType.CUDA)
    return by_kind(((event.name, event.device_time) for event in events), update_ms=update_ms, updates=UPDATES)


def by_kind(kernels: Iterable[tuple[str, float]], *, update_ms: float, updates: int) -> list[list[str]]:
    """The rows of kernels, each its name and microseconds, of `updates` updates that took `update_ms` each."""
    spent: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    counts: Counter[str] = Counter()
    for name, microseconds in kernels:
        kind = kind_of(name)
        spent[kind][name] += microseconds / 1000 / updates
        counts[kind] += 1
    whole = {kind: sum(names.values()) for kind, names in spent.items()}
    rows = [
        [kind, f"{whole[kind]:.2f}", f"{counts[kind] / updates:.0f}", longest_of(spent[kind])]
        for kind in sorted(whole, key=whole.__getitem__, reverse=True)
    ]
    gap = update_ms - sum(whole.values())
    return [*rows, [GAP, f"{gap:.2f}", "", ""], [WHOLE, f"{update_ms:.2f}", "", ""]]


def longest_of(names: Mapping[str, float]) -> str:
    """The name that took longest, cut to what a table holds."""
    return max(names, key=names.__getitem__)[:80].replace("|", "/")


def kind_of(kernel: str) -> str:
    """The kind of a kernel by its name."""
    name = kernel.lower()
    return next((kind for kind, words in KINDS if any(word in name for word in words)), OTHER)
