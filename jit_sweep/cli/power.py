"""`plan`'s tables of what the planned questions will be able to tell, and of what more seeds would buy."""

from typing import Any

from rich.console import Console

from jit_sweep.cli.tables import Column, say, table_of
from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.power import Prospect, arms_of, images_of_a_seed, prospects
from jit_sweep.results.noise import Noise, declared_noise, measured_noise
from jit_sweep.results.scales import in_words, scale_of, shown_on
from trainables.config.fields import counted

MOST_QUESTIONS = 20
SEED_COUNTS = (3, 4, 5, 6, 8, 10, 12, 16)
"""Of the table over seeds."""


def known_noise(plan: Plan, locations: Locations) -> Noise | None:
    """The spread over seeds: declared, else measured in the ledger; None where neither is, or the ledger cannot be read."""
    if (declared := declared_noise(plan)) or locations.lacks_ledger:
        return declared
    from jit_sweep.ledger.connect import open_engine  # starts SQL
    from jit_sweep.ledger.reader import LedgerReader

    try:
        return measured_noise(LedgerReader(open_engine(locations.ledger, create=False)), plan)
    except UserError:
        return None


def power_rows(plan: Plan, noise: Noise | None) -> list[dict[str, Any]]:
    """The planned questions as JSON; `gap` is in percent or the objective's unit, and null where the noise is unknown."""
    return [
        {
            "question": prospect.question.label,
            "seeds": prospect.seeds,
            "decidable": prospect.is_decidable,
            "gap_in_sd": prospect.gap(sigma=1.0) if prospect.is_decidable else None,
            "gap": _gap(plan, prospect, noise) if prospect.is_decidable and noise else None,
            "noise": noise._asdict() if noise else None,
        }
        for prospect in prospects(plan)
    ]


def print_power(plan: Plan, noise: Noise | None, screen: Console) -> None:
    """For each question the smallest gap that will be seen four times in five, and what one seed more buys."""
    asked = prospects(plan)
    sure = [prospect for prospect in asked if prospect.is_decidable]
    if not asked:
        return
    screen.print()
    questions = counted(len(asked), "planned question")
    say(screen, f"{questions}, answered together at alpha {plan.spec.alpha:g}; {_about(noise, plan)}")
    if sure:
        shown = sure[:MOST_QUESTIONS]
        more = [prospect.with_seeds(prospect.seeds + 1, arms=arms_of(plan, prospect.stage)) for prospect in shown]
        columns = [
            Column("question", [prospect.question.label for prospect in shown], wraps=True),
            Column("seeds", [str(prospect.seeds) for prospect in shown], right=True),
            Column("visible gap", [_in_words(plan, prospect, noise) for prospect in shown], right=True),
            Column("one seed more", [_in_words(plan, prospect, noise) for prospect in more], 1, right=True),
        ]
        screen.print(table_of(columns, width=screen.width))
        for stage in dict.fromkeys(prospect.stage for prospect in shown):
            title, images = plan.spec.stage_title(stage), images_of_a_seed(plan, stage)
            say(screen, f"one seed more of every arm of {title} trains on {images:,} images")
    if len(sure) > MOST_QUESTIONS:
        screen.print(f"{len(sure) - MOST_QUESTIONS:,} more questions; --json has them")
    for dim, why in (
        ([prospect for prospect in asked if not prospect.is_scored], f"{plan.spec.objective} is no score of an arm's trials"),
        ([prospect for prospect in asked if prospect.is_scored and not prospect.is_decidable], "an arm has fewer than 3 seeds"),
    ):
        if dim:
            labels = ", ".join(prospect.question.label for prospect in dim[:3])
            more_of = f" and {len(dim) - 3} more" if len(dim) > 3 else ""
            say(screen, f"cannot be decided at all, since {why}: {labels}{more_of}")


def print_power_by_seeds(plan: Plan, noise: Noise | None, screen: Console) -> None:
    """The visible gap of a contrast and of an interaction over seeds, for each grid that asks something."""
    asked = [prospect for prospect in prospects(plan) if prospect.is_scored]
    for stage in dict.fromkeys(prospect.stage for prospect in asked):
        own = [prospect for prospect in asked if prospect.stage == stage]
        kinds = {prospect.question.kind: prospect._replace(family=len(own)) for prospect in own}
        columns = [Column("seeds", [str(seeds) for seeds in SEED_COUNTS], right=True)]
        for kind, prospect in kinds.items():
            gaps = [prospect.with_seeds(seeds, arms=arms_of(plan, stage)) for seeds in SEED_COUNTS]
            columns.append(Column(f"{kind} gap", [_in_words(plan, each, noise) for each in gaps], right=True))
        images = images_of_a_seed(plan, stage)
        columns.append(Column("images", [f"{images * seeds:,}" for seeds in SEED_COUNTS], right=True))
        screen.print()
        bought = f"{plan.spec.stage_title(stage)}: what seeds buy, with {len(own)} questions answered together"
        say(screen, f"{bought}; {_about(noise, plan)}")
        screen.print(table_of(columns, width=screen.width))


def _about(noise: Noise | None, plan: Plan) -> str:
    if noise is None:
        return "the noise over seeds is not known yet, so gaps are in its standard deviations (SD); `noise` declares it"
    return f"noise over seeds {in_words(scale_of(plan.spec.objective), noise.sigma, sign=False)}, {noise.source}"


def _gap(plan: Plan, prospect: Prospect, noise: Noise) -> float:
    scale = scale_of(plan.spec.objective)
    return shown_on(scale, prospect.gap(sigma=noise.sigma))


def _in_words(plan: Plan, prospect: Prospect, noise: Noise | None) -> str:
    if noise is None:
        return f"{prospect.gap(sigma=1.0):.1f} SD"
    return in_words(scale_of(plan.spec.objective), prospect.gap(sigma=noise.sigma), sign=False)
