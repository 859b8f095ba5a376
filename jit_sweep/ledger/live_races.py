"""A sweep's races in the memory of its one writer, kept up with what each report changes. Pure: rows come from outside."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jit_sweep.ledger.races import Arm, Member, Values, racer_of, races
from jit_sweep.ledger.records import EntryState
from jit_sweep.schedulers.race import Race, Racer, Standing, Verdict

_STANDING: Mapping[EntryState, Standing] = {
    EntryState.DONE: "ended",
    EntryState.DIVERGED: "lost",
    EntryState.FAILED: "lost",
    EntryState.OUT_OF_BUDGET: "lost",
}


@dataclass(frozen=True)
class RaceEntry:
    """The columns of an entry that its race reads."""

    key: str
    stage_id: str
    position: int
    race: str
    racer: str
    seed: int
    trial_id: str
    gates: tuple[int, ...]
    """Image counts; empty where it does not race."""
    protected: bool
    origin: str
    state: EntryState

    @property
    def arm(self) -> Arm:
        return self.race, self.racer

    def member(self, searched: Collection[str]) -> Member:
        """searched: the stages whose searches propose nothing more."""
        return Member(
            race=self.race,
            racer=self.racer,
            seed=self.seed,
            position=self.position,
            trial_id=self.trial_id,
            gates=self.gates,
            protected=self.protected,
            standing=_STANDING.get(self.state, "coming"),
            more_to_come=self.origin == "search" and self.stage_id not in searched,
        )


class LiveRaces:
    """All races of a sweep, as of the last change that it was told of."""

    def __init__(
        self,
        entries: Iterable[RaceEntry],
        values: Values,
        verdicts: Mapping[Arm, Mapping[int, Verdict]],
        searched: frozenset[str],
    ) -> None:
        """entries: in the order of the plan."""
        self.entries = {entry.key: entry for entry in entries}
        self.values = dict(values)
        self.verdicts: defaultdict[Arm, dict[int, Verdict]] = defaultdict(dict, {arm: dict(of) for arm, of in verdicts.items()})
        self._searched = searched
        self._by_arm: defaultdict[Arm, list[str]] = defaultdict(list)
        self.trials: defaultdict[str, list[str]] = defaultdict(list)
        """Keys by trial."""
        for entry in self.entries.values():
            self._by_arm[entry.arm].append(entry.key)
            self.trials[entry.trial_id].append(entry.key)
        self.races = races([entry.member(searched) for entry in self.entries.values()], self.values, self.verdicts)

    def of_arms(self, arms: Iterable[Arm]) -> list[RaceEntry]:
        """The entries of some arms."""
        return [self.entries[key] for arm in arms for key in self._by_arm[arm]]

    def put(self, entries: Sequence[RaceEntry], values: Values) -> frozenset[Arm]:
        """Some entries, all of them known, as they stand now, and what their trials have measured; returns their arms."""
        self.values |= values
        self.entries |= {entry.key: entry for entry in entries}
        arms = frozenset(entry.arm for entry in entries)
        for race, _ in arms:
            own = [arm for arm in arms if arm[0] == race]
            self.races[race] = self.races[race].replaced([self._racer(arm) for arm in own])
        return arms

    def judged(self, race: Race, verdicts: Sequence[Verdict]) -> None:
        """A race has some verdicts more, which it holds already."""
        self.races[race.label] = race
        for verdict in verdicts:
            self.verdicts[race.label, verdict.racer][verdict.gate] = verdict

    def _racer(self, arm: Arm) -> Racer:
        members = [entry.member(self._searched) for entry in self.of_arms([arm])]
        return racer_of(arm[1], members, self.values, self.verdicts.get(arm, {}))
