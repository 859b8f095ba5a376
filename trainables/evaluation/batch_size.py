"""How many images an evaluation takes through the network at once: by tokens, and by memory where attention is written out."""

from trainables.config.trial import TrialConfig

# More tokens fall out of a CPU's caches, fewer leave a GPU idle.
_TOKENS = {"cpu": 4096, "cuda": 131_072}
_MATRIX_BYTES = {"cpu": 2**28, "cuda": 2**31}
"""Of one block's attention weights in fp32."""
_MOST_IMAGES = 1024


def images_at_once(trial: TrialConfig, *, device: str) -> int:
    """At least one, at most what keeps tokens and attention weights within bounds on a device, cpu or cuda."""
    tokens = trial.grid**2 + trial.model.class_tokens
    by_tokens = _TOKENS[device] // trial.grid**2
    matrix = 4 * trial.model.heads * tokens**2
    by_matrix = _MATRIX_BYTES[device] // matrix if trial.attention == "fp32" else _MOST_IMAGES
    return max(1, min(_MOST_IMAGES, by_tokens, by_matrix))
