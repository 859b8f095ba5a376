"""A registered model: the right trial, with everything that is needed to use and to defend it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from jit_sweep.errors import UserError
from jit_sweep.home import Locations
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.models import model_folder
from jit_sweep.models.export import export
from jit_sweep.models.promote import Promotion
from jit_sweep.plan.entry import Entry
from jit_sweep.tracking.mirror import Mirror
from jit_sweep.tracking.registry import PREVIOUS, load
from tests.support.champions import champion_of
from tests.support.ledger import IMAGES, OBJECTIVE, LedgerFixture, planned
from tests.support.mlflow import MlflowStore
from trainables.config.trial import TrialConfig
from trainables.networks.registry import build
from trainables.storage.checkpoint import Store
from trainables.training.ema import Averages

X = {"prediction": "x"}
V = {"prediction": "v"}


@pytest.fixture
def checkpoints(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def averaged(entry: Entry) -> dict[str, Tensor]:
    """Weights that are not the initial ones."""
    tensors = Averages(build(entry.trial), entry.trial.ema, batch_size=entry.trial.batch_size).tensors["ema"]
    return {name: tensor + 0.5 for name, tensor in tensors.items()}


def commit(entry: Entry, checkpoints: str, *, images: int = IMAGES) -> None:
    tensors = {"model": {"raw": torch.zeros(1)}, "ema": averaged(entry)}
    Store(checkpoints).write(entry.trial_id, attempt=1, images=images, tensors=tensors, state={"images": images})


def train_arm(ledger: LedgerFixture, arm: dict[str, Any], values: Sequence[float], checkpoints: str) -> list[Entry]:
    entries = [planned(arm=arm, seed=seed) for seed in range(len(values))]
    for entry, value in zip(entries, values, strict=True):
        ledger.train(entry, {OBJECTIVE: value})
        commit(entry, checkpoints)
    return entries


def promote(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, *, trial: str | None = None, name: str = "demo"
) -> Promotion:
    locations = Locations(ledger="", tracking=store.uri, storage=checkpoints)
    reader = LedgerReader(ledger.engine)  # by the clock on the wall the ledger's lease ran out long ago
    return champion_of(reader, ledger.name, locations, trial=trial, name=name)


def file_of(store: MlflowStore, folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((load("demo", tracking_uri=store.uri, folder=folder) / name).read_text())
    return content


def test_the_best_arm_s_median_seed_becomes_the_champion(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    entries = train_arm(ledger, X, [3.0, 1.0, 2.0], checkpoints)
    train_arm(ledger, V, [9.0, 8.0, 7.0], checkpoints)
    made = promote(ledger, store, checkpoints)
    assert made.trial == entries[2].trial_id
    assert (made.version, made.previous) == (1, None)
    assert made.score == pytest.approx(6 ** (1 / 3))
    version = store.client.get_model_version_by_alias("demo", "champion")
    assert version.tags["trial"] == entries[2].trial_id
    assert version.tags["fresh_seeds"] == "3"
    assert str(version.source).startswith("runs:/")


def test_the_files_hold_the_averaged_weights_and_build_the_network(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    entry = train_arm(ledger, X, [1.0, 2.0], checkpoints)[1]
    promote(ledger, store, checkpoints)
    folder = load("demo", tracking_uri=store.uri, folder=tmp_path / "copy")
    assert {file.name for file in folder.iterdir()} == {
        "model.safetensors",
        "config.json",
        "scores.json",
        "lineage.json",
        "README.md",
    }
    expected = averaged(entry)
    torch.testing.assert_close(load_file(folder / "model.safetensors"), expected, rtol=0, atol=0)
    network = model_folder.load_network(folder)
    torch.testing.assert_close(dict(network.state_dict()), expected, rtol=0, atol=0)
    assert not network.training
    config = model_folder.read_config(folder)
    assert (config.trial, config.evaluation) == (entry.trial, entry.evaluation)


def test_what_a_term_of_the_loss_trains_beside_the_network_is_no_part_of_the_files(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    plain = planned(arm=X)
    terms = {"diffusion": {"terms": [{"kind": "classifier"}]}}
    entry = plain.model_copy(update={"trial": TrialConfig.model_validate({**plain.trial.model_dump(), **terms})})
    ledger.train(entry, {OBJECTIVE: 1.0})
    commit(entry, checkpoints)
    promote(ledger, store, checkpoints)
    folder = load("demo", tracking_uri=store.uri, folder=tmp_path / "copy")
    written, saved = load_file(folder / "model.safetensors"), averaged(entry)
    assert saved.keys() - written.keys() == {f"auxiliary.classifier.map.{kind}" for kind in ("weight", "bias")}
    assert model_folder.load_network(folder).state_dict().keys() == written.keys()


def test_scores_come_with_n_settings_and_the_arm_s_spread(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    train_arm(ledger, X, [1.0, 2.0, 6.0], checkpoints)
    promote(ledger, store, checkpoints)
    scores = file_of(store, tmp_path / "copy", "scores.json")
    assert (scores["n"], scores["evaluation"]["steps"], scores["values"]) == (64, 10, {OBJECTIVE: 2.0})
    assert scores["chosen"]["score_there"] == {"mean": 3.0, "sd": pytest.approx(7**0.5), "n": 3}
    assert scores["fresh"]["by_seed"] == {"0": 1.0, "1": 2.0, "2": 6.0}


def test_lineage_leads_back_to_sweep_data_code_and_checkpoint(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    entry = train_arm(ledger, X, [1.0, 2.0], checkpoints)[1]
    promote(ledger, store, checkpoints)
    lineage = file_of(store, tmp_path / "copy", "lineage.json")
    expected = {
        "sweep": "mine",
        "fingerprint": "f1",
        "trial": entry.trial_id,
        "attempt": 1,
        "images": IMAGES,
        "seed": 1,
        "data": entry.trial.data.digest,
        "checkpoint": f"{checkpoints}/trials/{entry.trial_id}/a0001/{IMAGES:012d}",
    }
    assert {name: lineage[name] for name in expected} == expected
    assert lineage["code"]["torch"] == torch.__version__


def test_the_former_champion_keeps_an_alias_of_its_own(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    old = train_arm(ledger, V, [5.0, 6.0], checkpoints)[1]
    promote(ledger, store, checkpoints)
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    made = promote(ledger, store, checkpoints)
    assert (made.version, made.previous) == (2, 1)
    before = load(f"demo@{PREVIOUS}", tracking_uri=store.uri, folder=tmp_path / "copy")
    assert model_folder.read_config(before).trial == old.trial
    assert model_folder.read_config(load("demo/1", tracking_uri=store.uri, folder=tmp_path / "one")).trial == old.trial


def collapse_arm(ledger: LedgerFixture, arm: dict[str, Any], checkpoints: str) -> list[Entry]:
    """Two seeds whose scores are far better than any, by accident."""
    entries = [planned(arm=arm, seed=seed) for seed in range(2)]
    for entry in entries:
        ledger.train(entry, {OBJECTIVE: 0.01}, collapsed=True)
        commit(entry, checkpoints)
    return entries


def test_noise_with_a_good_score_is_no_champion(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    collapse_arm(ledger, V, checkpoints)
    with pytest.raises(UserError, match="no configuration of mine does"):
        promote(ledger, store, checkpoints)
    best = train_arm(ledger, X, [8.0, 9.0], checkpoints)[1]
    assert promote(ledger, store, checkpoints).trial == best.trial_id


def test_a_sweep_without_a_score_has_no_champion(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    ledger.plan(planned(arm=X))
    with pytest.raises(UserError, match="no grid trial has"):
        promote(ledger, store, checkpoints)


def test_an_unknown_trial_is_refused_with_the_nearest(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    entry = train_arm(ledger, X, [1.0], checkpoints)[0]
    with pytest.raises(UserError, match=f"did you mean {entry.trial_id}"):
        promote(ledger, store, checkpoints, trial=f"{entry.trial_id[:-1]}-")


def test_a_checkpoint_that_is_gone_registers_nothing(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    for seed, value in enumerate((1.0, 2.0)):
        entry = planned(arm=X, seed=seed)
        ledger.train(entry, {OBJECTIVE: value})
        commit(entry, checkpoints, images=IMAGES // 2)
    with pytest.raises(UserError, match=f"must have its checkpoint at {IMAGES} images in {checkpoints}, got {IMAGES // 2}"):
        promote(ledger, store, checkpoints)
    assert not store.client.search_registered_models()


def test_a_damaged_checkpoint_is_refused(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    for file in Path(checkpoints).rglob("ema.safetensors"):
        os.truncate(file, 100)
    with pytest.raises(UserError, match="must keep its"):
        promote(ledger, store, checkpoints)


@pytest.mark.parametrize("held", [False, True])
def test_a_trial_whose_run_somebody_deleted_is_promoted_all_the_same(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, held: bool
) -> None:
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    Mirror(store.uri, ledger.reader, ledger.name, artifacts=store.artifacts).deliver()
    for run in store.runs("trial"):
        store.client.delete_run(run.info.run_id)
    if held:
        hold(ledger)
    assert promote(ledger, store, checkpoints).version == 1


def test_a_running_sweep_s_own_mirror_is_waited_for(ledger: LedgerFixture, store: MlflowStore, checkpoints: str) -> None:
    """Two processes that deliver one sweep would each make its runs."""
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    hold(ledger)
    with pytest.raises(UserError, match=r"alice@elsewhere .* runs the sweep and delivers it within seconds"):
        promote(ledger, store, checkpoints)
    Mirror(store.uri, ledger.reader, ledger.name, artifacts=store.artifacts).deliver()
    assert promote(ledger, store, checkpoints).version == 1


def hold(ledger: LedgerFixture) -> None:
    """Somebody runs the sweep, by the clock on the wall."""
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE lease SET expires_at = 9e9")


def test_a_model_that_is_not_there_is_told_with_those_that_are(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="there is no model 'demo'; promoting from a sweep registers one"):
        load("demo", tracking_uri=store.uri, folder=tmp_path)
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    promote(ledger, store, checkpoints)
    for wanted, told in [
        ("dmo", "there are demo"),
        ("demo@previous-champion", "demo has no 'previous-champion'"),
        ("demo/7", "demo has no '7'"),
        ("a b", "must be named as"),
    ]:
        with pytest.raises(UserError, match=told):
            load(wanted, tracking_uri=store.uri, folder=tmp_path)


def test_files_that_are_gone_are_told(ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path) -> None:
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    promote(ledger, store, checkpoints)
    champion = next(Path(checkpoints).rglob("champion"))
    champion.rename(tmp_path / "gone")
    with pytest.raises(UserError, match="must have its files"):
        load("demo", tracking_uri=store.uri, folder=tmp_path / "copy")


def test_an_export_is_the_champion_s_files(ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path) -> None:
    train_arm(ledger, X, [1.0, 2.0], checkpoints)
    promote(ledger, store, checkpoints)
    target = tmp_path / "new" / "model"
    names = export("demo", target, tracking_uri=store.uri)
    assert names == ["README.md", "config.json", "lineage.json", "model.safetensors", "scores.json"]
    assert sorted(file.name for file in target.iterdir()) == names
    assert [file.name for file in target.parent.iterdir()] == ["model"]


def test_an_export_overwrites_nothing_and_leaves_nothing_half_made(
    ledger: LedgerFixture, store: MlflowStore, checkpoints: str, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").touch()
    with pytest.raises(UserError, match="new or empty"):
        export("demo", full, tracking_uri=store.uri)
    with pytest.raises(UserError, match="no model"):
        export("demo", tmp_path / "made", tracking_uri=store.uri)
    assert not (tmp_path / "made").exists()


def test_a_folder_that_holds_no_champion_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="must hold a config.json"):
        model_folder.load_network(tmp_path)
