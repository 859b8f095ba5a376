"""Which of an earlier stage's arms is the best, for the stages that build on it. Pure, from the ledger's rows."""

from collections.abc import Sequence

from jit_sweep.ledger.records import EntryRow, ScoreRow
from jit_sweep.plan.choice import ArmChoice
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.waiting import with_arms
from jit_sweep.results.arms import grid_arms, with_scores
from jit_sweep.results.comparable import Marks, learned_nothing
from jit_sweep.results.leaderboard import best_cell
from search_spaces.cells import arm_label

Rows = Sequence[EntryRow]
Scores = Sequence[ScoreRow]


def decided(plan: Plan, rows: Rows, scores: Scores, *, marks: Marks) -> Plan:
    """The plan with every arm that is known to be the best by now, and what waited for it: the same scores always give the
    same. `marks`: what is no better has learned nothing."""
    for choice in plan.choices:
        if not choice.made and _has_ended(plan, choice, rows, scores):
            own = _candidates(choice, rows)
            if (best := best_cell(own, scores, objective=choice.metric, marks=marks)) is not None:
                plan = with_arms(plan, {choice.name: best.arm})
    return plan


def no_choice(plan: Plan, rows: Rows, scores: Scores, *, marks: Marks) -> str:
    """Why a stage trains nothing, all of whose earlier ones have ended: none of the arms that it may build on is sound; empty
    where there is no such stage."""
    plan = decided(plan, rows, scores, marks=marks)
    lines = [
        _refusal(plan, choice, _candidates(choice, rows), scores, marks)
        for choice in plan.choices
        if not choice.made and _has_ended(plan, choice, rows, scores)
    ]
    return "; ".join(lines)


def _has_ended(plan: Plan, choice: ArmChoice, rows: Rows, scores: Scores) -> bool:
    """Whether all that the stage of its arms plans is known and no score of it is waited for."""
    planned = {entry.key for entry in plan.entries if entry.stage == choice.stage}
    known = [row for row in rows if row.key in planned and not row.superseded]
    is_whole = len(known) == len(planned) and choice.stage not in plan.waiting
    return is_whole and not any(trial.unfinished for trial in with_scores(known, scores))


def _candidates(choice: ArmChoice, rows: Rows) -> list[EntryRow]:
    labels = {arm_label(arm) for arm in choice.arms}
    return [row for row in rows if row.stage == choice.stage and not row.superseded and arm_label(row.arm) in labels]


def _refusal(plan: Plan, choice: ArmChoice, rows: Rows, scores: Scores, marks: Marks) -> str:
    """Such as `codes best must be an arm ...`."""
    stages = " and ".join(plan.spec.stage_title(stage) for stage in choice.by)
    rule = f"`{choice.name}` must be an arm whose every seed has {choice.metric}, none of them collapsed"
    told = []
    for arm in grid_arms(with_scores(rows, scores)):
        why = ["no better than blank images"] if learned_nothing(arm, marks) and not arm.collapsed else []
        told.append(", ".join([f"{arm.label}: {arm.scored} of {len(arm.trials)} scored", *arm.remarks, *why]))
    remedy = f"train {plan.spec.stage_title(choice.stage)} longer or otherwise, or name an arm by its values"
    return f"{rule}, got none ({'; '.join(told)}), so {stages} trains nothing; {remedy}"
