"""The toy's network: a plain MLP on an image that is one token (arXiv 2511.13720, figure 2)."""

import torch
from torch import Tensor, nn

from trainables.config.trial import TrialConfig
from trainables.networks.embedding import TimeEmbedding, images_of
from trainables.networks.network import Network


class PlainMlp(Network):
    """Token, time and class added up, then linear maps with ReLU and the head."""

    def __init__(self, trial: TrialConfig, *, embedding: nn.Module, head: nn.Module) -> None:
        super().__init__()
        model, self.trial = trial.model, trial
        self.embedding, self.head = embedding, head
        self.time = TimeEmbedding(model.width, period=model.time_period)
        self.label = nn.Embedding(trial.data.num_classes + 1, model.width)
        self.maps = nn.ModuleList([nn.Linear(model.width, model.width) for _ in range(model.depth)])
        self.activation_checkpointing = False
        self.register_buffer("noise_scale", torch.tensor(trial.diffusion.noise_scale), persistent=False)

    def forward(self, z: Tensor, t: Tensor, y: Tensor, route: Tensor | None = None) -> Tensor:
        """z float32 [B, C, H, W] of one patch, t float32 [B], y int64 [B] -> [B, C, H, W]."""
        h = self.embedding(z) + (self.time(t) + self.label(y))[:, None]
        for layer in self.maps:
            h = layer(h).relu()
        return images_of(self.head(h), self.trial.seen_patch, self.trial.channels).float()
