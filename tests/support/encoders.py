"""Encoders that are pre-trained on small images."""

from typing import Any

from tests.support.trials import small_model, small_trial
from trainables.config.trial import TrialConfig
from trainables.evaluation.metrics.registry import RUNG_METRICS

OWN = RUNG_METRICS["encoder_pretraining"]
SIZES: dict[str, Any] = {"class_tokens": 0, "position": "none", "rope": False}
"""Of the model, what an encoder of EPG's has none of."""


def pretraining(
    trunk: dict[str, Any] | None = None,
    *,
    method: dict[str, Any] | None = None,
    model: dict[str, Any] | None = None,
    **changes: Any,
) -> TrialConfig:
    """A small one, that tells two images apart, with some keys changed."""
    small: dict[str, Any] = {"kind": "encoder_pretrainer", "projector_width": 32, "projected_width": 8}
    sized = small_model(**{**SIZES, "depth": 2, **(model or {})}, trunk={**small, **(trunk or {})})
    told: dict[str, Any] = {"kind": "encoder_pretraining", "group": 2, "doubling_images": 64}
    return small_trial(sized, method={**told, **(method or {})}, **changes)
