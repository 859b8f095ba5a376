"""Tokens that skip the middle blocks in training (TREAD, arXiv 2501.04765)."""

import torch
from torch import Tensor

from trainables.config.network import ModelConfig, SkipRouting
from trainables.networks.norm import Stream, joined


class Routed:
    """Which tokens of a batch go through the middle blocks, and what the others were when they left."""

    def __init__(self, route: Tensor, *, kept: int, model: ModelConfig) -> None:
        """route [B, N]: the `kept` tokens with the smallest numbers stay, and every class token."""
        assert isinstance(model.routing, SkipRouting)
        first = torch.arange(model.class_tokens, device=route.device).expand(len(route), -1)
        self.places = torch.cat((first, model.class_tokens + route.argsort(dim=1)[:, :kept]), dim=1)
        self.middle = range(model.routing.ends, model.depth - model.routing.ends)
        self.left: Tensor | None = None

    def before(self, block: int, stream: Stream) -> Stream:
        """The tokens that a block sees."""
        if block == self.middle.start:
            self.left = joined(stream)
            return Stream(self.left.gather(1, self._index(self.left)))
        if block == self.middle.stop:
            assert self.left is not None, "the middle blocks come first"
            through = joined(stream)
            return Stream(self.left.scatter(1, self._index(self.left), through))
        return stream

    def rotation(self, table: Tensor | None) -> Tensor | None:
        """What the tokens of the middle blocks turn by, of each image its own, [B, kept, 1, d / 2, 2]."""
        return None if table is None else table[self.places]

    def _index(self, tokens: Tensor) -> Tensor:
        return self.places[:, :, None].expand(-1, -1, tokens.shape[2])
