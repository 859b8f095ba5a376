"""The head of DDT (arXiv 2504.05741): more blocks on the noisy patches, modulated token by token by the trunk."""

from torch import Tensor, nn

from trainables.config.heads import DecoupledHead
from trainables.config.trial import TrialConfig
from trainables.networks.embedding import LinearPatches, images_of
from trainables.networks.jit import Block, modulation_of_block
from trainables.networks.norm import Stream, joined, modulated
from trainables.networks.sizes import block_chunks


class Decoupled(nn.Module):
    """A patch embedding of its own, blocks of the trunk's kind, a LayerNorm and one linear map to the patch."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        model = trial.model
        assert isinstance(model.head, DecoupledHead)
        self.model, self.channels = model, trial.canvas.channels
        self.embedding = LinearPatches(trial)
        self.modulation = nn.Linear(model.width, block_chunks(model) * model.head.blocks * model.width)
        self.blocks = nn.ModuleList([Block(trial, drops=False) for _ in range(model.head.blocks)])
        self.final = nn.Linear(model.width, 2 * model.width)
        self.last = nn.Linear(model.width, trial.token_dim)

    def forward(self, z: Tensor, condition: Tensor, rotation: Tensor | None) -> Tensor:
        """z [B, C, H, W], condition [B, N, D] -> [B, C, H, W]."""
        chunks = self.modulation(condition).float().unflatten(-1, (-1, self.model.width)).unbind(2)
        stream = Stream(self.embedding(z).float())
        for i, block in enumerate(self.blocks):
            stream = block(stream, modulation_of_block(chunks, i, self.model), rotation)
        shift, scale = self.final(condition).float().chunk(2, dim=-1)
        patches = self.last(modulated(joined(stream), None, shift, scale))
        return images_of(patches, self.model.patch_size, self.channels)
