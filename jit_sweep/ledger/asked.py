"""What a plan's verdicts are to answer, as the ledger records it, and when each question was first asked. Pure."""

from collections.abc import Iterable
from typing import Any

from jit_sweep.ledger.event_records import Asked
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.questions import Question, questions_of
from jit_sweep.spec.nuisance import Nuisance
from jit_sweep.spec.stages import Design, Grid, PlannedStage
from jit_sweep.spec.sweep import SweepSpec
from trainables.config.fields import content_hash


def asked_by(plan: Plan) -> Asked:
    """The record of a plan's questions and of how they will be answered."""
    spec = plan.spec
    designs = [stage.design for stage in spec.stages if isinstance(stage, PlannedStage)]
    content: dict[str, Any] = {
        "questions": {question.key: _in_words(question) for of in questions_of(plan).values() for question in of},
        "objective": spec.objective,
        "alpha": spec.alpha,
        "margin": spec.margin,
    }
    chosen = any(map(_has_questions_of_its_own, designs))
    by_default = not chosen and (spec.alpha, spec.margin) == (_default("alpha"), _default("margin"))
    return Asked(plan_id=content_hash(content), by_default=by_default, **content)


def first_asked(
    records: Iterable[tuple[float, Asked]], *, objective: str, alpha: float, margin: float | None, created_at: float
) -> dict[str, float]:
    """When each question was first asked under this objective, alpha and margin, by key.

    What follows from the grids and ablations alone was settled when the sweep was entered, if nothing else was asked before.
    """
    first: dict[str, float] = {}
    for number, (at, record) in enumerate(records):
        if (record.objective, record.alpha, record.margin) == (objective, alpha, margin):
            since = created_at if number == 0 and record.by_default else at
            first |= {key: since for key in record.questions if key not in first}
    return first


def _in_words(question: Question) -> str:
    looked = f", looked at after {question.looks[0]} to {question.looks[-1]} seeds" if question.looks else ""
    return f"{question.label}{looked}{_tuned_in_words(question.nuisance)}"


def _tuned_in_words(nuisance: Nuisance | None) -> str:
    if nuisance is None:
        return ""
    return f", each at the best of {nuisance.trials} settings of {' and '.join(nuisance.axes)}"


def _has_questions_of_its_own(design: Design) -> bool:
    return design.contrasts is not None or (isinstance(design, Grid) and design.interactions is not None)


def _default(key: str) -> float | None:
    default: float | None = SweepSpec.model_fields[key].default
    return default
