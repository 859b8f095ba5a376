"""What is compared: a sweep, an arm or a trial, found by the name that it is given by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jit_sweep.errors import UserError
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryRow, SweepRow
from jit_sweep.results.arms import Arm, TrialResult
from jit_sweep.results.leaderboard import Results, read_results
from jit_sweep.results.naming import full_id
from jit_sweep.results.selection import conditions

Kind = Literal["sweeps", "arms", "trials"]
ARM_FORM, TRIAL_FORM = "SWEEP:AXIS=VALUE,...", "SWEEP:TRIAL"
MOST_NAMED = 4
SHARED = ("data", "objective", "evaluation")
"""What two sweeps must have in common for their scores to compare."""


@dataclass(frozen=True)
class Compared:
    """One side of a comparison."""

    name: str
    """As it is shown."""
    sweep: SweepRow
    results: Results
    arm: Arm | None = None
    trial: TrialResult | None = None

    @property
    def kind(self) -> Kind:
        return "trials" if self.trial else "arms" if self.arm else "sweeps"

    @property
    def configuration(self) -> dict[str, Any]:
        """All that decides what it scores, by name; of an arm without its seeds."""
        if self.trial is not None:
            return _of_entry(self.trial.entry)
        if self.arm is not None:
            tree = _of_entry(self.arm.trials[0].entry)
            del tree["seed"]
            return tree
        return _of_sweep(self.sweep)


def read_compared(reader: LedgerReader, given: str) -> Compared:
    """The sweep, the one arm or the one trial that is meant. UserError: there is none, or there are several.

    `given`: `SWEEP`, `ARM_FORM`, `SWEEP:baseline` or `TRIAL_FORM`.
    """
    sweep, colon, part = given.partition(":")
    results = read_results(reader, sweep)
    row = reader.sweep(sweep)
    if not colon:
        return Compared(sweep, row, results)
    if "=" in part or part == "baseline":
        arm = _arm(results, part)
        return Compared(f"{sweep}: {arm.label}", row, results, arm=arm)
    trials = {trial.entry.trial_id: trial for trial in _trials(results)}
    trial = full_id(part, trials, option=TRIAL_FORM)
    return Compared(f"{sweep}:{trial}", row, results, trial=trials[trial])


def differing_field(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Which of `SHARED` two sweeps' identities differ in, with its values; empty where their scores compare."""
    for field in SHARED:
        one, other = first.get(field), second.get(field)
        if one != other and isinstance(one, Mapping) and isinstance(other, Mapping):
            key = next(key for key in (*one, *other) if one.get(key) != other.get(key))
            return f"{field}.{key}: {one.get(key)} and {other.get(key)}"
        if one != other:
            return f"{field}: {one} and {other}"
    return ""


def _arm(results: Results, part: str) -> Arm:
    values = {} if part == "baseline" else conditions(part.split(","), option=ARM_FORM)
    fits = [arm for arm in results.arms if all(axis in arm.arm and arm.arm[axis] == value for axis, value in values.items())]
    exact = [arm for arm in fits if arm.arm == values]
    found = {arm.label: arm for arm in sorted(exact or fits, key=lambda arm: (arm.stage, arm.images))}
    if len(found) == 1:
        return next(iter(found.values()))
    cells = list(found or {arm.label: arm for arm in results.arms})
    listed = "; ".join(cells[:MOST_NAMED]) + ("; and more" if len(cells) > MOST_NAMED else "")
    many = f"{len(found)} of" if found else "none of"
    raise UserError(
        f"`{ARM_FORM}` must mean one arm, got {part!r}, which fits {many} those of {results.sweep!r}; there are {listed}"
    )


def _trials(results: Results) -> Sequence[TrialResult]:
    return [*(trial for arm in results.arms for trial in arm.trials), *results.searched]


def _of_entry(entry: EntryRow) -> dict[str, Any]:
    return {
        **entry.trial.model_dump(mode="json"),
        "images": entry.images,
        "evaluation": entry.evaluation.model_dump(mode="json"),
    }


def _of_sweep(sweep: SweepRow) -> dict[str, Any]:
    """The resolved baseline, data, objective and evaluation; the rest as its file has it, the stages by their place."""
    spec = {key: value for key, value in sweep.spec.items() if key not in ("name", "stages")}
    stages = {f"stages[{place}]": stage for place, stage in enumerate(sweep.spec.get("stages") or ())}
    return {**spec, **sweep.identity, **stages}
