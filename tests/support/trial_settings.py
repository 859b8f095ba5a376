"""Every setting of a trial with another value, for tests that claim something of each."""

from typing import Any

from pydantic import BaseModel

from tests.support.trials import small_model, small_trial
from trainables.config.trial import TrialConfig

OTHERS: dict[str, Any] = {
    "model.patch_size": 8,
    "model.width": 32,
    "model.depth": 3,
    "model.heads": 4,
    "model.embedding": {"kind": "linear"},
    "model.norm": "layer",
    "model.mlp": "gelu",
    "model.mlp_ratio": 2.0,
    "model.rope": False,
    "model.qk_norm": False,
    "model.position": "none",
    "model.class_tokens": 3,
    "model.class_tokens_start": 0,
    "model.attn_dropout": 0.5,
    "model.proj_dropout": 0.5,
    "model.output_skip": "linear",
    "model.routing": {"kind": "skip"},
    "model.head": {"kind": "neural_field"},
    "model.bias": False,
    "model.qk_norm_kind": "layer",
    "model.rope_kind": "alternating",
    "model.time_period": 10.0,
    "model.adaln_start": "torch",
    "model.adaln_shift": False,
    "model.normalise_input": True,
    "model.size_embedding": True,
    "model.time_kind": "clock",
    "model.mlp_norm": "layer",
    "model.block_start": "torch",
    "model.trunk": {"kind": "unet", "width": 32},
    "model.final_norm": "layer",
    "method": {"kind": "autoencoder", "squared": 0.0},
    "space": {
        "kind": "latent",
        "encoder": {"kind": "trial", "trial": "0" * 12, "images": 8},
        "trunk": {"kind": "autoencoder", "multipliers": (1, 1)},
    },
    "diffusion.prediction": "v",
    "diffusion.loss": "x",
    "diffusion.t_sampling": {"kind": "uniform"},
    "diffusion.t_eps_train": 0.2,
    "diffusion.noise_scale": 2.0,
    "diffusion.label_drop": 0.5,
    "diffusion.terms": [{"kind": "cosine"}],
    "diffusion.dimensions": 64,
    "diffusion.weighting": {"kind": "sigmoid"},
    "diffusion.path": {"kind": "staged", "stages": 2},
    "optimiser": {"learning_rate": 1e-3, "grad_clip": 1.0, "schedule": {"kind": "cosine", "total_images": 64}},
    "ema": [],
    "batch_size": 8,
    "precision": "bf16",
    "attention": "fp32",
    "residual": "bf16",
    "kernels": "triton",
    "compile": False,
    "graphs": True,
    "gradient_sum": "bf16",
    "parent": {"trial": "0" * 12, "images": 8},
    "data.digest": "another",
    "data.image_size": 32,
    "data.channels": 1,
    "data.num_classes": 3,
    "data.flip": False,
    "seed": 1,
    "device": "cuda",
}
"""By dotted name; a whole union where its kind is one setting of several."""


NEEDS: dict[str, dict[str, Any]] = {
    "residual": {"precision": "bf16"},
    "kernels": {"device": "cuda", "compile": False},
    "graphs": {"device": "cuda"},
    "method": {"method": {"kind": "autoencoder"}, "trunk": {"kind": "autoencoder", "multipliers": (1, 1)}},
}
"""What a trial must have for a setting's other value to be allowed."""


def base_trial(name: str = "") -> TrialConfig:
    """A tiny compiled trial that each of `OTHERS` changes, with what the setting of this name needs."""
    sizes = {"width": 16, "depth": 4, "heads": 2, "class_tokens": 2, "class_tokens_start": 1}
    needs = {"compile": True, **NEEDS.get(name, {})}
    of_model = {"trunk": needs.pop("trunk")} if "trunk" in needs else {}
    return small_trial(small_model(**sizes, **of_model), **needs)


def changed(name: str) -> TrialConfig:
    """The base with one setting at its other value."""
    *above, last = name.split(".")
    tree = base_trial(name).model_dump()
    branch = tree
    for part in above:
        branch = branch[part]
    branch[last] = OTHERS[name]
    return TrialConfig.model_validate(tree)


def settings(config: BaseModel, *, prefix: str = "") -> set[str]:
    """Dotted names of a configuration's settings; what is a union or a list of variants is one setting."""
    names: set[str] = set()
    for name in type(config).model_fields:
        value = getattr(config, name)
        inside = isinstance(value, BaseModel) and "kind" not in type(value).model_fields and name != "optimiser"
        names |= settings(value, prefix=f"{prefix}{name}.") if inside else {f"{prefix}{name}"}
    return names
