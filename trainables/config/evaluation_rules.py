"""The rules between a trial and its evaluation: what a score would say of weights that training has not touched."""

import math
from collections.abc import Iterator

from trainables.config.average import RAW, DecayEma, EmaConfig, start_share
from trainables.config.budget_rules import UNMOVED, begins_trained, of_start
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig, Sampling, unread
from trainables.config.fields import percent
from trainables.config.objective import ClassifierTerm
from trainables.config.spelling import did_you_mean
from trainables.config.trial import TrialConfig

MOVED = 0.02
"""Share of its first weights at which an average counts as the training's."""
FEW_NULLS = 1000
"""Fewer images than this with the null label are told: guidance is as good as what it has learned from them."""


def check_sampling(diffusion: DiffusionConfig, evaluation: EvaluationConfig, *, num_classes: int) -> None:
    """ValueError: images cannot be drawn so, whatever the weights."""
    guidance = evaluation.guidance
    if guidance != 1 and num_classes == 1:
        raise ValueError(f"`guidance` must be 1 without class labels, got guidance={guidance:g}, num_classes=1; try 1.0")
    if guidance != 1 and not diffusion.label_drop:
        rule = "`guidance` other than 1 needs the null label, which only `label_drop` trains"
        raise ValueError(f"{rule}, got guidance={guidance:g}, label_drop=0; try label_drop=0.1 or guidance=1.0")
    if evaluation.guide is not None or evaluation.classifier_scale != 1:
        _check_classifier(diffusion, evaluation, num_classes=num_classes)
    if evaluation.steps < diffusion.path.count:
        rule = "`steps` are shared out over the path's stages, each of which needs one"
        raise ValueError(f"{rule}, got steps={evaluation.steps}, stages={diffusion.path.count}; raise steps")
    if diffusion.prediction == "eps" and not evaluation.t_eps_sample:
        raise ValueError("`t_eps_sample` must be above 0 for eps-prediction, which divides by t, got 0; try 0.05")


def _check_classifier(diffusion: DiffusionConfig, evaluation: EvaluationConfig, *, num_classes: int) -> None:
    if evaluation.classifier is None:
        rule = "`classifier_scale` other than 1 needs a `classifier` that guides"
        raise ValueError(f"{rule}, got classifier_scale={evaluation.classifier_scale:g}, classifier=null; name one, or try 1.0")
    if not evaluation.classifier_scale:
        return
    if num_classes == 1 or diffusion.path.kind != "flow" or diffusion.dimensions is not None:
        rule = "`classifier` guides noisy images of several classes, along the path flow, that are not lifted"
        got = f"num_classes={num_classes}, path={diffusion.path.kind}, dimensions={diffusion.dimensions}"
        raise ValueError(f"{rule}, got {got}; try classifier: null")
    if not evaluation.t_eps_sample:
        raise ValueError("`t_eps_sample` must be above 0 under a `classifier`, whose push divides by t, got 0; try 0.05")


def check_guide(trial: TrialConfig, guide: TrialConfig) -> None:
    """ValueError: samples of a trial cannot be guided by this one."""
    if guide.method.kind != "classifier":
        raise ValueError(f"`classifier` must be a trial of method classifier, got {guide.id}, a {guide.method.kind}; name one")
    seen = [(each.data.digest, each.shape, each.data.num_classes, each.noise_scale) for each in (trial, guide)]
    names = ("images", "shape", "num_classes", "noise_scale")
    if odd := [f"{name} {theirs} for {own}" for name, own, theirs in zip(names, *seen, strict=True) if own != theirs]:
        rule = "`classifier` must have been trained on the same images, classes and noise_scale"
        raise ValueError(f"{rule}, got {', '.join(odd)} of {guide.id}; train one on them")


def check_heldout(evaluation: Sampling, *, heldout: int) -> None:
    """ValueError: more generated images than real ones to read their score against."""
    if evaluation.n > heldout:
        rule = f"`n` must be at most {heldout}, the held-out images: scores are read against as many real ones"
        raise ValueError(f"{rule}, got n={evaluation.n}; try {heldout}")


def check_evaluation(trial: TrialConfig, evaluation: EvaluationConfig, *, images: int) -> None:
    """ValueError: a trial of so many images cannot be scored so."""
    check_weights(trial, evaluation.weights)
    if trial.draws:
        _check_drawn(trial, evaluation, images=images)
    if not begins_trained(trial) and (share := _start_share(trial, evaluation, images)) > UNMOVED:
        got = f"got {evaluation.weights}, an average that is still {percent(share)} initial weights"
        after = f"after {images // trial.batch_size:,} updates"
        raise ValueError(f"`weights` must be trained ones, {got} {after}; {_quicker(trial, evaluation, images)}")


def _check_drawn(trial: TrialConfig, evaluation: EvaluationConfig, *, images: int) -> None:
    check_judge(trial, evaluation)
    check_sampling(trial.diffusion, evaluation, num_classes=trial.data.num_classes)
    if evaluation.guidance_channels is not None and "guidance_channels" not in unread(trial.method.kind):
        _check_channels(trial, evaluation.guidance_channels)
    if evaluation.guide is not None and (trial.method.kind != "denoiser" or trial.space.kind != "pixels"):
        rule = "`classifier` guides denoisers of pixels"
        raise ValueError(f"{rule}, got method={trial.method.kind}, space={trial.space.kind}; try classifier: null")
    if evaluation.guidance != 1 and _nulls(trial, images) < 1:
        rule = "`guidance` other than 1 needs a null label that training has met"
        got = f"got label_drop={trial.diffusion.label_drop:g} of {images:,} images"
        raise ValueError(f"{rule}, {got}; raise label_drop, or try guidance=1.0")


def _check_channels(trial: TrialConfig, guided: int) -> None:
    if trial.diffusion.dimensions is not None:
        rule = "`guidance_channels` are of pixels or codes"
        raise ValueError(f"{rule}, got dimensions={trial.diffusion.dimensions}; try null, which is all")
    if guided > trial.canvas.channels:
        rule = "`guidance_channels` must be at most the channels of what is drawn"
        raise ValueError(f"{rule}, got {guided} of {trial.canvas.channels}; try null, which is all")


def check_draws(trial: TrialConfig, *, asked: str) -> None:
    """ValueError: what is asked for is of samples, and of this trial none are drawn."""
    if not trial.draws:
        raise ValueError(f"{asked} of what draws samples, got method={trial.method.kind}; try a denoiser")


def check_judge(trial: TrialConfig, evaluation: EvaluationConfig) -> None:
    """ValueError: the network that scores has taught the trial, so that its features are what was trained for."""
    features = evaluation.features
    for term in trial.auxiliary:
        taught = None if isinstance(term, ClassifierTerm) else term.teacher.sha256
        if not isinstance(features, str) and features.sha256 == taught:
            rule = f"`evaluation.features` must not be the teacher of the term {term.kind}"
            got = f"weights with SHA-256 {features.sha256[:12]} as both"
            raise ValueError(f"{rule}, got {got}; score by another network, such as efflite0, or let another teach")


def evaluation_remarks(trial: TrialConfig, evaluation: EvaluationConfig, *, images: int) -> Iterator[str]:
    """What a score rests on less than it seems to, with the count."""
    nulls = _nulls(trial, images)
    if trial.draws and evaluation.guidance != 1 and nulls < FEW_NULLS:
        met = f"guidance={evaluation.guidance:g} needs the null label, and only about {nulls:,.0f} training images have it"
        yield f"{met}; raise label_drop, or train on more images"
    if (share := _start_share(trial, evaluation, images)) > MOVED:
        held = f"{percent(share)} {of_start(trial)} when it is scored"
        yield f"the average {evaluation.weights} is still {held}; {_quicker(trial, evaluation, images)}"


def weight_names(trial: TrialConfig) -> list[str]:
    """What of a trained trial can be scored: its weights as they are, and each average."""
    return [RAW, *(average.name for average in trial.ema)]


def check_weights(trial: TrialConfig, name: str) -> None:
    """ValueError where `name` is neither an average of this trial nor the weights themselves."""
    known = weight_names(trial)
    if name not in known:
        rule = f"`weights` must be one of {', '.join(known)}, got {name!r}"
        raise ValueError(f"{rule}; {did_you_mean(name, known, otherwise='try one of them')}")


def _nulls(trial: TrialConfig, images: int) -> float:
    """Training images whose label is dropped, on average."""
    return trial.diffusion.label_drop * images


def _start_share(trial: TrialConfig, evaluation: EvaluationConfig, images: int) -> float:
    """What the scored weights still hold of the first ones; 0 of those that are no average."""
    average = _scored(trial, evaluation)
    batch = trial.batch_size
    return start_share(average, updates=images // batch, batch_size=batch) if average is not None else 0.0


def _scored(trial: TrialConfig, evaluation: EvaluationConfig) -> EmaConfig | None:
    return next((average for average in trial.ema if average.name == evaluation.weights), None)


def _quicker(trial: TrialConfig, evaluation: EvaluationConfig, images: int) -> str:
    """A proposal by which the start would be forgotten."""
    average, updates = _scored(trial, evaluation), max(1, images // trial.batch_size)
    assert average is not None
    if average.warmup:
        return "train on more images, or score weights=raw"
    memory = (
        f"a decay of at most {math.floor(MOVED ** (1 / updates) * 1e4) / 1e4:g}"
        if isinstance(average, DecayEma)
        else f"a half-life of at most {math.floor(images * math.log(2) / -math.log(MOVED)):,} images"
    )
    return f"try its warmup: true, {memory}, or weights=raw"
