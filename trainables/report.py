"""The reports of a running trial: plain records that travel between processes."""

from enum import IntEnum
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from trainables.config.fields import Frozen
from trainables.evaluation.metrics.jackknife import standard_errors
from trainables.evaluation.metrics.registry import joined, split

ASKED_TO_STOP = "asked to stop"
"""Why a trial paused that could have gone on."""
TrialOutcome = Literal["done", "trained", "paused", "stopped", "diverged"]
"""`trained`: saved at its end, and scored by somebody else."""
WeightsFrom = Literal["seed", "parent", "checkpoint"]
RungPicture = Literal["progress", "denoised"]
"""Samples of equal noise; and held-out images above what the network takes them for at fixed times, the noisiest first."""
Undertaking = Literal["compiling", "encoding the training images", "reading the real images' features", "drawing samples"]


class ExitCode(IntEnum):
    """How a command of this project ends, as its shell sees it."""

    DONE = 0
    WITHOUT_SCORES = 1
    """It ended by itself, and some trial has no score."""
    FINDINGS = 1
    """`doctor` has found something that is still amiss."""
    REFUSED = 1
    """`promote` has found a gate that does not hold: the champion stays."""
    MISTAKE = 2
    """The user can mend it; the message says how."""
    INTERRUPTED = 130
    """Stopped short; the same command goes on. What a shell shows of a command that SIGINT ended."""


class Progress(Frozen):
    """Training goes on."""

    kind: Literal["progress"] = "progress"
    images: int
    """Images trained on so far."""
    step: int
    """Updates so far."""
    loss: float
    """Mean training loss since the last report; never comparable between arms."""
    images_per_second: float
    flops: int = 0
    """Floating-point operations of training so far, by the closed form."""
    mfu: float | None = None
    """Share of the devices' bf16 peak that training reached; None in fp32, and where the peak is not known."""
    grad_norm: float | None = None
    """Norm of the gradient of the last sound update."""
    data_wait: float | None = None
    """Share of the time since the last report that updates waited for images."""
    system: dict[str, float] = {}
    """What the reporting process takes from its machine since the last report, by name; see `trainables.training.usage`."""


class Phase(Frozen):
    """A stretch of training begins: where its weights come from and what it runs on. Its settings change no draw."""

    kind: Literal["phase"] = "phase"
    images: int
    """Images that the weights have seen."""
    start: WeightsFrom
    parent: str | None = None
    """Trial and image count of the parent whose weights the trial began with."""
    device: str
    """The device's name."""
    host: str | None = None
    """The machine's name."""
    cpus: int | None = None
    """Cores that a worker may run on."""
    cuda: str | None = None
    """The CUDA version that torch was built for; None on a CPU."""
    workers: int
    micro_batch: int
    activation_checkpointing: bool


class SetBack(Frozen):
    """A trial goes on from less than it had: a checkpoint was damaged, or was removed before it was needed again. Training
    again gives the same weights."""

    kind: Literal["set_back"] = "set_back"
    images: int
    """Images that it goes on from."""
    had: int
    """Images of the checkpoint that cannot be used."""
    why: str


class Activity(Frozen):
    """What a trial is about that is no update, and how far that is; it is over with the next report of another kind."""

    kind: Literal["activity"] = "activity"
    images: int
    """Images that the weights have seen."""
    what: Undertaking
    done: int = 0
    of: int = 0
    """Images in all, of which some are `done`; 0 where nothing is counted."""


class _ByWeights(Frozen):
    """Values by metric name, apart by the weights that were measured."""

    values: dict[str, float]
    """Of the weights that the evaluation names; at a rung, of those that the trial's rungs measure."""
    raw_values: dict[str, float] = {}
    """Of the trained weights as they are."""

    @model_validator(mode="before")
    @classmethod
    def values_are_apart_by_weights(cls, data: Any) -> Any:
        """A ledger's earlier reports hold both weights' values in `values`, by shown name."""
        if not isinstance(data, dict) or not isinstance(data.get("values"), dict) or "raw_values" in data:
            return data
        apart = split(data["values"])
        return {**data, "values": apart["evaluated"], "raw_values": apart["raw"]}

    @property
    def by_name(self) -> dict[str, float]:
        """Both weights' values by shown name."""
        return joined(self.values, self.raw_values)


class Rung(_ByWeights):
    """Comparable values on the way, at a shared image count."""

    kind: Literal["rung"] = "rung"
    images: int
    pictures: dict[RungPicture, str] = {}
    """URIs of the pictures (PNG) that were drawn at it."""

    @model_validator(mode="before")
    @classmethod
    def the_answer_is_no_part_of_the_report(cls, data: Any) -> Any:
        """Drop `decision`."""
        # A ledger's first reports were stored with the answer to them, which a table of its own holds as well.
        if not isinstance(data, dict):
            return data
        return {name: value for name, value in data.items() if name != "decision"}


class Committed(Frozen):
    """A checkpoint is complete and can be resumed from."""

    kind: Literal["committed"] = "committed"
    images: int
    uri: str


class Scored(_ByWeights):
    """The scores of one evaluation."""

    kind: Literal["scored"] = "scored"
    images: int
    evaluation: str
    """The evaluation's id."""
    n: int
    """Generated images behind each value of images."""
    without_each: dict[str, list[float]] = {}
    """The values without each of equal groups of the images, by metric name: their standard error follows."""
    raw_without_each: dict[str, list[float]] = {}
    heldout: dict[str, float] = {}
    """The same scores of as many real held-out images."""
    rows: dict[str, dict[str, float]] = {}
    """The same scores of as many images that are no model's and not real, by what they are."""
    grid: str
    """URI of the sample grid (PNG); empty of a trial of which nothing is drawn."""
    collapsed: bool = False
    """It has collapsed (`trainables.evaluation.collapse`); the scores stand."""

    @property
    def errors(self) -> dict[str, float]:
        """Standard errors of the values by shown name, of drawing other images from the same weights."""
        return joined(standard_errors(self.without_each), standard_errors(self.raw_without_each))


class Ended(Frozen):
    """The last report of an attempt."""

    kind: Literal["ended"] = "ended"
    images: int
    outcome: TrialOutcome
    cause: str = ""
    """Why, in words, where the outcome is not `done`."""
    first_bad_step: int | None = None
    """The first update whose loss or gradient was not finite; the last one where only its samples were not."""
    bad_t: tuple[int, ...] = ()
    """Images of that update without a finite loss, in equal intervals of t from 0 to 1."""
    grad_norm: float | None = None
    """Norm of the gradient of the last sound update."""
    train_s: float
    evaluation_s: float
    checkpoint_s: float
    data_s: float = 0.0
    """Seconds of `train_s` that updates waited for images."""


Report = Annotated[Phase | SetBack | Progress | Activity | Rung | Committed | Scored | Ended, Field(discriminator="kind")]


class Decision(Frozen):
    """The answer to a rung."""

    verdict: Literal["go_on", "pause", "stop"] = "go_on"
    reason: str = ""
