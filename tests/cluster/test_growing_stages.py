"""Stages that plan more as they run, on a real Ray: seeds that race and arms that are tuned, interrupted and gone on with."""

import json
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jit_sweep.doctor.looks import of_looks
from jit_sweep.doctor.replay import every_event
from jit_sweep.ledger.event_records import Begun, EntriesAdded
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import EntryState, SweepState
from jit_sweep.results.findings import Findings, Outcome
from jit_sweep.results.leaderboard import read_results
from jit_sweep.spec.nuisance import FIRST_TUNING
from jit_sweep.statistics.sequential import Looks
from tests.support.cli import Running, jit_sweep
from tests.support.played import PlayedHome
from tests.support.ray_head import Head
from tests.support.sweep_files import shaded_colours, write_sweep
from tests.unit.statistics.test_contrasts import Judged
from trainables.config.evaluation import GuidingClassifier

ERROR = "heldout_v_error"
SMALL: dict[str, Any] = {"objective": ERROR, "budget": {"images_per_trial": 640, "rungs": 4}}


def reader_of(folder: Path) -> LedgerReader:
    return LedgerReader.open(f"sqlite:///{folder}/.jit-sweep/ledger.db")


def interrupted(head: Head, file: str, *, begun: int, cwd: Path) -> None:
    """Run a file, and interrupt it when so many of its trials have reached a rung."""

    def have(said: str) -> bool:
        return len({line.split()[1] for line in said.splitlines() if f" images, {ERROR}" in line}) >= begun

    with Running("run", file, "--address", head.address, cwd=cwd, env=head.client_env) as command:
        command.until(have)
        assert command.end(signal.SIGINT) == 130, command.said


def to_the_end(head: Head, file: str, *, cwd: Path) -> str:
    """Run a file, and say what was printed."""
    done = jit_sweep("run", file, "--address", head.address, cwd=cwd, **head.client_env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_nothing_twice(reader: LedgerReader) -> None:
    """Nothing was asked, planned or trained twice: what an interrupt had saved was gone on from."""
    rows, events = reader.entries("tiny"), every_event(reader, "tiny")
    assert {row.state for row in rows} == {EntryState.DONE}
    assert len(reader.asked("tiny")) == 1
    added = [facts["key"] for each in events if isinstance(each.content, EntriesAdded) for facts in each.content.planned]
    assert sorted(added) == sorted(row.key for row in rows)
    since = {(each.trial_id, each.attempt): each.content.images for each in events if isinstance(each.content, Begun)}
    for row in rows:
        own = [each for each in reader.attempts("tiny") if each.trial_id == row.trial_id]
        assert sum(each.images - since[each.trial_id, each.number] for each in own) == row.images


def played(folder: Path, file: str, reader: LedgerReader) -> PlayedHome:
    """The same file in one go and without Ray, by the scores that the trials have here."""
    scores = {(row.trial_id, row.evaluation_id): row.by_name for row in reader.scores("tiny")}
    folder.mkdir()
    home = PlayedHome(folder, score=lambda row, metric: scores[row.trial_id, row.evaluation_id][metric])
    assert home.run(yaml.safe_load(Path(file).read_text())) is SweepState.DONE
    return home


def findings(reader: LedgerReader) -> Findings:
    return read_results(reader, "tiny").findings


def assert_as_played(reader: LedgerReader, home: PlayedHome) -> None:
    """The same trials, in the same places, and the same verdicts to the letter."""
    assert [(row.key, row.position) for row in reader.entries("tiny")] == [(row.key, row.position) for row in home.rows()]
    assert [each.line for each in findings(reader).planned] == [each.line for each in findings(home.reader).planned]


CHANGES: dict[str, dict[str, Any]] = {"far": {"prediction": "eps"}, "near": {"learning_rate": 1.01e-3}}
"""Of the first three seeds say that it is worse, of the second no few seeds say anything."""
LEAST, MOST, ALPHA = 3, 5, 0.05


@pytest.mark.long
def test_seeds_race_through_an_interrupt_to_the_verdicts_that_their_scores_have(tmp_path: Path, head: Head) -> None:
    ablation = {"kind": "one_at_a_time", "changes": CHANGES, "seeds": {"min": LEAST, "max": MOST}}
    file = write_sweep(tmp_path, data=shaded_colours(tmp_path), stages=[{"ablation": ablation}], alpha=ALPHA, **SMALL)
    interrupted(head, file, begun=3 * LEAST + 1, cwd=tmp_path)
    reader = reader_of(tmp_path)
    assert max(row.seed for row in reader.entries("tiny")) == LEAST, "one look was taken, and the next was to come"
    to_the_end(head, file, cwd=tmp_path)
    assert_nothing_twice(reader)
    assert_as_played(reader, played(tmp_path / "played", file, reader))
    assert [*of_looks(reader, "tiny")] == []

    of_far, of_near = findings(reader).planned
    assert of_far.outcome is Outcome.REAL
    assert of_near.outcome is not Outcome.REAL
    scores = {name: scores_of(reader, change) for name, change in {"baseline": {}, **CHANGES}.items()}
    assert {name: len(of) for name, of in scores.items()} == {"baseline": MOST, "far": LEAST, "near": MOST}
    expected = raced_apart(scores)
    assert [of_far.adjusted_p, of_near.adjusted_p] == pytest.approx([expected["far"], expected["near"]], rel=1e-6)


def scores_of(reader: LedgerReader, arm: Mapping[str, Any]) -> list[float]:
    """The logarithms of an arm's errors, by seed."""
    values = {row.trial_id: row.by_name[ERROR] for row in reader.scores("tiny")}
    rows = sorted((row.seed, row.trial_id) for row in reader.entries("tiny") if row.arm == arm)
    return [math.log(values[trial]) for _, trial in rows]


def raced_apart(scores: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The p of each arm against the baseline over all looks, by Holm over both, of the second judge of contrasts.

    An arm whose question a look decides takes part in no later one.
    """
    looks, own, p = Looks(range(LEAST, MOST + 1)), {"far": list[float](), "near": list[float]()}, dict[str, float]()
    adjusted: dict[str, float] = {}
    for count in range(LEAST, MOST + 1):
        table = np.array([[*of[:count], *[math.nan] * (count - len(of))] for of in scores.values()])
        for place, arm in enumerate(own, start=1):
            if adjusted.get(arm, 1.0) > ALPHA:
                c = np.zeros(len(table))
                c[[0, place]] = -1, 1
                own[arm].append(Judged(table, c).p)
                p[arm] = float(looks.p(own[arm]))
        low, high = sorted(p, key=lambda arm: p[arm])
        adjusted = {low: 2 * p[low], high: max(2 * p[low], p[high])}
    return adjusted


TUNED = {"axes": {"learning_rate": [3e-3, 1e-2]}, "trials": 2}
BATCHES = {8: 3e-3, 32: 1e-2}
"""The learning rate at which each batch size learns more: the larger one takes fewer steps."""


@pytest.mark.long
def test_arms_are_tuned_through_two_interrupts_and_judged_at_their_best_by_other_seeds(tmp_path: Path, head: Head) -> None:
    grid = {"axes": {"batch_size": [*BATCHES]}, "seeds": 3, "nuisance": TUNED}
    file = write_sweep(tmp_path, data=shaded_colours(tmp_path), stages=[{"grid": grid}], **SMALL)
    interrupted(head, file, begun=1, cwd=tmp_path)
    reader = reader_of(tmp_path)
    assert {row.origin for row in reader.entries("tiny")} == {"tuning"}, "no arm is trained before all are tuned"
    interrupted(head, file, begun=5, cwd=tmp_path)
    said = to_the_end(head, file, cwd=tmp_path)
    assert_nothing_twice(reader)
    assert_as_played(reader, played(tmp_path / "played", file, reader))

    rows = {origin: [row for row in reader.entries("tiny") if row.origin == origin] for origin in ("tuning", "grid")}
    assert {row.seed for row in rows["tuning"]} == {FIRST_TUNING}
    assert sorted((row.trial.batch_size, row.trial.optimiser.learning_rate, row.seed) for row in rows["grid"]) == [
        (*arm, seed) for arm in BATCHES.items() for seed in range(3)
    ]
    assert {trial.entry.seed for arm in findings(reader).planned[0].arms for trial in arm.trials} == {0, 1, 2}
    assert_both_views(said, tmp_path, {row.trial_id: row.by_name[ERROR] for row in reader.scores("tiny")})


def assert_both_views(said: str, folder: Path, values: Mapping[str, float]) -> None:
    """Each arm at its best setting and at the one that is best for all, in the table and as JSON, with its tuning score."""
    contents = json.loads(jit_sweep("leaderboard", "tiny", "--json", cwd=folder).stdout)
    tried = {
        (row["cell"]["batch_size"], row["setting"]["learning_rate"]): row for row in contents["rows"] if row["kind"] == "tuning"
    }
    assert tried.keys() == {(batch, rate) for batch in BATCHES for rate in BATCHES.values()}
    scores = {key: values[row["trials"][0]["trial"]] for key, row in tried.items()}
    assert {key: row["score"] for key, row in tried.items()} == scores
    assert {key for key, row in tried.items() if row["best_of_its_arm"]} == {*BATCHES.items()}
    shared = min(BATCHES.values(), key=lambda rate: sum(scores[batch, rate] for batch in BATCHES))
    assert {key for key, row in tried.items() if row["best_for_all"]} == {(batch, shared) for batch in BATCHES}
    lines = [line.split() for line in said.splitlines()]
    for batch, best in BATCHES.items():
        views = [(f"learning_rate={rate}", f"{scores[batch, rate]:.5g}") for rate in (best, shared)]
        assert [f"batch_size={batch}", *views[0], *views[1]] in lines


def test_samples_are_guided_by_the_best_classifier_which_is_known_as_the_sweep_runs(tmp_path: Path, head: Head) -> None:
    of_brightness = shaded_colours(tmp_path)
    pixels = np.load(of_brightness["uri"])["images"]
    np.savez(of_brightness["uri"], images=pixels, labels=(pixels.mean((1, 2, 3)) > 127).astype(np.int64))
    own = {"where": {"preset": "classifier-tiny"}, "images_per_trial": 640}
    axes = {"preset": ["classifier-tiny"], "pool": ["attention", "adaptive"], "batch_size": [8]}
    guides = {"name": "guides", "grid": {"axes": axes, "cells": [own]}}
    guided = {"name": "guided", "grid": {"axes": {"classifier": ["guides best", None]}}}
    file = write_sweep(tmp_path, data=of_brightness, stages=[guides, guided], scheduler={"kind": "none"})
    said = jit_sweep("plan", file, cwd=tmp_path).stdout
    assert "planned once it is known which is guides best (of 2 arms, by heldout_cross_entropy)" in " ".join(said.split())
    to_the_end(head, file, cwd=tmp_path)
    reader = reader_of(tmp_path)
    assert_nothing_twice(reader)

    rows, scores = reader.entries("tiny"), {row.trial_id: row for row in reader.scores("tiny")}
    best = min((row for row in rows if row.stage == 0), key=lambda row: scores[row.trial_id].by_name["heldout_cross_entropy"])
    found = {row.arm["classifier"]: row for row in rows if row.stage == 1}
    assert found["guides best"].evaluation.guide == GuidingClassifier(trial=best.trial_id, images=best.images)
    assert found[None].evaluation.guide is None
    assert found[None].trial_id == found["guides best"].trial_id
    assert len(rows) == 2 + 2
    begun = {row.key: row.attempt.started_at for row in rows if row.attempt is not None}
    assert min(begun[row.key] for row in found.values()) > max(begun[row.key] for row in rows if row.stage == 0)
