"""What a result rests on, and how to get it again: file, versions, data, seeds, compute; and what reviewers ask for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from jit_sweep.budget.costs import CostOutcome, Costs
from jit_sweep.commands import shell_line
from jit_sweep.ledger.records import EntryRow, SweepRow, when
from jit_sweep.plan.foundations import foundations
from jit_sweep.provenance import git_commit, package_versions
from jit_sweep.redact import redact
from jit_sweep.report.losses import Loss
from jit_sweep.report.numbers import duration
from jit_sweep.results.leaderboard import Results
from jit_sweep.spec.again import file_again
from jit_sweep.spec.stored import readable

TOTAL = "compute in total"
"""The fact that several sweeps add up."""


@dataclass(frozen=True)
class Paragraph:
    """One answer of the NeurIPS paper checklist (2024), in words."""

    question: str
    words: str


@dataclass(frozen=True)
class Provenance:
    """Where the results come from."""

    spec: str
    """The sweep file, as YAML and without passwords: its trials have the ids of the ledger's."""
    facts: tuple[tuple[str, str], ...]
    """Names with values."""
    files: tuple[str, ...]
    """Names to save it by: one, or one of each sweep."""
    rerun: str
    """The command that makes it again from the file."""
    checklist: tuple[Paragraph, ...]


def provenance(
    sweep: SweepRow, results: Results, entries: Sequence[EntryRow], costs: Costs, lost: Sequence[Loss], *, ended: str = ""
) -> Provenance:
    """Where a sweep's results come from, told by the program that reports them. `ended`: why its last run went to no end."""
    commit, spec = git_commit(), readable(sweep.spec)
    counts_earlier = spec is not None and spec.budget.count_earlier_stages
    versions = ", ".join(f"{name} {version}" for name, version in package_versions().items())
    facts = [
        ("images", f"data digest {sweep.identity['data']['digest']}"),
        ("device", str(sweep.identity.get("device", "cpu"))),
        ("maths version", str(sweep.identity.get("maths_version", ""))),
        ("seeds", _seeds(entries)),
        ("evaluation", _pairs(sweep.identity["evaluation"])),
        ("begun", when(sweep.created_at)),
        ("last change", when(sweep.updated_at)),
        *([("the last run ended", ended)] if ended else []),
        *((f"stage {each.stage}", each.line) for each in foundations(entries, is_counted=counts_earlier)),
        (TOTAL, f"{costs.total.device_hours:.3g} {costs.unit}-hours"),
        ("written with", versions + (f", commit {commit[:12]}" if commit else "")),
    ]
    return Provenance(
        spec=redact(yaml.safe_dump(file_again(sweep.spec, sweep.identity), sort_keys=False, allow_unicode=True, width=100)),
        facts=tuple(facts),
        files=(f"{sweep.name}.yaml",),
        rerun=shell_line("jit-sweep", "run", f"{sweep.name}.yaml"),
        checklist=tuple(_checklist(results, costs, lost)),
    )


def _checklist(results: Results, costs: Costs, lost: Sequence[Loss]) -> list[Paragraph]:
    trials = sum(len(arm.trials) for arm in results.arms) + len(results.searched)
    ended = sum(loss.trials for loss in lost)
    causes = ", ".join(f"{loss.trials} by {loss.cause}" for loss in lost if loss.trials)
    without_score = (
        f"{ended} of {trials} trials ended without a score ({causes})." if ended else "Every trial that ended has a score."
    )
    spent = costs.total
    useful = costs.by_outcome[CostOutcome.USEFUL].device_hours + costs.by_outcome[CostOutcome.EVALUATION].device_hours
    per_trial = duration(spent.seconds / trials) if trials else "no time"
    return [
        Paragraph(
            "What do the error bars show, and what varies in them?",
            "Spreads are sample standard deviations over training seeds. A seed decides initial weights, the order of images, "
            "noise and times; images and evaluation noise are equal for all.",
        ),
        Paragraph(
            "How were they computed, and on which assumptions?",
            "Contrasts are paired by seed, of distances and errors on a log scale; their 95 % intervals are Student's t with a "
            "variance that the stage's residual moderates upwards only, and p values are corrected by Holm over the planned "
            "questions. This assumes that differences over seeds are about normal. No interval is a bootstrap.",
        ),
        Paragraph(
            "What compute did each run and all of them take?",
            f"{trials} trials took {spent.device_hours:.3g} {costs.unit}-hours, {per_trial} each on average; "
            f"{useful:.3g} of them went into trials that were scored, with their evaluation.",
        ),
        Paragraph(
            "Were runs left out?",
            f"No run was left out. {without_score}",
        ),
    ]


def _seeds(entries: Sequence[EntryRow]) -> str:
    return ", ".join(map(str, sorted({row.seed for row in entries})[:20]))


def _pairs(tree: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in tree.items() if value is not None)
