"""The leaderboard as JSON: its keys, and what stands under them."""

import json

import pytest

from jit_sweep.results.as_json import contents
from jit_sweep.results.leaderboard import read_results
from tests.support.ledger import FACTS, OBJECTIVE, LedgerFixture, ended, planned, scored
from trainables.networks.cost import training_flops

RAW = f"{OBJECTIVE}_raw"
X, V = {"prediction": "x"}, {"prediction": "v"}
ROW_KEYS = {
    "trial",
    "stage",
    "origin",
    "cell",
    "seed",
    "state",
    "cached",
    "images",
    "images_done",
    "attempt",
    "cause",
    "detail",
    "first_bad_step",
    "activity",
    "n",
    "scores",
    "standard_errors",
    "collapsed",
}


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    """An arm of two scored seeds of which one collapsed, an arm whose one seed diverged, and a searched trial."""
    ledger.writer.register("mine", fingerprint="f1", identity=FACTS, spec={})
    first = planned(arm=X)
    ledger.plan(first)
    score = scored(first, {OBJECTIVE: 1.0, RAW: 5.0}).model_copy(update={"collapsed": True})
    ledger.tell(ledger.begin(first), score, ended(first))
    ledger.train(planned(arm=X, seed=1, position=1), {OBJECTIVE: 3.0, RAW: 7.0})
    ledger.diverge(planned(arm=V, position=2), images=480)
    ledger.train(planned(arm={"patch_size": 8}, position=3, origin="search"), {OBJECTIVE: 2.0})
    return ledger


def test_an_arm_is_a_row_with_its_counts_its_spreads_and_its_trials(ledger: LedgerFixture) -> None:
    arm = contents(read_results(ledger.reader, "mine"), ())["rows"][0]
    trials = arm.pop("trials")
    assert arm == {
        "kind": "arm",
        "cell": X,
        "setting": {},
        "stage": 0,
        "seeds": [0, 1],
        "scored": 2,
        "diverged": 0,
        "failed": 0,
        "pruned": 0,
        "collapsed": 1,
        "images": 960,
        "training_flops": training_flops(planned(arm=X).trial, images=960),
        "convergence": None,
        "metrics": {
            OBJECTIVE: {"mean": 2.0, "sd": pytest.approx(2**0.5), "n": 2},
            RAW: {"mean": 6.0, "sd": pytest.approx(2**0.5), "n": 2},
        },
    }
    assert all(trial.keys() == ROW_KEYS for trial in trials)
    assert [trial["scores"] for trial in trials] == [{OBJECTIVE: 1.0, RAW: 5.0}, {OBJECTIVE: 3.0, RAW: 7.0}]


def test_a_trial_without_a_score_says_how_far_it_came_and_has_no_n_and_no_scores(ledger: LedgerFixture) -> None:
    arm = contents(read_results(ledger.reader, "mine"), ())["rows"][1]
    (trial,) = arm["trials"]
    assert (arm["cell"], arm["scored"], arm["diverged"], arm["metrics"]) == (V, 0, 1, {})
    assert (trial["state"], trial["images"], trial["images_done"]) == ("diverged", 960, 480)
    assert (trial["n"], trial["scores"]) == (None, {})


def test_a_searched_trial_is_a_row_of_its_own_that_says_whether_it_is_on_the_front(ledger: LedgerFixture) -> None:
    results = read_results(ledger.reader, "mine")
    (searched,) = results.searched
    for front in ((), (searched.entry.key,)):
        row = contents(results, front)["rows"][-1]
        assert row.keys() == {"kind", "pareto"} | ROW_KEYS
        assert (row["kind"], row["pareto"]) == ("search", bool(front))


def test_the_sweeps_own_facts_stand_beside_the_rows_and_all_of_it_is_json(ledger: LedgerFixture) -> None:
    results = read_results(ledger.reader, "mine")
    leaderboard = contents(results, ())
    assert leaderboard.keys() == {
        "rows",
        "sweep",
        "objective",
        "direction",
        "heldout",
        "better_than_real",
        "verdicts",
        "rung_fidelity",
    }
    assert (leaderboard["sweep"], leaderboard["objective"], leaderboard["direction"]) == ("mine", OBJECTIVE, "minimize")
    found = [*results.findings.planned, *results.findings.exploratory]
    assert [row["line"] for row in leaderboard["verdicts"]] == [finding.line for finding in found] != []
    assert json.loads(json.dumps(leaderboard, allow_nan=False)) == leaderboard
