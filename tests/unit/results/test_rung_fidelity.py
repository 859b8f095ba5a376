"""Whether rungs told the truth, and the parts of a leaderboard."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from jit_sweep.errors import UserError
from jit_sweep.ledger.records import VerdictRow
from jit_sweep.results import selection
from jit_sweep.results.leaderboard import read_results
from jit_sweep.results.rung_fidelity import RungFidelity, fidelity, spearman
from jit_sweep.schedulers.audit import audited
from jit_sweep.schedulers.race import Verdict
from tests.support.ledger import LedgerFixture, ended, planned, scored
from trainables.report import Rung

ERROR = "heldout_v_error"
RATES = (1e-4, 2e-4, 3e-4, 4e-4, 5e-4)


def race(ledger: LedgerFixture, patch_size: int, rungs: Sequence[float], ends: Sequence[float]) -> None:
    """One arm a learning rate, with its error at half way and its score at the end."""
    for position, (rate, at, end) in enumerate(zip(RATES, rungs, ends, strict=False)):
        entry = planned(arm={"patch_size": patch_size, "learning_rate": rate}, position=patch_size * 10 + position)
        ledger.plan(entry)
        values = {"fd_efflite0_96": end, ERROR: end}
        ledger.tell(ledger.begin(entry), Rung(images=480, values={ERROR: at}), scored(entry, values), ended(entry))


def found(ledger: LedgerFixture) -> tuple[RungFidelity, ...]:
    return read_results(ledger.reader, "mine").fidelity


@pytest.mark.parametrize(
    ("a", "b", "rank"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),  # 1 - 6 * 4 / (5 * 24)
        ([1, 1, 2], [1, 2, 3], 3**0.5 / 2),  # ties share 1.5
        ([1, 1], [1, 2], None),
        ([1], [1], None),
    ],
)
def test_spearman_is_the_correlation_of_ranks(a: list[float], b: list[float], rank: float | None) -> None:
    assert spearman(a, b) == (pytest.approx(rank) if rank is not None else None)


def test_an_arm_that_collapsed_says_nothing_of_a_rung(ledger: LedgerFixture) -> None:
    race(ledger, 16, [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4])
    entry = planned(arm={"patch_size": 16, "learning_rate": 9e-4}, position=200)
    ledger.plan(entry)
    score = scored(entry, {"fd_efflite0_96": 0.5, ERROR: 0.5}).model_copy(update={"collapsed": True})
    ledger.tell(ledger.begin(entry), Rung(images=480, values={ERROR: 0.9}), score, ended(entry))
    [rung] = found(ledger)
    assert rung.arms == 4
    assert rung.correlation == pytest.approx(1.0)


def test_a_rung_is_judged_by_the_final_order_within_each_patch_size(ledger: LedgerFixture) -> None:
    race(ledger, 16, [0.1, 0.2, 0.3, 0.4, 0.5], [1, 2, 3, 4, 5])
    race(ledger, 4, [0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1])
    race(ledger, 8, [0.1, 0.2], [1, 2])
    rows = {rung.group: rung for rung in found(ledger)}
    assert rows.keys() == {"patch_size=16", "patch_size=4"}
    assert rows["patch_size=16"].correlation == pytest.approx(1.0)
    assert rows["patch_size=16"].arms == 5
    assert rows["patch_size=4"].correlation == pytest.approx(-1.0)
    assert rows["patch_size=16"].images == 480


def test_only_arms_that_were_stopped_by_a_misleading_rung_make_it_unsafe() -> None:
    assert RungFidelity("", 480, ERROR, 4, 0.2, stopped=2).unsafe
    assert not RungFidelity("", 480, ERROR, 4, 0.2, stopped=0).unsafe
    assert not RungFidelity("", 480, ERROR, 4, 0.9, stopped=2).unsafe
    assert "UNSAFE, 2 arms were stopped by then" in str(RungFidelity("", 480, ERROR, 4, 0.2, stopped=2))


def test_a_score_on_the_way_is_no_final_one(ledger: LedgerFixture) -> None:
    race(ledger, 16, [0.1, 0.2, 0.3, 0.4], [1, 2, 3, 4])
    arms = read_results(ledger.reader, "mine").arms
    rungs = ledger.reader.rung_values("mine")
    assert fidelity(arms, rungs, objective="fd_efflite0_96", metric="kid_efflite0_96") == []


def test_a_leaderboard_is_filtered_and_grouped_by_axis(ledger: LedgerFixture) -> None:
    race(ledger, 16, [0.1, 0.2], [1, 2])
    race(ledger, 4, [0.1], [4])
    results = read_results(ledger.reader, "mine")
    assert len(selection.where(results, selection.conditions(["patch_size=16"], option="--where")).arms) == 2
    assert (
        len(selection.where(results, selection.conditions(["patch_size=16", "learning_rate=2e-4"], option="--where")).arms) == 1
    )
    groups = selection.by_axis(results, "patch_size")
    assert {label: len(part.arms) for label, part in groups.items()} == {"patch_size=4": 1, "patch_size=16": 2}
    assert list(selection.by_axis(results, "depth")) == ["without depth"]
    parts = selection.by_axes(results, ["patch_size", "learning_rate"])
    cells = [{(arm.arm["patch_size"], arm.arm["learning_rate"]) for arm in part.arms} for part in parts]
    assert cells == [{(4, 1e-4)}, {(16, 1e-4)}, {(16, 2e-4)}]
    assert selection.by_axes(results, []) == [results]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("patch_size", "AXIS=VALUE"),
        ("patch=4", "must name an axis"),
        ("patch_size=x", "patch_size"),
        ("depth=3", "leave some cells"),
    ],
)
def test_a_wrong_condition_is_told(ledger: LedgerFixture, given: str, said: str) -> None:
    race(ledger, 16, [0.1], [1])
    with pytest.raises(UserError, match=said):
        selection.where(read_results(ledger.reader, "mine"), selection.conditions([given], option="--where"))


def test_an_audited_arm_that_ends_as_the_best_makes_its_rung_unsafe_which_survivors_cannot_show(ledger: LedgerFixture) -> None:
    """Five arms in the order of their rungs at the end, but for the last, a slow starter that the sample let go on."""
    race(ledger, 16, [0.1, 0.2, 0.3, 0.4, 0.5], [2, 3, 4, 5, 1])
    arms = list(read_results(ledger.reader, "mine").arms)
    arms = [replace(arm, trials=tuple(replace(t, entry=replace(t.entry, gates=(480,))) for t in arm.trials)) for arm in arms]
    slow = next(arm for arm in arms if arm.arm["learning_rate"] == RATES[-1]).trials[0].entry
    reason = audited(Verdict(slow.racer, 0, False, "place 5 of 5"), one_in=1).reason
    row = VerdictRow(slow.race, slow.racer, 0, True, reason, 0.0)
    (rung,) = fidelity(arms, ledger.reader.rung_values("mine"), objective="fd_efflite0_96", metric=ERROR, verdicts=[row])
    assert (rung.arms, rung.audited, rung.overtook) == (5, 1, 1)
    assert rung._replace(stopped=3).unsafe
    assert "1 of 1 drawn from the stopped ended as the best" in str(rung)
