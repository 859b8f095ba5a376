"""Which trial of a sweep is promoted, and why it is this one. Pure, from a sweep's results."""

import math
from dataclasses import dataclass

from jit_sweep.errors import UserError
from jit_sweep.ledger.records import EntryState
from jit_sweep.results.arms import Arm, TrialResult
from jit_sweep.results.leaderboard import Results, best_arm, median_seed
from jit_sweep.results.naming import full_id
from jit_sweep.results.words import state_in_words
from jit_sweep.statistics.selection import best_of_normals


@dataclass(frozen=True)
class Wish:
    """What somebody who promotes has asked for."""

    trial: str | None = None
    """A trial's id or its first digits; None: the median seed of the best arm."""
    reason: str = ""
    """Why this trial, in words; a trial that collapsed needs one."""
    now: bool = False
    """Choose among the arms that have ended, though others have not."""


@dataclass(frozen=True)
class Chosen:
    """A trial to be registered, and why it is this one."""

    result: TrialResult
    arm: Arm | None
    """The trials that differ from it in their seed only; None of a searched trial."""
    reason: str
    too_good: float | None = None
    """By how much the best of as many equal arms looks better than it is; None where it was not chosen as the best."""

    @property
    def unreplicated(self) -> bool:
        """Whether it has no arm, or one that is (`Arm.unreplicated`)."""
        return self.arm is None or self.arm.unreplicated


def choose(results: Results, wish: Wish) -> Chosen:
    """The trial to register. UserError: none can be chosen, or the one that is wished for cannot be registered."""
    return _best(results, now=wish.now) if wish.trial is None else _named(results, wish.trial, reason=wish.reason)


def _best(results: Results, *, now: bool) -> Chosen:
    """The median seed of the best arm."""
    unfinished = _unfinished(results)
    if unfinished and not now:
        rule = f"the best arm is chosen when every trial has ended, and {unfinished} of {results.sweep} have not"
        beyond = _beyond_budget(results)
        larger = f" with a larger budget, since its own does not hold {beyond} of them" if beyond else ""
        raise UserError(f"{rule}; run the sweep to its end{larger}, or choose among those that have with --now")
    arm = best_arm(results.arms, objective=results.objective)
    early = f", while {unfinished} trials had not ended" if unfinished else ""
    reason = f"the median of {arm.scored} seeds of the best arm{early}"
    return Chosen(median_seed(arm, objective=results.objective), arm, reason, _too_good(results, arm))


def _too_good(results: Results, arm: Arm) -> float | None:
    """The bias of the best of equal arms: the mean largest of as many normal means, in the spread of the arm's seeds."""
    rivals = sum(results.objective in rival.metrics and not rival.collapsed for rival in results.arms)
    spread = arm.metrics[results.objective]
    if spread.sd is None or rivals < 2:
        return None
    return best_of_normals(rivals) * spread.sd / math.sqrt(spread.n)


def _named(results: Results, trial: str, *, reason: str) -> Chosen:
    owned: list[tuple[TrialResult, Arm | None]] = [(result, arm) for arm in results.arms for result in arm.trials]
    owned += [(result, None) for result in results.searched]
    full = full_id(trial, [result.entry.trial_id for result, _ in owned], option="--trial")
    named = [(result, arm) for result, arm in owned if result.entry.trial_id == full]
    scored = [(result, arm) for result, arm in named if result.value(results.objective) is not None]
    if not scored:
        raise UserError(_without_score(named[0][0], results.objective))
    picked, siblings = scored[0]
    if picked.collapsed and not reason:
        raise UserError(_collapsed(picked))
    return Chosen(picked, siblings, f"chosen by name{f': {reason}' if reason else ''}")


def _unfinished(results: Results) -> int:
    """Trials that may get a score yet."""
    return sum(arm.unfinished for arm in results.arms) + sum(trial.unfinished for trial in results.searched)


def _beyond_budget(results: Results) -> int:
    searched = sum(trial.unfinished and trial.entry.state is EntryState.OUT_OF_BUDGET for trial in results.searched)
    return sum(arm.out_of_budget for arm in results.arms) + searched


def _collapsed(result: TrialResult) -> str:
    rule = f"a champion must predict images better than the mean image does, and trial {result.entry.trial_id} collapsed"
    return f"{rule}: its score is an accident; choose another, or say why it is wanted with --reason"


def _without_score(result: TrialResult, objective: str) -> str:
    entry = result.entry
    rule = f"a champion must have {objective}, and trial {entry.trial_id} has none"
    if entry.state is EntryState.DIVERGED:
        return f"{rule}: it diverged ({entry.detail}); choose another"
    return f"{rule}: it is {state_in_words(entry.state)}; run the sweep to its end, or choose another"
