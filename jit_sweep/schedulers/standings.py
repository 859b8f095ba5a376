"""How the arms of a race stand at its gates, kept up as one arm after the other changes: a report sorts nothing anew."""

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jit_sweep.statistics.student_t import sample_sd
from trainables.evaluation.metrics.registry import metric_of

if TYPE_CHECKING:
    from jit_sweep.schedulers.race import Racer


class Rank(NamedTuple):
    """What sorts the arms at a gate: their loss, and where that is equal the order of the plan."""

    loss: float
    position: int
    name: str


@dataclass
class Spreads:
    """Standard deviations over seeds of the arms at a gate, in rising order, and their degrees of freedom."""

    sds: list[float] = field(default_factory=list)
    freedom: int = 0

    @property
    def median(self) -> float:
        """Of at least one."""
        return (self.sds[(len(self.sds) - 1) // 2] + self.sds[len(self.sds) // 2]) / 2


class Standings:
    """Of one race. Built from its arms, and from then on told of each that changes."""

    def __init__(self, racers: Iterable["Racer"]) -> None:
        self.by_name: dict[str, Racer] = {}
        self.gate_count = 0
        self._awaiting: defaultdict[int, set[str]] = defaultdict(set)
        self._coming: defaultdict[int, int] = defaultdict(int)
        self._arrived: defaultdict[int, set[str]] = defaultdict(set)
        self._spreads: defaultdict[int, Spreads] = defaultdict(Spreads)
        self._orders: dict[tuple[str, int], list[Rank]] = {}
        self._ended: set[str] = set()
        for racer in racers:
            self._add(racer)

    def replace(self, racer: "Racer") -> None:
        """An arm stands otherwise than before."""
        self._take(self.by_name[racer.name])
        self._add(racer)

    def awaiting(self, gate: int) -> "list[Racer]":
        """The arms that stand at a gate without a verdict, as planned."""
        return sorted((self.by_name[name] for name in self._awaiting[gate]), key=lambda racer: racer.position)

    def is_coming(self, gate: int) -> bool:
        """Whether an arm may still arrive at a gate."""
        return self._coming[gate] > 0

    def spreads(self, gate: int) -> Spreads:
        return self._spreads[gate]

    def ranks(self, gate: int, metric: str) -> list[Rank]:
        """The arms that have arrived at a gate, the best first."""
        key = metric, gate
        if key not in self._orders:
            self._orders[key] = sorted(_rank(self.by_name[name], gate, metric) for name in self._arrived[gate])
        return self._orders[key]

    def ended(self) -> "Iterator[Racer]":
        """The arms that have come to their end, and have been measured on the way."""
        return (self.by_name[name] for name in self._ended)

    def _add(self, racer: "Racer") -> None:
        self.by_name[racer.name] = racer
        self.gate_count = max(self.gate_count, len(racer.gates))
        if racer.awaited is not None:
            self._awaiting[racer.awaited].add(racer.name)
        if racer.has_ended:
            self._ended.add(racer.name)
        for gate in range(len(racer.gates)):
            self._coming[gate] += racer.is_coming_to(gate)
            if racer.arrived(gate):
                self._arrived[gate].add(racer.name)
        for gate, (sd, freedom) in _spread(racer).items():
            insort(self._spreads[gate].sds, sd)
            self._spreads[gate].freedom += freedom
        for (metric, gate), order in self._orders.items():
            if racer.name in self._arrived[gate]:
                insort(order, _rank(racer, gate, metric))

    def _take(self, racer: "Racer") -> None:
        for (metric, gate), order in self._orders.items():
            if racer.name in self._arrived[gate]:
                del order[bisect_left(order, _rank(racer, gate, metric))]
        for gate, (sd, freedom) in _spread(racer).items():
            del self._spreads[gate].sds[bisect_left(self._spreads[gate].sds, sd)]
            self._spreads[gate].freedom -= freedom
        for gate in range(len(racer.gates)):
            self._coming[gate] -= racer.is_coming_to(gate)
            self._arrived[gate].discard(racer.name)
        if racer.awaited is not None:
            self._awaiting[racer.awaited].discard(racer.name)
        self._ended.discard(racer.name)


def _rank(racer: "Racer", gate: int, metric: str) -> Rank:
    return Rank(metric_of(metric).loss(racer.value(gate)), racer.position, racer.name)


def _spread(racer: "Racer") -> Mapping[int, tuple[float, int]]:
    """An arm's standard deviation and degrees of freedom at every gate where several of its seeds have a value."""
    gates = {gate for seed in racer.seeds for gate in seed.values} if len(racer.seeds) > 1 else set()
    values = {gate: racer.values(gate) for gate in gates}
    return {gate: (sd, len(of) - 1) for gate, of in values.items() if (sd := sample_sd(of)) is not None}
