"""The entries of the registry that are of a network alone, without images that it draws."""

from collections.abc import Iterator, Mapping

from trainables.evaluation.metrics.metric import Metric, NetworkAlone

_HERE = "trainables.evaluation.metrics"
BINS = 4
"""Intervals of log-SNR that the held-out errors are told apart in."""
STEPS_APART = 8
"""Held-out images after which the grid's times repeat: from so many on, every time is met."""

UNSAMPLED = frozenset(
    {"t_eps_sample", "sampling_steps", "sampling_shift", "guidance", "interval", "classifier", "classifier_scale"}
)
"""Axes of how samples are drawn: they change no error of a network alone."""
_GUIDANCE = "guidance, interval, classifier and classifier_scale"
_SAMPLING = f"along t_eps_sample, sampling_steps, sampling_shift, {_GUIDANCE}: nothing is sampled"
_NOR = f"nor {_SAMPLING}"
_NOTHING = f"says nothing along noise_scale, dimensions and path, which scale the velocity itself, {_NOR}"
_BLIND = UNSAMPLED | {"noise_scale", "path", "dimensions"}


def of_network(rung: Mapping[str, str], *, pixels: str) -> Iterator[Metric]:
    """The metrics of a network without images; `rung`: the name of each kind's own, `pixels`: of the flow's in pixels."""
    yield from _of_the_flow(rung["flow"], pixels)
    yield from _of_quarters()
    yield from _of_stages(rung["flow"], rung["staged"])
    yield from _of_levels(rung["flow"], rung["karras"])
    yield from _of_latents(rung["flow"], rung["latent"])
    yield from _of_autoencoders(rung["autoencoder"])
    yield from _of_classifiers(rung["classifier"])
    yield from _of_masked_tokens(rung["masked_tokens"])
    yield from _of_encoders(rung["encoder_pretraining"])


def _of_the_flow(whole: str, pixels: str) -> Iterator[Metric]:
    """Over all t."""
    yield Metric(
        whole,
        "minimize",
        "mean squared velocity",
        f"error of the predicted velocity on a fixed grid of held-out image, noise and t; {_NOTHING}",
        needs=NetworkAlone(),
        compute=f"{_HERE}.heldout:v_error",
        blind_to=_BLIND,
        scale="log",
        plain="how wrong the network is on images that training never saw, over all noise levels",
        judges=True,
    )
    yield Metric(
        pixels,
        "minimize",
        "mean squared velocity",
        f"the same grid's error of predicted v projected onto the pixels: of lifted patches without what only noise fills; "
        f"says nothing along noise_scale and path, which scale the velocity itself, {_NOR}",
        needs=NetworkAlone(),
        compute=f"{_HERE}.heldout:pixel_v_error",
        blind_to=_BLIND - {"dimensions"},
        scale="log",
        plain="how wrong the network is on pixels that training never saw, over all noise levels",
        in_tables=False,
    )


def _of_quarters() -> Iterator[Metric]:
    """Told apart by log-SNR."""
    for space, unit in (("v", "mean squared velocity"), ("x", "mean squared pixel, of a range of 2")):
        for place in range(1, BINS + 1):
            end = {1: ", the noisiest", BINS: ", the cleanest"}.get(place, "")
            yield Metric(
                f"heldout_{space}_error_snr{place}",
                "minimize",
                unit,
                f"the same grid's error of predicted {space} in quarter {place} of {BINS} by log-SNR{end}; {_NOTHING}",
                needs=NetworkAlone(),
                compute=f"{_HERE}.heldout:{space.upper()}_ERROR.snr{place}",
                blind_to=_BLIND,
                scale="log",
                least_heldout=STEPS_APART,
                in_tables=False,
            )


def _of_stages(whole: str, staged: str) -> Iterator[Metric]:
    """Of a path of stages."""
    yield Metric(
        staged,
        "minimize",
        "mean squared velocity",
        f"`{whole}` of a path of stages: the mean over its stages of the error on the same grid; {_NOTHING}, nor along stages, "
        "stage_transform, stage_noise and stage_gamma, by which each stage's velocity is another",
        needs=NetworkAlone(of="staged"),
        compute=f"{_HERE}.heldout:v_error",
        blind_to=_BLIND | {"stages", "stage_transform", "stage_noise", "stage_gamma"},
        scale="log",
        plain="how wrong the network is on images that training never saw, over all stages and their noise levels",
        judges=True,
    )


def _of_latents(whole: str, latent: str) -> Iterator[Metric]:
    """Of the flow among an autoencoder's codes."""
    yield Metric(
        latent,
        "minimize",
        "mean squared velocity",
        f"`{whole}` of codes, on the same grid of held-out images, noise and t; {_NOTHING}, nor along encoder, whose codes are "
        "others, and latent_quantise, which decodes",
        needs=NetworkAlone(of="latent"),
        compute=f"{_HERE}.heldout:v_error",
        blind_to=_BLIND | {"encoder", "latent_quantise"},
        scale="log",
        plain="how wrong the network is on codes of images that training never saw, over all noise levels",
        judges=True,
    )


def _of_levels(whole: str, karras: str) -> Iterator[Metric]:
    """Of a path of noise levels."""
    yield Metric(
        karras,
        "minimize",
        "mean squared velocity",
        f"`{whole}` of a path of noise levels, each time of the same grid at the level next to it; {_NOTHING}, nor along "
        "levels, by which those are others",
        needs=NetworkAlone(of="karras"),
        compute=f"{_HERE}.heldout:v_error",
        blind_to=_BLIND | {"levels"},
        scale="log",
        plain="how wrong the network is on images that training never saw, over many noise levels",
        judges=True,
    )


def _of_autoencoders(again: str) -> Iterator[Metric]:
    """The metrics of a network that makes images again."""
    yield Metric(
        again,
        "minimize",
        "mean squared pixel, of a range of 2",
        f"error of held-out images that an autoencoder makes again from their codes, without chance; says nothing {_SAMPLING}",
        needs=NetworkAlone(of="autoencoder"),
        compute=f"{_HERE}.reconstruction:error",
        blind_to=UNSAMPLED,
        scale="log",
        plain="how much of images that training never saw is lost in their codes",
        judges=True,
    )
    yield Metric(
        "heldout_psnr",
        "maximize",
        "dB",
        f"peak signal-to-noise ratio of the same images, the mean over them; says nothing {_SAMPLING}",
        needs=NetworkAlone(of="autoencoder"),
        compute=f"{_HERE}.reconstruction:psnr",
        blind_to=UNSAMPLED,
    )


def _of_classifiers(classes: str) -> Iterator[Metric]:
    """The metrics of a network that finds the class of a noisy image."""
    blind = UNSAMPLED | {"noise_scale"}
    yield Metric(
        classes,
        "minimize",
        "nats",
        "cross-entropy of the classes that a classifier finds on the fixed grid of held-out image, noise and t; says nothing "
        f"along noise_scale, by which the same t is noisier, {_NOR}",
        needs=NetworkAlone(of="classifier"),
        compute=f"{_HERE}.classes:cross_entropy",
        blind_to=blind,
        scale="log",
        plain="how surprised a classifier is by the classes of noisy images that training never saw",
        judges=True,
    )
    yield Metric(
        "heldout_accuracy",
        "maximize",
        "share",
        f"share of the same grid whose likeliest class is the image's; says nothing along noise_scale, {_NOR}",
        needs=NetworkAlone(of="classifier"),
        compute=f"{_HERE}.classes:accuracy",
        blind_to=blind,
    )


def _of_masked_tokens(masked: str) -> Iterator[Metric]:
    """The metric of a network that finds masked patches."""
    yield Metric(
        masked,
        "minimize",
        "mean squared noise",
        "error of the noise that the head finds in masked patches of held-out images, at fixed masks, times and noise; says "
        "nothing along patch_size and encoder, by which patches are other things, nor along temperature, head_steps and "
        f"token_limit, {_NOR}",
        needs=NetworkAlone(of="masked_tokens"),
        compute=f"{_HERE}.masked:error",
        blind_to=UNSAMPLED | {"patch_size", "encoder", "temperature", "head_steps", "token_limit"},
        scale="log",
        plain="how wrong the network is on masked patches of images that training never saw",
        judges=True,
    )


def _of_encoders(contrast: str) -> Iterator[Metric]:
    """The metric of an encoder that is pre-trained."""
    yield Metric(
        contrast,
        "minimize",
        "nats",
        "cross-entropy of finding a held-out image among 32 by the class token of another view of it, over fixed views, noise "
        f"levels and noise; says nothing along noise_scale, by which the same level is noisier, {_NOR}",
        needs=NetworkAlone(of="encoder_pretraining"),
        compute=f"{_HERE}.contrast:contrast",
        blind_to=UNSAMPLED | {"noise_scale"},
        scale="log",
        plain="how surely an encoder knows an image that training never saw by another, noisy view of it",
        judges=True,
    )
