"""The protocol of a network's part: its cost, its initial weights and its module. Free of torch."""

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import nn

Initial = Literal["zeros", "ones", "normal", "standard", "xavier", "torch"]
"""How a tensor starts: N(0, 0.02) is "normal", N(0, 1) "standard", "xavier" is uniform on the flattened matrix, and "torch"
what torch gives a linear map or convolution, uniform within 1 / sqrt(inputs of the module's weight)."""


class Macs(NamedTuple):
    """Multiply-adds of matrix products and convolutions, of one image."""

    forward: int
    input_gradient: int = 0
    """Of the products whose inputs are data, so that the backward pass leaves out their gradients."""
    frozen: int = 0
    """Of a network that does not train and says what should be found or how near it is, in training alone, with the gradients
    that flow back through it."""


class Part(Protocol):
    """An embedding, a trunk or a head of one trial's network."""

    def parameters(self) -> int:
        """Trainable numbers."""

    def macs(self) -> Macs:
        """Of its forward pass."""

    def activation_bytes(self, *, recomputed: bool) -> int:
        """What it keeps of one image until its backward pass is done; `recomputed`: with activation checkpointing."""

    def initial(self, name: str) -> Initial:
        """How a tensor starts, by its name within the part."""

    def module(self) -> "nn.Module":
        """The part itself, its parameters not yet initialised. Loads torch."""
