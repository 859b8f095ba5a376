"""How to train, whatever the images: what presets are made of and sweeps override."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Discriminator, Field, Tag

from trainables.config.average import DecayEma, EmaConfig
from trainables.config.diffusion import DiffusionConfig
from trainables.config.fields import JOINED_LATER, Frozen, PositiveInt
from trainables.config.method import DENOISER, EncoderPretrainingMethod, Method
from trainables.config.network import ModelConfig
from trainables.config.optimiser import OptimiserConfig
from trainables.config.space import PIXELS, Space
from trainables.config.stage_arm import StageArm, names_a_stage

Precision = Literal["fp32", "bf16"]

Device = Literal["cpu", "cuda"]

AttentionMode = Literal["sdpa", "cudnn", "flash", "triton", "fp32"]
"""How attention is computed. fp32 writes QK^T, the softmax and the product with v out in fp32. The official code does that for
the first two, and computes the product with v in bf16: no mode here is it to the bit."""

Kernels = Literal["torch", "triton"]

Compile = Literal[False, True, "blocks"]
"""What torch.compile is given: nothing, the whole step as one graph, or each kind of block of the trunk as a graph of its own.
The whole takes longer to compile the deeper the network is, and its blocks do not; what lies outside of them stays eager."""


Parts = Annotated[tuple[Literal["encoder"], ...], Field(max_length=1)]


class Parent(Frozen):
    """The checkpoint that a trial's weights start from; optimiser, averages and image count begin anew."""

    trial: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """The trial's id."""
    images: PositiveInt
    """The image count of the checkpoint."""
    parts: Annotated[Parts, JOINED_LATER] = ()
    """Parts of the network that alone start from it, the others from the seed; none: the whole network."""


class Unit(NamedTuple):
    """Images that a batch, a worker's share of it and a micro-batch hold a multiple of."""

    images: int
    of: str
    """What they are, as a rule names it."""
    held: str
    """What of it is then held."""
    setting: str
    """What says how many."""

    def __str__(self) -> str:
        return f"{self.setting}={self.images}"


class StageParent(StageArm):
    """What an earlier stage of the sweep trains."""

    parts: Parts = ()
    """Parts of the network that alone start from it, the others from the seed; none: the whole network."""


AnyParent = Annotated[Annotated[Parent, Tag("trial")] | Annotated[StageParent, Tag("stage")], Discriminator(names_a_stage)]


class Recipe(Frozen):
    """How to train, whatever the images: what a preset names and a sweep's baseline overrides."""

    model: ModelConfig
    """The network."""
    method: Annotated[Method, JOINED_LATER] = DENOISER
    """What the network is trained for."""
    space: Annotated[Space, JOINED_LATER] = PIXELS
    """What its numbers are of: pixels, or an autoencoder's codes."""
    diffusion: DiffusionConfig = DiffusionConfig()
    """Prediction, loss and noise."""
    optimiser: OptimiserConfig = OptimiserConfig()
    """AdamW and its learning rate."""
    ema: Annotated[tuple[EmaConfig, ...], Field(max_length=64)] = (DecayEma(),)
    """Averages kept side by side. The first, or the weights themselves where there is none, stands at the rungs."""
    batch_size: PositiveInt = 1024
    """Images of one update, over all workers."""
    precision: Precision | None = None
    """bf16: autocast around the network; weights and optimiser stay fp32. None: bf16 on a GPU, fp32 on a CPU."""
    attention: AttentionMode = "sdpa"
    """torch's choice of a fused kernel; cuDNN's, flash or our own in Triton, or an error; or QK^T, softmax and the product with
    v written out in fp32 (the official code's last is in bf16). Above 256 tokens only the last two modes give a GPU's gradients
    again bit for bit."""
    residual: Annotated[Precision, JOINED_LATER] = "fp32"
    """Precision of the residual stream between the blocks; bf16 halves the memory that it moves."""
    kernels: Annotated[Kernels, JOINED_LATER] = "torch"
    """torch's own kernels, or ours in Triton for what lies between a block's matrix products."""
    compile: Compile = False
    """Compile the step with torch.compile, whole or by blocks; sums are rounded in another order than without."""
    graphs: Annotated[bool, JOINED_LATER] = False
    """Replay an update's kernels as a CUDA graph, which spares a small model the time of starting them one by one."""
    gradient_sum: Annotated[Precision, JOINED_LATER] = "fp32"
    """Precision in which the gradients of several workers are added up."""
    parent: AnyParent | None = None
    """What the weights start from; null: the seed."""

    @property
    def unit(self) -> Unit:
        """One of every stage of the path, or those that are told apart."""
        if isinstance(self.method, EncoderPretrainingMethod):
            return Unit(self.method.group, "the method's group", "whole groups of the method", "group")
        return Unit(self.diffusion.path.count, "the path's stages", "equal shares of the path's stages", "stages")


def default_precision(device: str) -> Precision:
    """bf16 on a GPU. fp32 on a CPU: most have no bf16 arithmetic, and emulate it at a ninth of the speed."""
    return "bf16" if device == "cuda" else "fp32"
