"""Successive halving: stopping at once, by the whole cohort, with pause and promotion, and in Hyperband's brackets."""

from jit_sweep.scheduler_spec import Halving, Hyperband, Promotion
from jit_sweep.schedulers.cutoff import all_here, awaiting, cut
from jit_sweep.schedulers.ladder import Bracket, brackets, dealt
from jit_sweep.schedulers.race import Race, Racer, Verdict


def halving(scheduler: Halving | Hyperband, race: Race, *, whole: Race | None = None) -> list[Verdict]:
    """Verdicts that are due: on each arm as it arrives, or on all that reach a gate once nothing more can. The noise is that
    of the `whole` race, of which this one may be a bracket."""
    verdicts: list[Verdict] = []
    for gate in range(race.gates):
        here = cut(scheduler, race, gate, reduction=scheduler.reduction, whole=whole)
        if scheduler.mode == "asynchronous" or all_here(race, gate):
            verdicts += [here.verdict(racer) for racer in awaiting(race, gate)]
    return verdicts


def promotion(scheduler: Promotion, race: Race) -> list[Verdict]:
    """Verdicts that are due: the best share of each gate goes on, from the highest gate down; the others wait to be promoted
    once more arms have come. What waits when nothing more can come is judged by the whole of its gate."""
    verdicts: list[Verdict] = []
    for gate in reversed(range(race.gates)):
        here = cut(scheduler, race, gate, reduction=scheduler.reduction)
        promoted = here.order[: len(here.order) // scheduler.reduction]
        whole = all_here(race, gate)
        for racer in awaiting(race, gate):
            if whole or racer in promoted or racer.protected:
                verdicts.append(here.verdict(racer))
    return verdicts


def hyperband(scheduler: Hyperband, race: Race) -> list[Verdict]:
    """Verdicts that are due: halving within each bracket, which begins to decide at its own gate."""
    layout = brackets(race.gates, reduction=scheduler.reduction)
    members: dict[Bracket, list[Racer]] = {}
    planned = sorted(race.racers, key=lambda racer: racer.position)
    for racer, bracket in zip(planned, dealt(len(planned), layout), strict=True):
        members.setdefault(bracket, []).append(racer)
    verdicts: list[Verdict] = []
    for bracket, racers in members.items():
        verdicts += [
            _passes(racer, gate, bracket) for racer in racers for gate in range(bracket.first_gate) if racer.awaits(gate)
        ]
        # Synchronous verdicts must not depend on what has arrived in other brackets by then.
        whole = race if scheduler.mode == "asynchronous" else None
        due = halving(scheduler, race.among(racers), whole=whole)
        verdicts += [verdict for verdict in due if verdict.gate >= bracket.first_gate]
    return verdicts


def _passes(racer: Racer, gate: int, bracket: Bracket) -> Verdict:
    begins = f"at gate {bracket.first_gate + 1}" if bracket.first_gate < len(racer.gates) else "nowhere"
    return Verdict(racer.name, gate, True, f"its bracket begins to decide {begins}")
