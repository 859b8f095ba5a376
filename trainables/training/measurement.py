"""A probe's request and its answer: how fast trials of one shape train on this machine. Free of torch."""

from trainables.config.evaluation import EvaluationConfig
from trainables.config.fields import Frozen, NonNegativeFloat, PositiveFloat, PositiveInt
from trainables.config.trial import TrialConfig
from trainables.data.holdout import Holdout


class ProbeRequest(Frozen):
    """One worker's part of a trial, and how its samples are drawn."""

    trial: TrialConfig
    """With the worker's share of the batch as its batch."""
    evaluation: EvaluationConfig
    guide: TrialConfig | None = None
    """The classifier that guides them, where it is known."""
    data: str
    """A packaged set's name, or the URI of a file that a reader takes."""
    holdout: Holdout | None = None
    workers: PositiveInt = 1
    """That share a batch."""
    threads: PositiveInt = 1
    """torch's, on the CPU."""
    memory_bytes: PositiveInt | None = None
    """Memory of a worker; None: its GPU's own, and no limit on a CPU."""
    micro_batch: PositiveInt | None = None
    activation_checkpointing: bool | None = None


class Measured(Frozen):
    """Speed and memory of one worker. Summing gradients over workers is not in it."""

    images_per_second: PositiveFloat
    """Of training, once warm."""
    warmup_s: NonNegativeFloat
    """What the first update takes longer, its compilation included."""
    rung_s: NonNegativeFloat
    """The held-out error of one set of weights."""
    sampled_s: NonNegativeFloat
    """Drawing and scoring the evaluation's images for one set of weights, the held-out error included."""
    peak_bytes: PositiveInt
    """Most memory at once: of the GPU, or of the whole process where there is none."""
    modelled_bytes: PositiveInt
    """What `trainables.networks.memory` says of training."""
    micro_batch: PositiveInt
    activation_checkpointing: bool
