"""The races of a sweep, made of what the ledger has on its entries, and the states that follow from verdicts. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jit_sweep.ledger.records import EntryState
from jit_sweep.schedulers.race import Race, Racer, Seed, Standing, Verdict

_URGENCY: tuple[Standing, ...] = ("coming", "ended", "lost")
_MOVING = frozenset({EntryState.WAITING, EntryState.HELD, EntryState.PRUNED})
"""States that a verdict to go on, or the lack of one, may change."""
Values = Mapping[tuple[str, int], float]
"""Rung values of one metric by trial id and image count."""
Arm = tuple[str, str]
"""Race and racer."""
Verdicts = Mapping[Arm, Mapping[int, Verdict]]
"""Recorded verdicts by race and racer, then by gate."""


class Member(NamedTuple):
    """What a race needs to know of one of its entries."""

    race: str
    racer: str
    seed: int
    position: int
    trial_id: str
    gates: tuple[int, ...]
    protected: bool
    standing: Standing
    more_to_come: bool
    """Whether its stage may still grow."""


def races(members: Iterable[Member], values: Values, verdicts: Verdicts) -> dict[str, Race]:
    """The races of these members, by label and sorted by it."""
    grouped: defaultdict[str, defaultdict[str, list[Member]]] = defaultdict(lambda: defaultdict(list))
    for member in members:
        grouped[member.race][member.racer].append(member)
    return {
        label: Race(
            label,
            tuple(racer_of(name, arm, values, verdicts.get((label, name), {})) for name, arm in racers.items()),
            any(member.more_to_come for arm in racers.values() for member in arm),
        )
        for label, racers in sorted(grouped.items())
    }


def stands(state: EntryState, gates: Mapping[int, int], verdicts: Mapping[int, Verdict]) -> tuple[EntryState, str] | None:
    """What an entry at rest becomes, and why; None where it stays as it is.

    gates: image counts of the gates at which its trial has a value; verdicts: its arm's verdicts.
    """
    stop = next((verdict for verdict in verdicts.values() if not verdict.go_on), None)
    if stop is not None:
        return (EntryState.PRUNED, stop.reason) if state is not EntryState.PRUNED else None
    if state not in _MOVING:
        return None
    awaited = min((gate for gate in gates if gate not in verdicts), default=None)
    if awaited is not None:
        return (EntryState.HELD, waits(gates[awaited])) if state is not EntryState.HELD else None
    if state is EntryState.WAITING:
        return None
    return EntryState.WAITING, f"goes on: {verdicts[max(verdicts)].reason}" if verdicts else ""


def racer_of(name: str, members: Sequence[Member], values: Values, verdicts: Mapping[int, Verdict]) -> Racer:
    """An arm as a race has it. members: its entries, in the order of the plan."""
    position = min(member.position for member in members)
    gates = max((member.gates for member in members), key=len)  # one ladder: a longer budget has more of it
    by_seed: defaultdict[int, list[Member]] = defaultdict(list)
    for member in members:
        by_seed[member.seed].append(member)
    seeds = tuple(
        Seed(seed, _standing(same), _at_gates(same[0].trial_id, gates, values))
        for seed, same in sorted(by_seed.items(), key=lambda item: item[0])
    )
    went_on = {gate: verdict.go_on for gate, verdict in verdicts.items()}
    return Racer(name, position, gates, any(member.protected for member in members), seeds, went_on)


def _standing(members: Sequence[Member]) -> Standing:
    """Of a trial that several entries share: what can still come counts first."""
    return next(standing for standing in _URGENCY if any(member.standing == standing for member in members))


def _at_gates(trial_id: str, gates: Sequence[int], values: Values) -> dict[int, float]:
    return {gate: values[trial_id, images] for gate, images in enumerate(gates) if (trial_id, images) in values}


def waits(images: int) -> str:
    return f"waits at {images} images for what it is compared with"
