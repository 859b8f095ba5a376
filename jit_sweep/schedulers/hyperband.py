"""Hyperband: successive halving in brackets that begin to decide at different rungs (JMLR 18:185)."""

from collections.abc import Sequence
from typing import NamedTuple

from jit_sweep.schedulers.halving import halving
from jit_sweep.schedulers.race import Race, Racer, Verdict
from jit_sweep.spec.schedulers import Hyperband


class Bracket(NamedTuple):
    """A run of successive halving within Hyperband."""

    arms: int
    first_gate: int
    """The gate at which it begins to decide."""


def hyperband(scheduler: Hyperband, race: Race) -> list[Verdict]:
    """Verdicts that are due: halving within each bracket, which begins to decide at its own gate."""
    layout = brackets(race.gate_count, reduction=scheduler.reduction)
    members: dict[Bracket, list[Racer]] = {}
    planned = sorted(race.racers, key=lambda racer: racer.position)
    for racer, bracket in zip(planned, dealt(len(planned), layout), strict=True):
        members.setdefault(bracket, []).append(racer)
    verdicts: list[Verdict] = []
    for bracket, racers in members.items():
        verdicts += [
            _passes(racer, gate, bracket) for racer in racers for gate in range(bracket.first_gate) if racer.awaited == gate
        ]
        # Synchronous verdicts must not depend on what has arrived in other brackets by then.
        whole = race if scheduler.mode == "asynchronous" else None
        due = halving(scheduler, race.among(racers), whole=whole)
        verdicts += [verdict for verdict in due if verdict.gate >= bracket.first_gate]
    return verdicts


def brackets(gates: int, *, reduction: int) -> list[Bracket]:
    """Hyperband's brackets for a ladder of this many gates, the most eager first (JMLR 18:185, algorithm 1 and table 1)."""
    return [
        Bracket(arms=-(-(gates + 1) * reduction**s // (s + 1)), first_gate=gates - s)  # ceil((s_max + 1) / (s + 1) eta^s)
        for s in range(gates, -1, -1)
    ]


def dealt(arms: int, layout: Sequence[Bracket]) -> list[Bracket]:
    """The bracket of each arm, in the order of the plan: dealt so that at any point the brackets are filled in proportion."""
    total = sum(bracket.arms for bracket in layout)
    given = dict.fromkeys(layout, 0)
    hands = []
    for place in range(1, arms + 1):
        # In whole numbers: the bracket that is furthest behind its share of the arms so far.
        bracket = max(layout, key=lambda bracket: bracket.arms * place - given[bracket] * total)
        given[bracket] += 1
        hands.append(bracket)
    return hands


def _passes(racer: Racer, gate: int, bracket: Bracket) -> Verdict:
    begins = f"at gate {bracket.first_gate + 1}" if bracket.first_gate < len(racer.gates) else "nowhere"
    return Verdict(racer.name, gate, True, f"its bracket begins to decide {begins}")
