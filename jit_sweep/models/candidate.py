"""Which configuration of a sweep is to become a champion, and why it is this one. Pure, from a sweep's results."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.results.arms import Arm, TrialResult, by_arm
from jit_sweep.results.comparable import learned_nothing
from jit_sweep.results.leaderboard import NoBestArm, Results, best_arm, marks_of
from jit_sweep.results.naming import full_id
from jit_sweep.statistics.selection import best_of_normals
from search_spaces.axis import AxisValue


@dataclass(frozen=True)
class Candidate:
    """The trials of one configuration, of a grid or of a search, and why it is this one."""

    sweep: str
    arm: Arm
    reason: str
    unfinished: int = 0
    """Trials of its sweep that had not ended when it was chosen."""
    too_good: float | None = None
    """By how much the best of as many equal arms looks better than it is; None where that is not known."""

    @property
    def trial(self) -> TrialResult:
        """One of its trials: all agree in everything but the seed."""
        return self.arm.trials[0]

    @property
    def values(self) -> Mapping[str, AxisValue]:
        """What differs from the sweep's baseline: of a proposal also the cell that it changes."""
        return {**self.trial.entry.base, **self.arm.arm}


def candidate_of(results: Results, *, trial: str | None = None) -> Candidate:
    """The best configuration that may win, or that of the trial with this id or these first digits of one.

    UserError: none may win, or there is no such trial.
    """
    arms = [*results.arms, *searched_arms(results)]
    if trial is not None:
        return _named(results, arms, trial)
    rivals = [arm for arm in arms if not learned_nothing(arm, marks_of(results.heldout))]
    if arms and not rivals:
        rule = f"a champion must show more than blank images do, and no configuration of {results.sweep} does"
        raise NoBestArm(f"{rule}; train longer, or name a trial with --trial")
    best = best_arm(rivals, objective=results.objective, least_seeds=1)
    all_of = f"the best of {len(rivals):,} configurations" if len(rivals) > 1 else "the only configuration that may win"
    reason = f"{all_of} of {results.sweep}"
    return Candidate(results.sweep, best, reason, _unfinished(results), _too_good(results.objective, rivals, best))


def searched_arms(results: Results) -> list[Arm]:
    """The trials of each proposal, which differ in their seed only."""
    return [Arm(of[0].entry.stage, of[0].entry.arm, of[0].entry.images, tuple(of)) for of in by_arm(results.searched)]


def _named(results: Results, arms: Sequence[Arm], trial: str) -> Candidate:
    known = {result.entry.trial_id: arm for arm in arms for result in arm.trials}
    full = full_id(trial, known, option="--trial")
    return Candidate(results.sweep, known[full], f"the configuration of trial {full}, chosen by name", _unfinished(results))


def _unfinished(results: Results) -> int:
    """Trials that may get a score yet."""
    return sum(arm.unfinished for arm in results.arms) + sum(trial.unfinished for trial in results.searched)


def _too_good(objective: str, rivals: Sequence[Arm], best: Arm) -> float | None:
    """The bias of the best of equal arms: the mean largest of as many normal means, in the spread of the arm's seeds."""
    scored = sum(objective in rival.metrics and not rival.collapsed for rival in rivals)
    spread = best.metrics[objective]
    if spread.sd is None or scored < 2:
        return None
    return best_of_normals(scored) * spread.sd / math.sqrt(spread.n)
