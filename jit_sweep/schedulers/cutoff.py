"""One comparison at one gate: the arms' places, the cutoff, and who is spared whatever its place."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from jit_sweep.schedulers.race import Race, Racer, Verdict, allowance, measured_noise
from jit_sweep.schedulers.standings import Rank
from jit_sweep.spec.schedulers import Early
from trainables.evaluation.metrics.registry import metric_of


@dataclass(frozen=True)
class Cut:
    """Arms at a gate, best first, of which the first `keep` go on."""

    scheduler: Early
    race: Race
    gate: int
    order: Sequence[Rank]
    keep: int
    whole: Race
    """What the noise is measured on: the race, of which this may be a part."""

    def verdict(self, racer: Racer) -> Verdict:
        """Whether an arm goes on. A planned contrast does, and what is no further behind the last kept than luck explains."""
        place = self.place(racer)
        standing = f"place {place} of {len(self.order)} at {self._where(racer)}"
        if place <= self.keep:
            return self._verdict(racer, True, f"{standing}, {self.keep} go on")
        allowed, spared = self.allowance(racer), self.spared(racer)
        if allowed is None or spared:
            return self._verdict(racer, True, f"{standing}: {spared}")
        gap = abs(metric_of(self.scheduler.metric).loss(racer.value(self.gate)) - self.order[self.keep - 1].loss)
        if gap < allowed:
            return self._verdict(
                racer, True, f"{standing}, {gap:.4g} behind the last that goes on: luck explains {allowed:.4g}"
            )
        return self._verdict(racer, False, f"{standing}, {gap:.4g} behind the last that goes on; luck explains {allowed:.4g}")

    def place(self, racer: Racer) -> int:
        """Of an arm that has arrived, the best being 1."""
        loss = metric_of(self.scheduler.metric).loss(racer.value(self.gate))
        return bisect_left(self.order, Rank(loss, racer.position, racer.name)) + 1

    def spared(self, racer: Racer) -> str:
        """Why an arm is not stopped, however bad it is; empty where it may be."""
        if any(seed.standing == "ended" for seed in racer.seeds):
            return "a seed of it has its score, and all its seeds go on or none"
        if racer.protected:
            return "part of a planned contrast, which is never stopped early"
        return "" if self.allowance(racer) is not None else "the spread over seeds is not known, so that nothing is stopped"

    def allowance(self, racer: Racer) -> float | None:
        """The gap that luck explains between means of as many seeds as an arm has here; None where the noise is neither
        declared nor measured."""
        spread = self.scheduler.s_train
        if spread is None:
            spread = measured_noise(self.whole, self.gate)
        if spread is None:
            return None
        seeds = max(1, len(racer.values(self.gate)))
        return allowance(s_train=spread, s_eval=self.scheduler.s_eval, seeds=seeds, z=self.scheduler.luck)

    def _where(self, racer: Racer) -> str:
        within = f" of {self.race.label}" if self.race.label else ""
        return f"{racer.gates[self.gate]} images{within}"

    def _verdict(self, racer: Racer, go_on: bool, reason: str) -> Verdict:
        return Verdict(racer.name, self.gate, go_on, reason)


def cut(scheduler: Early, race: Race, gate: int, *, reduction: int, whole: Race | None = None) -> Cut:
    """The arms that have arrived at a gate, of which a share of 1 / reduction goes on, and at least one."""
    order = best_first(race, gate, metric=scheduler.metric)
    return Cut(scheduler, race, gate, order, keep=max(1, len(order) // reduction), whole=whole or race)


def best_first(race: Race, gate: int, *, metric: str) -> Sequence[Rank]:
    """The arms that have arrived at a gate, by their mean; equals as planned."""
    return race.standings.ranks(gate, metric)


def awaiting(race: Race, gate: int) -> Sequence[Racer]:
    """The arms that stand at a gate without a verdict, as planned."""
    return race.standings.awaiting(gate)


def all_here(race: Race, gate: int) -> bool:
    """Whether nothing can still arrive at a gate."""
    return not race.more_to_come and not race.standings.is_coming(gate)
