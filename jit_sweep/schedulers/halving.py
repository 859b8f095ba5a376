"""Successive halving: stopping at once, by the whole cohort, and with pause and promotion."""

from jit_sweep.schedulers.cutoff import all_here, awaiting, cut
from jit_sweep.schedulers.race import Race, Verdict
from jit_sweep.spec.schedulers import Halving, Hyperband, PauseAndPromote


def halving(scheduler: Halving | Hyperband, race: Race, *, whole: Race | None = None) -> list[Verdict]:
    """Verdicts that are due: on each arm as it arrives, or on all that reach a gate once nothing more can. The noise is that
    of the `whole` race, of which this one may be a bracket."""
    verdicts: list[Verdict] = []
    for gate in range(race.gate_count):
        if (arms := awaiting(race, gate)) and (scheduler.mode == "asynchronous" or all_here(race, gate)):
            cutoff = cut(scheduler, race, gate, reduction=scheduler.reduction, whole=whole)
            verdicts += [cutoff.verdict(racer) for racer in arms]
    return verdicts


def promotion(scheduler: PauseAndPromote, race: Race) -> list[Verdict]:
    """Verdicts that are due: the best share of each gate goes on, from the highest gate down; the others wait to be promoted
    once more arms have come. What waits when nothing more can come is judged by the whole of its gate."""
    verdicts: list[Verdict] = []
    for gate in reversed(range(race.gate_count)):
        if (arms := awaiting(race, gate)) and not all_here(race, gate):
            cutoff = cut(scheduler, race, gate, reduction=scheduler.reduction)
            best = len(cutoff.order) // scheduler.reduction
            arms = [racer for racer in arms if racer.protected or cutoff.place(racer) <= best]
        if arms:
            cutoff = cut(scheduler, race, gate, reduction=scheduler.reduction)
            verdicts += [cutoff.verdict(racer) for racer in arms]
    return verdicts
