"""Whether a part of the network is computed by a kernel of ours in Triton or by its plain form."""

import logging
from functools import partial

from torch import Tensor

from trainables.config.recipe import Kernels
from trainables.process_caches import ProcessCache

log = logging.getLogger(__name__)
warned: ProcessCache[str, None] = ProcessCache("kernel warnings")
"""The reasons that the log has named."""


def on_triton(kernels: Kernels, x: Tensor, *, unsupported: str = "") -> bool:
    """Whether Triton is asked for and can compute with x. Where it cannot, the log says why, once for each reason.

    `unsupported` is why the kernel cannot take this call, such as "gated norm takes a width of at most 8192, got 9000".
    """
    if kernels == "torch":
        return False
    reason = unsupported or obstacle(x.device.type)
    if reason:
        warned.get(reason, make=partial(_warn, reason))
    return not reason


def obstacle(device_type: str) -> str:
    """Why no Triton kernel runs on such a device in this process, or nothing: Triton's interpreter runs them anywhere."""
    try:
        from triton import knobs
    except ImportError as error:
        return f"Triton cannot be imported ({error})"
    if device_type != "cuda" and not knobs.runtime.interpret:
        return f"Triton needs a GPU, the tensors are on {device_type}"
    return ""


def _warn(reason: str) -> None:
    log.warning("`kernels` triton is not used: %s; torch's own kernels compute instead", reason)
