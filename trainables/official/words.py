"""The words that files of the official code share: names of their parts, and how a refusal shows what a file says."""

from torch import Tensor

SETS = ("model", "model_ema1", "model_ema2")
"""The weights of a checkpoint: as trained, and their two averages. The official code evaluates the first average."""
PREFIX = "net."
AGAIN = "give the file as the official code wrote it"

Scalar = str | int | float | bool | None
StateDict = dict[str, Tensor]


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def shown(value: object) -> str:
    """A name out of a file, short and on one line."""
    return repr(value)[:60] if isinstance(value, str | int | float | bool | None) else type(value).__name__
