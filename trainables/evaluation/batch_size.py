"""How many images an evaluation takes through the network at once: by tokens, and by memory where attention is written out."""

from trainables.config.trial import TrialConfig
from trainables.networks.sizes import attention_weights

# More tokens fall out of a CPU's caches, fewer leave a GPU idle.
_TOKENS = {"cpu": 4096, "cuda": 131_072}
_MATRIX_BYTES = {"cpu": 2**28, "cuda": 2**31}
"""Of one block's attention weights in fp32."""
_MOST_IMAGES = 1024


def images_at_once(trial: TrialConfig, *, device: str) -> int:
    """At least one, at most what keeps tokens and attention weights within bounds on a device, cpu or cuda."""
    by_tokens = _TOKENS[device] // trial.grid**2
    matrix = max(1, 4 * attention_weights(trial))
    by_matrix = _MATRIX_BYTES[device] // matrix if trial.attention == "fp32" else _MOST_IMAGES
    return max(1, min(_MOST_IMAGES, by_tokens, by_matrix))
