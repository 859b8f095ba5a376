"""Pictures of a trial on its way: samples of equal noise at every rung, and the clean images that it sees at fixed times."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.assignment import Assignment
from trainables.config.evaluation import EvaluationConfig
from trainables.config.trial import TrialConfig
from trainables.data import ImageSet
from trainables.data.pixels import to_pixels, to_unit
from trainables.data.split import spread_evenly
from trainables.diffusion.evaluating import evaluating
from trainables.diffusion.sampler import guided_passes, sample
from trainables.diffusion.stages import PathStage, path_stages
from trainables.draws.philox import PhiloxDraws, Purpose
from trainables.evaluation.finite import NotFinite, require_finite
from trainables.evaluation.generate import generate
from trainables.evaluation.grid import write_grid
from trainables.methods.denoiser import sample_labels, sampling_noise
from trainables.methods.guiding import guide_of, guiding_flops
from trainables.methods.registry import method_of
from trainables.networks.cost import forward_flops, training_flops
from trainables.networks.network import Network
from trainables.report import RungPicture
from trainables.training.learner import Learner

IMAGES = 8
"""A row of each picture."""
STEPS = 16
"""Euler's, at most: enough to see what a picture becomes."""
TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""From nearly noise to nearly clean, a row each."""
MOST_SHARE = 0.02
"""Of a trial's training: dearer pictures are not drawn."""


class RungPictures:
    """Draws the pictures of one trial at its rungs, by the weights that its scores are of. Noise, labels and images are equal
    over all trials that share the evaluation, so that equal places compare."""

    def __init__(self, assignment: Assignment, learner: Learner, images: ImageSet) -> None:
        self._trial, self._learner, self._images = assignment.trial, learner, images
        self._space = learner.network.space
        self._evaluation = next((few_steps(each) for each in assignment.evaluations), None)
        self._guide: Network | None = None
        self._wanted = self._trial.draws and self._trial.data.channels in (1, 3) and self._evaluation is not None
        if self._wanted and self._evaluation is not None:
            self._guide = guide_of(self._evaluation, self._trial, storage=assignment.storage, device=learner.device)
            guide = self._guide.trial if self._guide is not None else None
            self._wanted = share_of_training(assignment, self._evaluation, guide=guide) <= MOST_SHARE

    def draw(self, folder: str) -> dict[RungPicture, str]:
        """Write them below a folder or URI; their addresses. None where they cost too much, or the weights have diverged."""
        evaluation, trained = self._evaluation, self._learner.images
        if evaluation is None or not self._wanted:
            return {}
        try:
            with self._learner.averages.swapped(evaluation.weights), torch.inference_mode(), self._autocast():
                pictures = self._pictures(evaluation)
        except NotFinite:
            return {}
        addresses = {kind: f"{folder}/{kind}-{trained:012d}.png" for kind in pictures}
        for kind, picture in pictures.items():
            write_grid(picture, addresses[kind], columns=IMAGES)
        return addresses

    def _pictures(self, evaluation: EvaluationConfig) -> dict[RungPicture, Tensor]:
        """By what they show, uint8 [k, C, H, W]."""
        if self._trial.method.kind == "autoencoder":
            return {"progress": self._again(evaluation)}
        if self._trial.method.kind == "masked_tokens":
            labels = method_of(self._trial).starts(self._trial, self._images, evaluation)[:IMAGES]
            return {"progress": generate(self._learner.network, self._trial, evaluation, labels)}
        return {"progress": self._samples(evaluation), "denoised": self._denoised(evaluation)}

    def _again(self, evaluation: EvaluationConfig) -> Tensor:
        """Held-out images in a row, and below them what the autoencoder makes of their codes, uint8 [k, C, H, W]."""
        few = evaluation.model_copy(update={"n": min(IMAGES, len(self._images.heldout))})
        held = method_of(self._trial).starts(self._trial, self._images, few)
        return torch.cat((held, generate(self._learner.network, self._trial, few, held).cpu()))

    def _samples(self, evaluation: EvaluationConfig) -> Tensor:
        """The first images of the evaluation's noise and labels, uint8 [IMAGES, C, H, W]."""
        labels = sample_labels(self._images, evaluation)[:IMAGES].to(self._learner.device)
        noise = [part.to(labels.device) for part in sampling_noise(self._trial, evaluation, first=0, count=len(labels))]
        drawn = sample(
            self._learner.network,
            noise[0],
            labels,
            diffusion=self._trial.diffusion,
            evaluation=evaluation,
            num_classes=self._trial.data.num_classes,
            borders=noise[1:],
            guide=self._guide,
        )
        return to_pixels(require_finite(self._space.down(drawn.float()), what="the pixels of a picture"))

    def _denoised(self, evaluation: EvaluationConfig) -> Tensor:
        """Held-out images in a row, and below them what the network takes them for at each of `TIMES`, or in the middle of each
        of its path's stages for at the stage's end, uint8 [k, C, H, W]."""
        chosen = spread_evenly(self._images.heldout, min(IMAGES, len(self._images.heldout)))
        x, y = (part.to(self._learner.device) for part in (to_unit(self._images.read(chosen)), self._images.labels(chosen)))
        x = self._space.up(x)
        e = self._noise(Purpose.HELDOUT_NOISE, len(x), seed=evaluation.seed)
        stages = path_stages(self._trial.diffusion.path)
        with evaluating(self._learner.network):
            if len(stages) == 1:
                rows = [self._clean(stages[0], x, e, y, time, evaluation) for time in TIMES]
            else:
                rows = [self._end(stage, x, e, y, evaluation) for stage in stages]
        return to_pixels(require_finite(self._space.down(torch.cat([x, *rows]).float()), what="the pixels of a picture"))

    def _clean(self, stage: PathStage, x: Tensor, e: Tensor, y: Tensor, time: float, evaluation: EvaluationConfig) -> Tensor:
        """The images as the network sees them through noise, [B, C, H, W]."""
        diffusion = self._trial.diffusion
        _, _, z, t = stage.example(x, e, torch.full((len(x),), time, device=x.device))
        output = self._learner.network(*stage.seen(z, t, diffusion.noise_scale), y)
        return stage.convert(output, z, t, source=diffusion.prediction, target="x", t_eps=evaluation.t_eps_sample)

    def _end(self, stage: PathStage, x: Tensor, e: Tensor, y: Tensor, evaluation: EvaluationConfig) -> Tensor:
        """Where a stage leads by the network's answer in its middle, each pixel as many as it stands for, [B, C, H, W]."""
        t = torch.full((len(x),), 0.5, device=x.device)
        z, source = stage.example(x, e, t).z, self._trial.diffusion.prediction
        output = self._learner.network(*stage.seen(z, t, self._trial.diffusion.noise_scale), y)
        v = stage.convert(output, z, t, source=source, target="v", t_eps=evaluation.t_eps_sample)
        return F.interpolate(z + (1 - t).view(-1, 1, 1, 1) * v, size=x.shape[-1], mode="nearest")

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self._learner.device.type, torch.bfloat16, enabled=self._trial.precision == "bf16")

    def _noise(self, purpose: Purpose, count: int, *, seed: int) -> Tensor:
        normal = PhiloxDraws(seed).normal(purpose, first=0, count=count, shape=self._trial.shape)
        return self._trial.diffusion.noise_scale * normal.to(self._learner.device)


def few_steps(evaluation: EvaluationConfig) -> EvaluationConfig:
    """The evaluation as pictures on the way are drawn."""
    fewer = {"steps": min(STEPS, evaluation.steps), "head_steps": min(STEPS, evaluation.head_steps)}
    return evaluation.model_copy(update={"sampler": "euler", **fewer})


def share_of_training(assignment: Assignment, evaluation: EvaluationConfig, *, guide: TrialConfig | None = None) -> float:
    """What the pictures of all rungs take of the floating-point operations of the whole trial, with those of a guiding
    classifier."""
    trial, images = assignment.trial, IMAGES * len(assignment.rungs)
    looked_at = method_of(trial).passes(trial, evaluation) + len(TIMES)
    pushes = guided_passes(evaluation) * guiding_flops(guide) if guide is not None else 0
    return images * (looked_at * forward_flops(trial) + pushes) / training_flops(trial, images=assignment.images)
