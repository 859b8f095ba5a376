"""What a configuration costs, in closed form and without torch: parameters and multiply-adds of one image's forward pass."""

from trainables.config.heads import DecoupledHead, PixelTransformerHead
from trainables.config.network import ModelConfig
from trainables.config.trial import TrialConfig
from trainables.networks.parts.jit_blocks import skipped_macs
from trainables.networks.registry import parts_of
from trainables.networks.sizes import block_chunks, mlp_hidden, modulation_chunks


def parameter_count(trial: TrialConfig) -> int:
    """Trainable numbers of the network, with what terms of the loss train beside it."""
    return sum(part.parameters() for part in parts_of(trial).trained)


def model_parameters(trial: TrialConfig) -> int:
    """Trainable numbers of the network alone."""
    return sum(part.parameters() for part in parts_of(trial).drawing)


def forward_macs(trial: TrialConfig) -> int:
    """Multiply-adds of matrix products and convolutions in one image's forward pass: the mean over its path's stages."""
    views = trial.stage_views
    return sum(part.macs().forward for view in views for part in parts_of(view).drawing) // len(views)


def forward_flops(trial: TrialConfig) -> int:
    """Floating-point operations of one image's forward pass: twice the multiply-adds."""
    return 2 * forward_macs(trial)


def training_flops(trial: TrialConfig, *, images: int) -> int:
    """Floating-point operations of training on `images`: a forward pass, and a backward pass of twice its cost but for the
    gradients of the images and of the sinusoids of t, which nobody needs; of a frozen teacher its passes."""
    updates = -(-images // trial.batch_size)
    return _passes_flops(trial) * images + orthogonalising_flops(trial) * updates


def _passes_flops(trial: TrialConfig) -> int:
    """Of one image's forward and backward pass: the mean over its path's stages."""
    views = trial.stage_views
    macs = [part.macs() for view in views for part in parts_of(view).trained]
    forward = sum(each.forward for each in macs) - sum(map(skipped_macs, views))
    return (6 * forward + 2 * sum(each.frozen - each.input_gradient for each in macs)) // len(views)


NEWTON_SCHULZ_STEPS = 5


def orthogonalising_flops(trial: TrialConfig) -> int:
    """Of Muon's one step: a Gram matrix, its square, and their product with each hidden matrix, five times over."""
    if trial.optimiser.method != "muon":
        return 0
    return sum(
        count * NEWTON_SCHULZ_STEPS * 2 * (2 * a * a * b + a**3) for (a, b), count in hidden_matrices(trial.model).items()
    )


def hidden_matrices(model: ModelConfig) -> dict[tuple[int, int], int]:
    """How many hidden matrices of each shape (shorter, longer side) Muon updates."""
    d, hidden = model.width, mlp_hidden(model)
    more = model.head.blocks if isinstance(model.head, DecoupledHead) else 0
    attentions = more + (model.head.blocks if isinstance(model.head, PixelTransformerHead) else 0)
    squares = 4 * (model.depth + attentions) + modulation_chunks(model) + more * block_chunks(model)
    shape, mlps = (min(d, hidden), max(d, hidden)), (3 if model.mlp == "swiglu" else 2) * (model.depth + more)
    if shape == (d, d):
        return {(d, d): squares + mlps}
    return {(d, d): squares, shape: mlps}
