"""One word for each state, and its meaning where it is shown and on the page."""

import pytest

from jit_sweep.ledger.records import EntryState
from jit_sweep.results.words import MEANINGS, explained, state_in_words
from tests.support.documents import DOCS, rows_of
from tests.support.ledger import OBJECTIVE, LedgerFixture, planned

PLAIN = {"running", "done"}
"""Words that say themselves what they mean."""


def test_every_state_is_plain_or_explained() -> None:
    assert {state_in_words(state) for state in EntryState} <= PLAIN | MEANINGS.keys()
    assert state_in_words(EntryState.PRUNED) == "stopped early"


def test_only_words_that_are_shown_are_explained() -> None:
    assert explained(["done", "held", "2"]) == [f"held: {MEANINGS['held']}"]


def test_the_glossary_of_the_page_has_every_word_with_its_meaning() -> None:
    assert {row[0]: row[1] for row in rows_of(DOCS / "commands.md", heading="## How trials and arms stand")} == MEANINGS


def test_a_leaderboard_explains_the_words_in_it(ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]) -> None:
    from jit_sweep.cli.leaderboard import print_results

    for seed in (0, 1):
        ledger.train(planned(seed=seed, position=seed), {OBJECTIVE: 1.0}, collapsed=seed == 1)
    print_results(ledger.reader, "mine", as_json=False)
    shown = capsys.readouterr().out
    assert "2 (1 collapsed)" in shown
    assert f"collapsed: {MEANINGS['collapsed']}" in shown
    assert "diverged:" not in shown


def test_a_leaderboard_marks_an_arm_of_one_seed_and_says_what_that_means(
    ledger: LedgerFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from jit_sweep.cli.leaderboard import print_results

    ledger.train(planned(), {OBJECTIVE: 1.0})
    print_results(ledger.reader, "mine", as_json=False)
    shown = capsys.readouterr().out
    assert "1 (unreplicated)" in shown
    assert f"unreplicated: {MEANINGS['unreplicated']}" in shown
    ledger.train(planned(seed=1, position=1), {OBJECTIVE: 1.5})
    print_results(ledger.reader, "mine", as_json=False)
    assert "unreplicated" not in capsys.readouterr().out
