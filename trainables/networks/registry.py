"""The registry of network parts, and the network that a trial's parts make. Free of torch until a network is built.

A new embedding or head is one file in `parts/` whose class has the methods of `parts.part.Part`, its variant in
`trainables.config.network`, and one line here. A new trunk is such a class too, built around an embedding and a head, or
alone where it has both in itself. So is what a term of the loss has beside the network.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from trainables.config.space import LatentSpace
from trainables.config.trial import TrialConfig
from trainables.networks.parts.alignment import AlignmentPart
from trainables.networks.parts.autoencoder import AutoencoderPart
from trainables.networks.parts.class_finder import ClassFinderPart
from trainables.networks.parts.decoupled import DecoupledPart
from trainables.networks.parts.embeddings import BottleneckPart, ConvStemPart, LinearPart
from trainables.networks.parts.encoder_decoder import EncoderDecoderPart
from trainables.networks.parts.encoder_pretrainer import EncoderPretrainerPart
from trainables.networks.parts.heads import LinearHeadPart
from trainables.networks.parts.jit_blocks import JitBlocks
from trainables.networks.parts.masked_autoencoder import MaskedAutoencoderPart
from trainables.networks.parts.mlp_trunk import MlpTrunk
from trainables.networks.parts.neural_field import NeuralFieldPart
from trainables.networks.parts.part import Initial, Part
from trainables.networks.parts.patch_unet import PatchUnetPart
from trainables.networks.parts.perceptual import PerceptualPart
from trainables.networks.parts.pixel_mlp import PixelMlpPart
from trainables.networks.parts.pixel_transformer import PixelTransformerPart
from trainables.networks.parts.projector import ProjectorPart
from trainables.networks.parts.unet import UnetPart
from trainables.networks.parts.unet_classifier import UnetClassifierPart
from trainables.networks.parts.uvit import UvitPart

if TYPE_CHECKING:
    from trainables.networks.network import Network

EMBEDDINGS: dict[str, Callable[[TrialConfig], Part]] = {
    "linear": LinearPart,
    "bottleneck": BottleneckPart,
    "conv_stem": ConvStemPart,
}
"""By the kind of `model.embedding`."""
HEADS: dict[str, Callable[[TrialConfig], Part]] = {
    "linear": LinearHeadPart,
    "neural_field": NeuralFieldPart,
    "decoupled": DecoupledPart,
    "pixel_mlp": PixelMlpPart,
    "pixel_transformer": PixelTransformerPart,
    "patch_unet": PatchUnetPart,
}
"""By the kind of `model.head`."""
TRUNKS: dict[str, Callable[[TrialConfig, Part, Part], Part]] = {
    "transformer": JitBlocks,
    "mlp": MlpTrunk,
}
"""By the kind of `model.trunk`: from a trial, its embedding and its head; its module is the whole network, a `Network`."""
WHOLE_TRUNKS: dict[str, Callable[[TrialConfig], Part]] = {
    "autoencoder": AutoencoderPart,
    "masked_autoencoder": MaskedAutoencoderPart,
    "encoder_decoder": EncoderDecoderPart,
    "encoder_pretrainer": EncoderPretrainerPart,
    "unet": UnetPart,
    "unet_classifier": UnetClassifierPart,
    "uvit": UvitPart,
    "residual_uvit": UvitPart,
}
"""By the same: a whole network, around which there is neither embedding nor head."""

AUXILIARIES: dict[str, Callable[[TrialConfig], Part]] = {
    "classifier": ClassFinderPart,
    "representation": ProjectorPart,
    "alignment": AlignmentPart,
    "perceptual": PerceptualPart,
}
"""By the kind of a term of the loss that has a module of its own."""


class Parts(NamedTuple):
    """What a network is put together from."""

    trunk: Part
    around: dict[str, Part]
    """The `embedding` and the `head`, where the trunk has them."""
    auxiliary: dict[str, Part]
    """What terms of the loss train beside it, by the term's kind."""

    @property
    def drawing(self) -> tuple[Part, ...]:
        """What a sample needs."""
        return (self.trunk, *self.around.values())

    @property
    def trained(self) -> tuple[Part, ...]:
        """What an update needs."""
        return (*self.drawing, *self.auxiliary.values())

    def initial(self, name: str) -> Initial:
        """How a parameter of the network starts: names that begin with `embedding.` and `head.` are those parts' own, and so
        are those that begin with `auxiliary.` and a term's kind."""
        first, _, rest = name.partition(".")
        if first in self.around:
            return self.around[first].initial(rest)
        if first == "auxiliary":
            kind, _, within = rest.partition(".")
            return self.auxiliary[kind].initial(within)
        return self.trunk.initial(name)


def parts_of(trial: TrialConfig) -> Parts:
    """The parts of a trial's network."""
    kind = trial.model.trunk.kind
    auxiliary: dict[str, Part] = {term.kind: AUXILIARIES[term.kind](trial) for term in trial.auxiliary}
    if kind in WHOLE_TRUNKS:
        return Parts(WHOLE_TRUNKS[kind](trial), around={}, auxiliary=auxiliary)
    embedding, head = EMBEDDINGS[trial.model.embedding.kind](trial), HEADS[trial.model.head.kind](trial)
    return Parts(TRUNKS[kind](trial, embedding, head), {"embedding": embedding, "head": head}, auxiliary)


def blank(trial: TrialConfig) -> "Network":
    """The trial's network on torch's default device, its parameters as torch's modules leave them."""
    from torch import nn

    network = blank_model(trial)
    network.auxiliary = nn.ModuleDict({kind: part.module() for kind, part in parts_of(trial).auxiliary.items()})
    return network


def blank_model(trial: TrialConfig) -> "Network":
    """The same without what only its training has: what is sampled from, kept and exported."""
    from torch import nn

    from trainables.diffusion.lift import lift_of
    from trainables.networks.latent import UNREAD
    from trainables.networks.network import Network

    network = parts_of(trial).trunk.module()
    assert isinstance(network, Network)
    network.space = UNREAD if isinstance(trial.space, LatentSpace) else lift_of(trial)
    network.auxiliary = nn.ModuleDict()
    return network


def build(trial: TrialConfig) -> "Network":
    """The trial's network on the CPU with the initial weights of its seed."""
    network = blank(trial)
    initialise(network, trial)
    return network


def initialise(network: "Network", trial: TrialConfig) -> None:
    """Overwrite every parameter by the trial's seed, as its part of the network says."""
    from trainables.networks.initial import overwrite

    overwrite(network, seed=trial.seed, kind_of=parts_of(trial).initial)
