"""The classifiers that guide samples, from their checkpoints."""

import torch
from pydantic import ValidationError

from trainables.config.average import part_of
from trainables.config.evaluation import EvaluationConfig, GuidingClassifier
from trainables.config.evaluation_rules import check_guide
from trainables.config.trial import TrialConfig
from trainables.networks.cost import forward_flops
from trainables.networks.network import Network, of_model
from trainables.networks.registry import blank_model
from trainables.process_caches import ProcessCache
from trainables.storage.checkpoint import CheckpointError, Store

TRIAL = "trial"
"""Under which a checkpoint's state holds its trial."""

_guides: ProcessCache[tuple[str, str, int, str], Network] = ProcessCache("guiding classifiers", most=2)
"""By storage, trial, image count and device."""


def guide_of(
    evaluation: EvaluationConfig, trial: TrialConfig, *, storage: str | None, device: torch.device | str
) -> Network | None:
    """What guides an evaluation's samples of a trial, ready on a device; None where nothing does.

    ValueError: it has no whole checkpoint in the storage, or cannot guide this trial. OSError: the storage fails.
    """
    named = evaluation.guide
    if named is None:
        return None
    if storage is None:
        raise ValueError(f"a `classifier` must lie in a storage, got none for {named.trial}; give its folder or URI")
    network = _guides.get((storage, named.trial, named.images, str(device)), make=lambda: _read(named, storage).to(device))
    check_guide(trial, network.trial)
    return network


def guiding_flops(guide: TrialConfig) -> int:
    """Floating-point operations of one push: a forward pass, and one back to the image that leaves the weights alone."""
    return 2 * forward_flops(guide)


def _read(named: GuidingClassifier, storage: str) -> Network:
    store = Store(storage)
    commit = store.latest(named.trial, most_images=named.images)
    if commit is None or commit.images != named.images:
        rule = f"`classifier` must have a checkpoint at {named.images} images in the storage {storage}"
        got = f"{commit.images} images" if commit else "none"
        raise ValueError(f"{rule}, got {got} of {named.trial}; train it there first")
    try:
        checkpoint = store.read(commit)
        trial = TrialConfig.model_validate(checkpoint.state.get(TRIAL))
    except (CheckpointError, ValidationError) as error:
        raise ValueError(f"the checkpoint of `classifier` {named.trial} must be whole: {error}; train it again") from error
    weights = checkpoint.tensors[part_of(trial.rung_weights)]
    with torch.inference_mode(False):
        network = blank_model(trial).eval().requires_grad_(False)
        network.load_state_dict(of_model(weights))
    return network
