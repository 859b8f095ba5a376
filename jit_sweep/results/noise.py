"""How far apart equal trials come out: the spread over seeds of a sweep's objective, declared or measured."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from jit_sweep.ledger.records import SweepRow
from jit_sweep.plan.entry import Plan
from jit_sweep.results.arms import Arm, grid_arms, with_scores
from jit_sweep.results.scales import in_words, on_scale, scale_of
from jit_sweep.statistics.luck import typical_sd

if TYPE_CHECKING:
    from jit_sweep.ledger.event_records import NoiseMeasured
    from jit_sweep.ledger.reader import LedgerReader  # starts SQL, which `plan` may do without


class Noise(NamedTuple):
    """The standard deviation over seeds, on the objective's scale."""

    sigma: float
    source: str
    """Where it is from, in words."""


def declared_noise(plan: Plan) -> Noise | None:
    """As the file has it; None where it says nothing."""
    given = plan.spec.noise
    if given is None:
        return None
    return Noise(math.log1p(given) if scale_of(plan.spec.objective) == "log" else given, "declared")


def measured_noise(reader: "LedgerReader", plan: Plan) -> Noise | None:
    """What is known of sweeps of these data under this evaluation: of those of this baseline and budget, else, told as such, of
    any; None where no arm has two seeds."""
    alike = [row for row in reader.sweeps() if _measures_alike(row, plan)]
    own = [row for row in alike if _trains_alike(row, plan)]
    if known := _noise_of(reader, own, plan.spec.objective):
        return known
    other = _noise_of(reader, alike, plan.spec.objective)
    return other._replace(source=f"{other.source}, of another baseline or budget") if other else None


def noise_note(known: "NoiseMeasured | None", objective: str) -> str:
    """What `noise` has measured of the sweep itself, and so what narrows the gaps of its verdicts; empty where it has not."""
    typical = known.typical.get(objective) if known else None
    if known is None or typical is None:
        return ""
    again, drawn = (in_words(scale_of(objective), sd, sign=False) for sd in (typical.retraining, typical.resampling))
    only_seeds = typical.ratio is None or typical.ratio >= 1
    remedy = (
        "more seeds narrow a gap, more images hardly" if only_seeds else "more images a score narrow a gap, and so do seeds"
    )
    measured = f"noise of {objective}, by `noise` over {known.seeds} seeds and {known.draws} draws of each"
    return f"{measured}: {again} trained again, {drawn} drawn again; {remedy}"


def _noise_of(reader: "LedgerReader", sweeps: Sequence[SweepRow], objective: str) -> Noise | None:
    """What `noise` has measured of the latest of them; else the median over their arms."""
    for row in sweeps:
        known = reader.noise(row.name)
        if known is not None and (typical := known.typical.get(objective)):
            return Noise(typical.total, f"measured by `noise` on {row.name}, {known.seeds} seeds and {known.draws} draws")
    arms = [arm for row in sweeps for arm in grid_arms(with_scores(reader.entries(row.name), reader.scores(row.name)))]
    sound = [values for values in _values(arms, objective) if len(values) > 1]
    sigma = typical_sd(sound)
    return Noise(sigma, f"the median of {len(sound)} arms in the ledger") if sigma else None


def _trains_alike(row: SweepRow, plan: Plan) -> bool:
    images = (row.spec.get("budget") or {}).get("images_per_trial")
    return row.identity.get("baseline") == plan.identity["baseline"] and images == plan.spec.budget.images_per_trial


def _measures_alike(row: SweepRow, plan: Plan) -> bool:
    return all(row.identity.get(key) == plan.identity[key] for key in ("data", "objective", "evaluation"))


def _values(arms: Iterable[Arm], objective: str) -> Iterable[Sequence[float]]:
    """Of arms that learned something: the spread of the others is another one."""
    scale = scale_of(objective)
    return [[on_scale(v, scale) for v in arm.by_seed(objective).values()] for arm in arms if not arm.collapsed]
