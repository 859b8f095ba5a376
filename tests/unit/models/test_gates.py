"""Gates that a candidate's own sweep and its champion's setting close."""

from dataclasses import replace

import pytest

from jit_sweep.models.candidate import Candidate
from jit_sweep.models.gates import against_champion, gates, gates_in_words, known_before
from jit_sweep.results.arms import Arm, Convergence, TrialResult
from jit_sweep.results.findings import Asking, Outcome
from jit_sweep.results.leaderboard import read_results
from tests.support.ledger import OBJECTIVE, LedgerFixture
from tests.support.scored_arms import train_arm


def arm(ledger: LedgerFixture, prediction: str, values: list[float]) -> Arm:
    train_arm(ledger, {"prediction": prediction}, values)
    return next(arm for arm in read_results(ledger.reader, "mine").arms if arm.arm["prediction"] == prediction)


@pytest.mark.parametrize(("gain", "holds"), [(0.01, True), (0.05, False)])
def test_an_arm_that_still_learned_is_no_candidate(ledger: LedgerFixture, gain: float, holds: bool) -> None:
    one = arm(ledger, "x", [1.0, 1.1, 1.2])
    learned = Convergence("heldout_v_error", gain=gain, noise=0.02)
    found = {each.name: each for each in known_before(Candidate("mine", replace(one, convergence=learned), "the best"))}
    assert found["convergence"].holds is holds
    assert "with a quarter more training" in found["convergence"].words
    unknown = {each.name: each for each in known_before(Candidate("mine", one, "the best"))}
    assert (unknown["convergence"].holds, unknown["convergence"].standing) == (True, "not known")


@pytest.mark.parametrize(("gain", "standing"), [(0.01, "holds"), (0.05, "fails"), (None, "not known")])
def test_fresh_seeds_that_still_learned_are_no_champion_and_what_nobody_knows_is_told(
    ledger: LedgerFixture, gain: float | None, standing: str
) -> None:
    """A winner of one seed has no noise to be held against; its fresh seeds have."""
    one = arm(ledger, "x", [1.0, 1.1, 1.2])
    learned = Convergence("heldout_v_error", gain=gain, noise=0.02) if gain is not None else None
    candidate, fresh = Candidate("mine", one, "the best"), replace(one, convergence=learned)
    found = {each.name: each for each in gates(candidate, fresh, objective=OBJECTIVE, heldout=None)}
    gate = found["convergence of fresh seeds"]
    assert gate.standing == standing
    [line] = [line for line in gates_in_words([*found.values()]) if gate.words in line]
    assert line.startswith({"fails": "FAILS  ", "not known": "not known  ", "holds": "holds  "}[standing])


def of_another(result: TrialResult, field: str) -> TrialResult:
    """The same trial in another precision, on another device, or by another version of the maths."""
    values = {"precision": "bf16", "device": "cuda"}
    trial = result.entry.trial.model_copy(update={field: values[field]} if field in values else {})
    name = trial.id if field in values else "0" * 12
    return replace(result, entry=replace(result.entry, trial_json=trial.model_dump_json(), trial_id=name))


@pytest.mark.parametrize("field", ["precision", "device", "maths_version"])
def test_a_candidate_is_not_compared_with_a_champion_of_another_setting(ledger: LedgerFixture, field: str) -> None:
    one, other = arm(ledger, "x", [1.0, 1.01, 1.02]), arm(ledger, "v", [2.0, 2.05, 2.02])
    found, gate = against_champion(one, other, Asking(OBJECTIVE))
    assert (found.outcome, gate.holds) == (Outcome.REAL, True)
    assert found.line.startswith("the candidate against the champion: ")
    assert found.line.endswith(", REAL: the candidate is better")
    assert gate.words.endswith(" of the champion's fd_efflite0_96, REAL: the candidate is better")
    found, gate = against_champion(
        one, replace(other, trials=tuple(of_another(t, field) for t in other.trials)), Asking(OBJECTIVE)
    )
    assert (found.outcome, gate.holds) == (Outcome.NOT_COMPARABLE, False)
    assert field in found.reason
