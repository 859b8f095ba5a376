"""The next setting of sampling to try: first among the listed values, then between those that lie around the best."""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from trainables.config.tuning import BETWEEN

Setting = Mapping[str, Any]
"""Values of an evaluation's keys."""
COARSE_SHARE = 2 / 3
"""Of the trials, where a finer search follows."""
_STARTUP, _ASKED_AGAIN, _DIGITS = 8, 16, 3


class Tried(NamedTuple):
    """A setting and how it did."""

    setting: Setting
    loss: float | None
    """Lower is better; None where its images were no numbers, or hardly differed."""


def next_setting(listed: Mapping[str, Sequence[Any]], tried: Sequence[Tried], *, trials: int) -> Setting | None:
    """What to try next, by what was tried alone, so that a search that was cut short goes on as it would have.

    listed: the values of each key, the evaluation's own first. None: nothing is left to try.
    """
    finer = any(len(listed.get(key, ())) > 1 for key in BETWEEN)
    coarse = math.ceil(trials * COARSE_SHARE) if finer else trials
    if len(tried) >= trials:
        return None
    if len(tried) < coarse and (setting := _coarse(listed, tried, most=coarse)) is not None:
        return setting
    return _fine(listed, tried) if finer else None


def _coarse(listed: Mapping[str, Sequence[Any]], tried: Sequence[Tried], *, most: int) -> Setting | None:
    """A setting of listed values: each of them in turn where there is room for all, else as TPE proposes."""
    known = [dict(each.setting) for each in tried]
    left = [setting for setting in _all(listed) if setting not in known]
    if not left or math.prod(map(len, listed.values())) <= most or not known:
        return left[0] if left else None
    spaces = {key: CategoricalDistribution(range(len(values))) for key, values in listed.items()}
    places = [{key: list(listed[key]).index(each.setting[key]) for key in listed} for each in tried]
    for asked in range(_ASKED_AGAIN):
        found = _asked(spaces, places, tried, seed=len(tried) + 1000 * asked, startup=_STARTUP)
        setting = {key: listed[key][found[key]] for key in listed}
        if setting not in known:
            return setting
    return left[0]


def _fine(listed: Mapping[str, Sequence[Any]], tried: Sequence[Tried]) -> Setting | None:
    """A setting like the best of the listed ones, with what may lie between them anywhere among its neighbours."""
    scored = [each for each in tried if each.loss is not None and _is_listed(each.setting, listed)]
    if not scored:
        return None
    best = dict(min(scored, key=lambda each: (each.loss is None, each.loss)).setting)
    ranges = {key: _around(best[key], listed[key]) for key in BETWEEN if len(listed.get(key, ())) > 1}
    near = [each for each in tried if _is_near(each.setting, best, ranges)]
    spaces = {key: FloatDistribution(low, high) for key, (low, high) in ranges.items()}
    places = [{key: each.setting[key] for key in ranges} for each in near]
    for asked in range(_ASKED_AGAIN):
        found = _asked(spaces, places, near, seed=len(tried) + 1000 * asked, startup=2)
        setting = {**best, **{key: float(f"{value:.{_DIGITS}g}") for key, value in found.items()}}
        if setting not in [dict(each.setting) for each in tried]:
            return setting
    return None


def _all(listed: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(listed, values, strict=True)) for values in product(*listed.values())]


def _is_listed(setting: Setting, listed: Mapping[str, Sequence[Any]]) -> bool:
    return all(setting[key] in values for key, values in listed.items())


def _around(value: float, listed: Sequence[float]) -> tuple[float, float]:
    """From the listed value before one to that after it."""
    ordered = sorted(listed)
    place = ordered.index(value)
    return ordered[max(0, place - 1)], ordered[min(len(ordered) - 1, place + 1)]


def _is_near(setting: Setting, best: Setting, ranges: Mapping[str, tuple[float, float]]) -> bool:
    within = all(low <= setting[key] <= high for key, (low, high) in ranges.items())
    return within and all(setting[key] == value for key, value in best.items() if key not in ranges)


def _asked(
    spaces: Mapping[str, Any], places: Sequence[Mapping[str, Any]], tried: Sequence[Tried], *, seed: int, startup: int
) -> dict[str, Any]:
    """What TPE proposes after these trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup))
    for place, each in zip(places, tried, strict=True):
        state = TrialState.FAIL if each.loss is None else TrialState.COMPLETE
        study.add_trial(create_trial(state=state, value=each.loss, params=dict(place), distributions=dict(spaces)))
    return study.ask(dict(spaces)).params
