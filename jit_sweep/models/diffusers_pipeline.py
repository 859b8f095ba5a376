"""A jit-sweep model as a diffusers pipeline: samples as its scores were drawn; needs jit-sweep installed."""

from collections.abc import Sequence

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.image_processor import VaeImageProcessor

from jit_sweep.models.images import images_of


class JitSweepPipeline(DiffusionPipeline):
    """Images of class labels."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.register_modules(network=network)

    @torch.no_grad()
    def __call__(
        self, labels: Sequence[int] | None = None, *, n: int = 4, seed: int = 0, output_type: str = "pil"
    ) -> ImagePipelineOutput:
        """Draw an image of each label, or n images with the classes in turn.

        output_type: `pil`, or `np` for float32 [n, H, W, C] in 0..1.
        """
        wanted = None if labels is None else torch.tensor(list(labels))
        model = self.network
        drawn = images_of(model.network, model.settings, guide=model.guide, n=n, seed=seed, labels=wanted)
        images = drawn.permute(0, 2, 3, 1).cpu().numpy() / 255
        return ImagePipelineOutput(images=VaeImageProcessor.numpy_to_pil(images) if output_type == "pil" else images)
