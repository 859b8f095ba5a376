"""A registered model in words: how good it is and how sure that is, how it was chosen, and where it comes from. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from jit_sweep.commands import shell_line
from jit_sweep.models.model_folder import CONFIG, ModelFolderConfig
from trainables.config.features import extractor_name
from trainables.config.fields import counted
from trainables.config.method import AutoencoderMethod, EncoderPretrainingMethod, MaskedTokensMethod
from trainables.config.trial import TrialConfig
from trainables.networks.cost import parameter_count

Facts = Mapping[str, Any]


def model_card(name: str, config: ModelFolderConfig, scores: Facts, lineage: Facts) -> str:
    """The page of a version, as Markdown."""
    parts = (
        _score(scores),
        _chosen(scores),
        _gates(scores),
        _training(config, scores),
        _evaluation(config, scores),
        _lineage(lineage),
        [_use(name)],
    )
    return "\n\n".join(line for part in parts for line in part) + "\n"


def _score(scores: Facts) -> Iterator[str]:
    """Without a heading or marks: tables of versions show the first line of their pages as it is."""
    objective, fresh, real = scores["objective"], scores["fresh"], (scores["heldout"] or {}).get(scores["objective"])
    if fresh is None:
        yield f"{objective} {scores['values'][objective]:.5g}, of one training: nobody knows how sure that is."
    else:
        low, high = fresh["interval"]
        least, most = fresh["rerun"]
        yield (
            f"{objective} {fresh['mean']:.5g}, 95 % interval {low:.5g} to {high:.5g}: the mean of "
            f"{len(fresh['by_seed'])} trainings with fresh seeds, by whose scores nothing was chosen. One more training lands "
            f"between {least:.5g} and {most:.5g} in 95 of 100 cases. These weights are the seed in the middle, with "
            f"{scores['values'][objective]:.5g}."
        )
    if real is not None:
        yield f"Real held-out images score {real:.5g}."


def _chosen(scores: Facts) -> Iterator[str]:
    chosen, there = scores["chosen"], scores["chosen"]["score_there"]
    yield "## How it was chosen"
    told = f"It is {chosen['why']}."
    if there:
        told += f" There it had {scores['objective']} {there['mean']:.5g} over {counted(there['n'], 'seed')}"
        bias = chosen["too_good_by"]
        told += f", which the choice alone makes about {bias:.2g} too good." if bias is not None else "."
    yield told
    if scores["against_champion"]:
        against = scores["against_champion"]
        yield f"Against the champion before it: {against['line'].removeprefix(against['question'] + ': ')}."
    if scores["forced"]:
        yield f"**It was made the champion by hand**, though gates fail: {scores['forced']}."


def _gates(scores: Facts) -> Iterator[str]:
    rows = [f"| {gate['name']} | {_standing(gate)} | {gate['words']} |" for gate in scores["gates"]]
    if rows:
        yield "## What it had to show"
        yield "\n".join(["| gate | | what was found |", "|---|---|---|", *rows])


def _standing(gate: Facts) -> str:
    if not gate.get("known", True):
        return "not known"
    return "holds" if gate["holds"] else "**fails**"


def _training(config: ModelFolderConfig, scores: Facts) -> Iterator[str]:
    trial = config.trial
    data, optimiser = trial.data, trial.optimiser
    yield "## How it was trained"
    yield "\n".join(
        [
            f"- network: {_network(trial)}",
            f"- images of {data.image_size} px, {data.num_classes} labels{', flipped' if data.flip else ''}",
            f"- method: {_method(trial)}",
            f"- optimiser: {optimiser.method}, learning rate {optimiser.learning_rate:g}, {scores['images']:,} images at batch "
            f"{trial.batch_size}, {trial.precision} on {trial.device}",
            f"- all of it: `{CONFIG}` beside the weights",
        ]
    )


def _network(trial: TrialConfig) -> str:
    """Its sizes, where the transformer's are its own."""
    model = trial.model
    if not model.sees_patches:
        return f"trunk {model.trunk.kind}, {counted(parameter_count(trial), 'parameter')}"
    return f"patch {model.patch_size}, width {model.width}, depth {model.depth}, {counted(model.heads, 'head')}"


def _method(trial: TrialConfig) -> str:
    """What the network was trained for."""
    method, diffusion = trial.method, trial.diffusion
    if isinstance(method, AutoencoderMethod):
        taught = "".join(f", {term.kind} term by {term.weight:g}" for term in method.taught)
        return f"autoencoder, absolute error by {method.absolute:g} and squared error by {method.squared:g}{taught}"
    if isinstance(method, MaskedTokensMethod):
        return f"masked tokens, at least {method.mask_least:g} of an image's, each seen {method.head_repeats} times by its head"
    if isinstance(method, EncoderPretrainingMethod):
        return f"encoder, pre-trained to tell {method.group} images apart, noise scale {diffusion.noise_scale:g}"
    drawn = f"t {diffusion.t_sampling.kind}, noise scale {diffusion.noise_scale:g}"
    if not trial.draws:
        return f"classifier of noisy images, {drawn}"
    return f"{diffusion.prediction}-prediction with a loss on {diffusion.loss}, {drawn}"


def _evaluation(config: ModelFolderConfig, scores: Facts) -> Iterator[str]:
    evaluation = config.evaluation
    low, high = evaluation.interval
    of = f" of the first {counted(first, 'channel')}" if (first := evaluation.guidance_channels) else ""
    kinds = [f"guidance {evaluation.guidance:g}{of}"] if evaluation.guidance != 1 else []
    kinds += [f"classifier {guide.trial} by {evaluation.classifier_scale:g}"] if (guide := evaluation.guide) else []
    guided = f"{' and '.join(kinds)} for t of {low:g} to {high:g}" if kinds else "no guidance"
    yield "## How it was scored"
    yield "\n".join(
        [
            f"- {scores['n']:,} generated images of weights `{evaluation.weights}`, from noise of seed {evaluation.seed}, "
            f"labels `{evaluation.labels}`",
            f"- sampler {evaluation.sampler}, {counted(evaluation.steps, 'step')}, {guided}, clamp {evaluation.t_eps_sample:g}",
            f"- features of `{extractor_name(evaluation.features)}`",
        ]
    )


def _lineage(lineage: Facts) -> Iterator[str]:
    licence = lineage["data_licence"] or "not given in the sweep file"
    commit = lineage["code"].get("git_commit")
    at = f", commit `{commit[:12]}`" if commit else ""
    yield "## Where it comes from"
    yield "\n".join(
        [
            f"- sweep `{lineage['sweep']}`, trial `{lineage['trial']}`, seed {lineage['seed']}",
            f"- chosen in the sweep `{lineage['chosen_in']}`",
            f"- images: `{lineage['data_address']}`, digest `{lineage['data']}`; licence: {licence}",
            f"- code `{lineage['code_version']}`{at}, maths version {lineage['maths_version']}",
            f"- checkpoint `{lineage['checkpoint']}`",
        ]
    )


def _use(name: str) -> str:
    folder = f"{name}/"
    export = shell_line("jit-sweep", "export", name, folder)
    pipeline = shell_line("jit-sweep", "export-diffusers", folder, f"{name}-diffusers/")
    loads = f"`{export}`, then `jit_sweep.load_network(Path({name!r}))`"
    return f"## How to use it\n\n{loads}; `{pipeline}` makes a pipeline of it that diffusers loads."
