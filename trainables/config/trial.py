"""What a trial is: a frozen, torch-free description from which the same weights come bit for bit.

`TrialConfig` holds everything that changes the numbers and nothing else; its id is a hash of its content. How long it trains
(the budget), how it is scored and where its files lie are kept outside it, in `trainables.assignment`.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from trainables.config.fields import (
    JOINED_LATER,
    FiniteFloat,
    Fraction,
    Frozen,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    choices,
    content_hash,
    identity,
    nearest,
    without,
)
from trainables.config.network import ModelConfig
from trainables.config.objective import (
    CosineTimes,
    InterpolatedCosine,
    Mode,
    NoWeighting,
    ShiftedCosine,
    SigmoidWeighting,
    WeightedTerm,
    Weighting,
)

DCT_SIDE = 8
"""Side of the blocks whose frequencies the term `frequency` weighs."""
MATHS_VERSION = 2
"""Part of every trial's identity: raised in the commit that changes what a configuration trains to."""

Target = Literal["x", "eps", "v"]
Precision = Literal["fp32", "bf16"]
Device = Literal["cpu", "cuda"]
AttentionMode = Literal["sdpa", "cudnn", "flash", "triton", "fp32"]
"""How attention is computed. fp32 writes QK^T, the softmax and the product with v out in fp32. The official code does that for
the first two, and computes the product with v in bf16: no mode here is it to the bit."""
Kernels = Literal["torch", "triton"]

TRITON_HEAD_DIM = 128
"""Widest head of our own attention: above it what a program works on does not fit its registers."""


class DataConfig(Frozen):
    """The training images, by content."""

    digest: str
    """Fingerprint of the images, labels and held-out list."""
    image_size: PositiveInt
    """Height and width in pixels."""
    channels: PositiveInt = 3
    num_classes: PositiveInt
    """1 means an unconditional model."""
    flip: bool = True
    """Mirror each image left to right with probability one half, as the official JiT trainer does."""


class LogitNormal(Frozen):
    """t = sigmoid(s) with s ~ N(mu, sigma^2); t = 1 is data. JiT: mu = -0.8, sigma = 0.8."""

    kind: Literal["logit_normal"] = "logit_normal"
    mu: Annotated[FiniteFloat, Field(ge=-20, le=20)] = -0.8
    """Mean of logit(t); lower is noisier."""
    sigma: Annotated[PositiveFloat, Field(le=20)] = 0.8
    """Standard deviation of logit(t)."""


class Uniform(Frozen):
    """t ~ U(0, 1)."""

    kind: Literal["uniform"] = "uniform"


TSampling = Annotated[
    LogitNormal | Uniform | Mode | CosineTimes | ShiftedCosine | InterpolatedCosine, Field(discriminator="kind")
]


class DiffusionConfig(Frozen):
    """What the network predicts, in which space the loss is taken, and how the noisy input is drawn."""

    prediction: Target = "x"
    """What the network's output means."""
    loss: Target = "v"
    """The space in which the squared error is taken."""
    t_sampling: TSampling = LogitNormal()
    """The distribution of t in training."""
    t_eps_train: Fraction = 0.05
    """Smallest 1 - t (and t) that a conversion divides by in training; 0 is off."""
    noise_scale: Annotated[PositiveFloat, Field(ge=1e-3, le=1000)] = 1.0
    """Standard deviation of the noise e."""
    label_drop: Fraction = 0.1
    """Share of labels replaced by the null label; unused by unconditional models."""
    terms: Annotated[tuple[WeightedTerm, ...], Field(max_length=8), JOINED_LATER] = ()
    """What is added to the squared error, in the space of the loss."""
    weighting: Annotated[Weighting, JOINED_LATER] = NoWeighting()
    """How much the squared error counts by its time; other than none, it is of x and not in the space of the loss."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Nothing reads `loss` where a weighting puts the squared error into x and no term stands beside it."""
        return content if self.weighting.kind == "none" or self.terms else {**content, "loss": "v"}

    @property
    def error_space(self) -> Target:
        """The space of the squared error."""
        return self.loss if self.weighting.kind == "none" else "x"

    @model_validator(mode="after")
    def importance_knows_the_density(self) -> Self:
        weighting, drawn = self.weighting, self.t_sampling.kind
        if isinstance(weighting, SigmoidWeighting) and weighting.importance and drawn not in ("logit_normal", "uniform"):
            rule = "`weighting.importance` divides by the density of t under logit_normal or uniform"
            raise ValueError(f"{rule}, got t_sampling={drawn}; try one of the two, or importance=false")
        return self

    @model_validator(mode="after")
    def each_term_is_there_once(self) -> Self:
        kinds = [term.kind for term in self.terms]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"`terms` must have each kind once, got {', '.join(kinds)}; add up their weights")
        return self


class Constant(Frozen):
    """The learning rate stays as it is after the warm-up (JiT)."""

    kind: Literal["constant"] = "constant"


class Cosine(Frozen):
    """After the warm-up, half a cosine from the full rate down to `final` of it."""

    kind: Literal["cosine"] = "cosine"
    total_images: PositiveInt | None = None
    """Images at which it ends; None in a sweep file: the trial's own budget."""
    final: Fraction = 0.0
    """Share of the rate that is left at the end."""


Schedule = Annotated[Constant | Cosine, Field(discriminator="kind")]


class WarmupEpochs(Frozen):
    """A warm-up of so many passes over the training images (JiT: 5)."""

    kind: Literal["epochs"] = "epochs"
    epochs: PositiveFloat
    """Passes over the training split; a part of one counts as its part."""


class WarmupShare(Frozen):
    """A warm-up that takes a share of the trial's budget. Another budget is then another trial."""

    kind: Literal["share"] = "share"
    share: Annotated[float, Field(gt=0, lt=1, strict=True)]
    """Of the trial's images."""


def _form_of_warmup(value: Any) -> str | None:
    if isinstance(value, dict):
        return str(value.get("kind"))
    return "images" if isinstance(value, int | float) else getattr(value, "kind", None)


Warmup = Annotated[
    Annotated[NonNegativeInt, Tag("images")] | Annotated[WarmupEpochs, Tag("epochs")] | Annotated[WarmupShare, Tag("share")],
    Discriminator(
        _form_of_warmup,
        custom_error_type="warmup_form",
        custom_error_message="must be a number of images, or a mapping with `kind` epochs or share",
    ),
]


class OptimiserConfig(Frozen):
    """AdamW, or Muon with AdamW; biases and one-dimensional parameters are not decayed."""

    method: Annotated[Literal["adamw", "muon"], JOINED_LATER] = "adamw"
    """muon: torch's Muon for the blocks' and the modulation's matrices, q, k and v each by itself; AdamW for the rest.
    Muon's updates are scaled by 0.2 sqrt(longer side), to AdamW's size, so that both have one rate at every width."""
    momentum: Annotated[Fraction, JOINED_LATER] = 0.95
    """Share of the gradient's running mean that Muon keeps."""
    learning_rate: PositiveFloat = 2e-4
    """After the warm-up; of 256 images where `scale_with_batch` is set."""
    scale_with_batch: bool = False
    """The rate is learning_rate x batch_size / 256, as JiT's `blr`."""
    schedule: Schedule = Constant()
    """The learning rate after the warm-up."""
    beta1: Fraction = 0.9
    """Share of the gradient's running mean that an update keeps."""
    beta2: Fraction = 0.95
    """Share of the squared gradient's running mean that an update keeps."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled: an update takes learning rate x this, as a share, off every weight."""
    warmup_images: Warmup = 0
    """Images over which the learning rate grows linearly from zero; in a sweep file also epochs, or a share of the budget."""
    grad_clip: PositiveFloat | None = None
    """Largest norm of an update's whole gradient; a longer one is scaled down to it."""

    def as_hashed(self, content: dict[str, Any]) -> dict[str, Any]:
        """Muon alone reads `momentum`."""
        return without(content, {"momentum"}) if self.method == "adamw" else content

    @property
    def warmup(self) -> int:
        """A trial's warm-up in images."""
        assert isinstance(self.warmup_images, int), "a trial's warm-up is in images"
        return self.warmup_images


RAW = "raw"
"""The name of the weights themselves where an average of them could stand."""
RESERVED = frozenset({RAW, "model", "optimiser"})
"""Names that no average may have."""


class _Average(Frozen):
    """A running average of the weights."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "ema"
    """What an evaluation calls it."""
    warmup: bool = True
    """Update k keeps min(b, (1 + k) / (10 + k)) of the average, so that a short trial is not scored on its initial weights."""


class DecayEma(_Average):
    """Each update keeps `decay` of the average."""

    kind: Literal["decay"] = "decay"
    decay: Fraction = 0.9999
    """Share of the average that an update keeps."""


class HalfLifeEma(_Average):
    """An update's share in the average halves every `images`, whatever the batch size."""

    kind: Literal["half_life"] = "half_life"
    images: PositiveInt
    """Images after which an update's share has halved."""


EmaConfig = Annotated[DecayEma | HalfLifeEma, Field(discriminator="kind")]


class Parent(Frozen):
    """The checkpoint that a trial's weights start from; optimiser, averages and image count begin anew."""

    trial: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    """The trial's id."""
    images: PositiveInt
    """The image count of the checkpoint."""


class Recipe(Frozen):
    """How to train, whatever the images: what a preset names and a sweep's baseline overrides."""

    model: ModelConfig
    """The network."""
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
    compile: bool = False
    """Compile the step with torch.compile; sums are rounded in another order than without."""
    graphs: Annotated[bool, JOINED_LATER] = False
    """Replay an update's kernels as a CUDA graph, which spares a small model the time of starting them one by one."""
    gradient_sum: Annotated[Precision, JOINED_LATER] = "fp32"
    """Precision in which the gradients of several workers are added up."""
    parent: Parent | None = None
    """None: the weights start from the seed."""


def default_precision(device: str) -> Precision:
    """bf16 on a GPU. fp32 on a CPU: most have no bf16 arithmetic, and emulate it at a ninth of the speed."""
    return "bf16" if device == "cuda" else "fp32"


class TrialConfig(Recipe):
    """Everything that decides a trial's numbers."""

    data: DataConfig
    seed: NonNegativeInt = 0
    device: Device = "cpu"
    precision: Precision = "fp32"
    """bf16: autocast around the network; weights and optimiser stay fp32. Left out: bf16 on a GPU, fp32 on a CPU."""

    @model_validator(mode="before")
    @classmethod
    def precision_follows_the_device(cls, given: Any) -> Any:
        """By what the trial says it runs on, never by the machine that reads it: a trial has one id everywhere."""
        if isinstance(given, dict) and given.get("precision") is None:
            return {**given, "precision": default_precision(given.get("device", "cpu"))}
        return given

    @model_validator(mode="after")
    def the_warmup_is_in_images(self) -> Self:
        warmup = self.optimiser.warmup_images
        if not isinstance(warmup, int):
            rule = "`warmup_images` of a trial must be a number of images"
            raise ValueError(f"{rule}, got {warmup.kind}; multiply it out, since only a sweep file knows data and budget")
        return self

    @model_validator(mode="after")
    def patch_divides_image(self) -> Self:
        patch, size = self.model.patch_size, self.data.image_size
        if size % patch:
            valid = nearest([d for d in range(1, size + 1) if size % d == 0], patch)
            rule = "`patch_size` must divide image_size"
            raise ValueError(f"{rule}, got patch_size={patch}, image_size={size}; try {choices(valid)}")
        return self

    @model_validator(mode="after")
    def terms_fit_the_images(self) -> Self:
        kinds, data = {term.kind for term in self.diffusion.terms}, self.data
        if "frequency" in kinds and (data.channels != 3 or data.image_size < DCT_SIDE):
            rule = f"the term frequency needs colour images of at least {DCT_SIDE} pixels"
            raise ValueError(f"{rule}, got channels={data.channels}, image_size={data.image_size}; leave it out of `terms`")
        return self

    @model_validator(mode="after")
    def output_skip_needs_x_prediction(self) -> Self:
        skip, prediction = self.model.output_skip, self.diffusion.prediction
        if skip != "none" and prediction != "x":
            rule = "`output_skip` pre-conditions an x-prediction"
            raise ValueError(f"{rule}, got output_skip={skip}, prediction={prediction}; try output_skip=none")
        return self

    @model_validator(mode="after")
    def averages_have_names_of_their_own(self) -> Self:
        names = [average.name for average in self.ema]
        if RESERVED & set(names) or len(set(names)) < len(names):
            rule = f"`ema` must name each average once, and none of them {', '.join(sorted(RESERVED))}"
            raise ValueError(f"{rule}, got {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def fused_attention_needs_bf16_on_a_gpu(self) -> Self:
        if self.attention in ("cudnn", "flash", "triton") and (self.device, self.precision) != ("cuda", "bf16"):
            rule = f"`attention` {self.attention} needs a GPU and precision bf16"
            got = f"device={self.device}, precision={self.precision}"
            raise ValueError(f"{rule}, got {got}; try attention=sdpa or precision=bf16")
        return self

    @model_validator(mode="after")
    def triton_attention_has_narrow_heads_and_no_dropout(self) -> Self:
        head_dim, dropout = self.model.width // self.model.heads, self.model.attn_dropout
        if self.attention == "triton" and (head_dim > TRITON_HEAD_DIM or dropout):
            rule = f"`attention` triton needs heads of at most {TRITON_HEAD_DIM} and no attn_dropout"
            raise ValueError(f"{rule}, got width/heads={head_dim}, attn_dropout={dropout}; try attention=sdpa")
        return self

    @model_validator(mode="after")
    def a_bf16_residual_needs_bf16(self) -> Self:
        if self.residual == "bf16" and self.precision != "bf16":
            rule = "`residual` bf16 needs precision bf16"
            raise ValueError(f"{rule}, got precision={self.precision}; try residual=fp32 or precision=bf16")
        return self

    @model_validator(mode="after")
    def kernels_and_graphs_need_a_gpu(self) -> Self:
        for name, wanted, plain in (("kernels", self.kernels == "triton", "torch"), ("graphs", self.graphs, "false")):
            if wanted and self.device != "cuda":
                raise ValueError(f"`{name}` other than {plain} needs a GPU, got device={self.device}; try {name}={plain}")
        return self

    @model_validator(mode="after")
    def kernels_of_our_own_are_not_compiled(self) -> Self:
        if self.kernels == "triton" and self.compile:
            rule = "`kernels` triton runs without torch.compile, which cannot see into it"
            raise ValueError(f"{rule}, got compile=true; try compile=false, or kernels=torch")
        return self

    @model_validator(mode="after")
    def routed_tokens_turn_in_torch(self) -> Self:
        if self.kernels == "triton" and self.model.routing.kind != "none":
            rule = "`kernels` triton turns the tokens of all images alike"
            raise ValueError(f"{rule}, got routing={self.model.routing.kind}; try kernels=torch, or routing=none")
        return self

    @model_validator(mode="after")
    def graphs_replay_adamw(self) -> Self:
        if self.graphs and self.optimiser.method != "adamw":
            rule = "`graphs` replays the steps of AdamW alone"
            raise ValueError(f"{rule}, got method={self.optimiser.method}; try graphs=false, or method=adamw")
        return self

    @model_validator(mode="after")
    def cosine_ends_after_the_warmup(self) -> Self:
        schedule, warmup = self.optimiser.schedule, self.optimiser.warmup
        if schedule.kind == "cosine" and (schedule.total_images or 0) <= warmup:
            rule = "`schedule.total_images` must be above warmup_images"
            got = f"total_images={schedule.total_images}, warmup_images={warmup}"
            raise ValueError(f"{rule}, got {got}; lower warmup_images, or train on more images")
        return self

    @property
    def rung_weights(self) -> str:
        """The weights that stand at the rungs: the first average, or the weights themselves."""
        return self.ema[0].name if self.ema else RAW

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.data.image_size // self.model.patch_size

    @property
    def token_dim(self) -> int:
        """Numbers in one patch: channels x patch_size^2."""
        return self.data.channels * self.model.patch_size**2

    @property
    def id(self) -> str:
        """First 12 hex digits of the hash of everything that decides the numbers."""
        return content_hash({"maths_version": MATHS_VERSION, **identity(self)})


def id_by_seed(trial: TrialConfig) -> Callable[[int], str]:
    """The id of a trial with another seed; what does not depend on the seed is worked out once."""
    content = {"maths_version": MATHS_VERSION, **identity(trial)}
    return lambda seed: content_hash({**content, "seed": seed})
