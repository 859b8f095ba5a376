"""Whether a trial has collapsed: its scores stand, and nothing is chosen by them."""

from collections.abc import Mapping

from trainables.evaluation.metrics.registry import PIXEL_METRIC, RUNG_METRICS

LEAST_DIVERSITY = 0.1
"""Of the held-out images' own. Noise reaches 0.09 on the packaged images, one repeated image 0; blurred ones have 0.4 to 0.8,
and a sound trial's first pictures, after 100 updates, 0.4."""
_DIVERSITY = "diversity"


def has_collapsed(values: Mapping[str, float], *, mean_image_error: float) -> bool:
    """Whether scores by metric name are those of a collapsed trial: its held-out error in pixels is no better than that of a
    model which answers the mean image, or its images hardly differ from one another."""
    diversity = [value for name, value in values.items() if name.partition("_")[0] == _DIVERSITY]
    error = next(values[name] for name in (PIXEL_METRIC, *RUNG_METRICS.values()) if name in values)
    return error >= mean_image_error or min(diversity, default=1.0) < LEAST_DIVERSITY
