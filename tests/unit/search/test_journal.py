"""The Optuna journal of a sweep: what the ledger has, read back by Optuna itself."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from jit_sweep.cli.model_app import export
from jit_sweep.errors import UserError
from jit_sweep.ledger.reader import LedgerReader
from jit_sweep.ledger.records import Cause, EntryRow, EntryState
from jit_sweep.search.journal import export_journal
from jit_sweep.search.study import CONSTRAINT
from jit_sweep.spec.sweep import SweepSpec
from tests.support.ledger import FACTS, IMAGES, OBJECTIVE, LedgerFixture, ended, planned, scored
from tests.support.sweep_files import tiny_sweep
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.networks.cost import training_flops
from trainables.report import Rung

RATE = {"low": 1e-4, "high": 1e-1, "log": True}
STAGES = [
    {"grid": {"axes": {"patch_size": [8, 16]}, "seeds": 2}},
    {"search": {"trials": 9, "axes": {"learning_rate": RATE}}},
    {"search": {"trials": 9, "axes": {"learning_rate": RATE}, "objectives": [OBJECTIVE, "train_tflops"]}},
]


def entry(stage: int, position: int, rate: float, **more: Any) -> Any:
    return planned(stage=stage, position=position, arm={"learning_rate": rate}, origin="search", **more)


@pytest.fixture
def ledger(ledger: LedgerFixture) -> LedgerFixture:
    """A grid of one trained and one waiting trial, a search with every outcome but pruned, and one of two objectives."""
    spec = SweepSpec.model_validate(tiny_sweep(name="mine", stages=STAGES))
    ledger.writer.register("mine", fingerprint="f1", identity=FACTS, spec=spec.model_dump(mode="json", by_alias=True))
    ledger.train(planned(arm={"patch_size": 16}, seed=1), {OBJECTIVE: 5.0})
    ledger.plan(planned(arm={"patch_size": 8}, position=1))
    measured = entry(1, 0, 1e-3)
    ledger.plan(measured)
    rung = Rung(images=IMAGES // 2, values={RUNG_METRIC: 7.0})
    ledger.tell(ledger.begin(measured), rung, scored(measured, {OBJECTIVE: 3.0}), ended(measured))
    ledger.diverge(entry(1, 1, 5e-2), images=480)
    failed, running = entry(1, 2, 2e-3), entry(1, 3, 4e-3)
    ledger.plan(failed, running)
    ledger.writer.fail(failed.trial_id, ledger.begin(failed).number, cause=Cause.BUG, detail="why")
    ledger.begin(running)
    ledger.train(entry(2, 0, 3e-3), {OBJECTIVE: 2.0})
    return ledger


def storage(file: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(file)))


def exported(ledger: LedgerFixture, folder: Path, stage: int) -> list[FrozenTrial]:
    file = folder / "mine.journal"
    export_journal(ledger.reader, "mine", file)
    return optuna.load_study(study_name=f"mine/{stage}", storage=storage(file)).trials


def test_every_stage_is_a_study_with_its_objectives(ledger: LedgerFixture, tmp_path: Path) -> None:
    file = tmp_path / "mine.journal"
    names = export_journal(ledger.reader, "mine", file)
    assert optuna.study.get_all_study_names(storage(file)) == names == ["mine/0", "mine/1", "mine/2"]
    studies = [optuna.load_study(study_name=name, storage=storage(file)) for name in names]
    assert [study.metric_names for study in studies] == [[OBJECTIVE], [OBJECTIVE], [OBJECTIVE, "train_tflops"]]
    assert [len(study.directions) for study in studies] == [1, 1, 2]


def test_a_trial_that_the_budget_does_not_hold_waits(ledger: LedgerFixture, tmp_path: Path) -> None:
    ledger.plan(left := entry(2, 1, 5e-3))
    ledger.writer.end_budget("mine", [left.key], why="it is spent")
    assert [trial.state for trial in exported(ledger, tmp_path, 2)] == [TrialState.COMPLETE, TrialState.WAITING]


def test_trials_come_back_with_what_the_ledger_has_of_them(ledger: LedgerFixture, tmp_path: Path) -> None:
    trials = exported(ledger, tmp_path, 1)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, TrialState.RUNNING]
    assert [trial.params for trial in trials] == [{"learning_rate": rate} for rate in (1e-3, 5e-2, 2e-3, 4e-3)]
    assert trials[0].distributions == {"learning_rate": FloatDistribution(1e-4, 1e-1, log=True)}
    assert [trial.value for trial in trials] == [3.0, None, None, None]
    assert trials[0].intermediate_values == {IMAGES // 2: 7.0}
    assert [trial.constraints for trial in trials] == [{}, {CONSTRAINT: 1.0}, {}, {}]


def test_attributes_lead_back_to_the_ledger(ledger: LedgerFixture, tmp_path: Path) -> None:
    trials = exported(ledger, tmp_path, 1)
    rows = [row for row in ledger.reader.entries("mine") if row.stage == 1]
    assert [trial.user_attrs["trial"] for trial in trials] == [row.trial_id for row in rows]
    assert [trial.user_attrs["cell"] for trial in trials] == [row.arm for row in rows]
    assert [trial.user_attrs.get("cause") for trial in trials] == [None, "diverged", "bug", None]
    assert trials[2].user_attrs["detail"] == "why"


def test_a_grid_is_a_study_of_choices_with_its_seeds(ledger: LedgerFixture, tmp_path: Path) -> None:
    trials = exported(ledger, tmp_path, 0)
    assert trials[0].distributions == {"patch_size": CategoricalDistribution((8, 16))}
    assert [(trial.state, trial.user_attrs["seed"]) for trial in trials] == [(TrialState.COMPLETE, 1), (TrialState.WAITING, 0)]


def test_every_objective_has_its_value(ledger: LedgerFixture, tmp_path: Path) -> None:
    (trial,) = exported(ledger, tmp_path, 2)
    assert trial.values == pytest.approx([2.0, training_flops(entry(2, 0, 3e-3).trial, images=IMAGES) / 1e12])


def test_times_are_those_of_the_last_attempt(ledger: LedgerFixture, tmp_path: Path) -> None:
    (trial,) = exported(ledger, tmp_path, 2)
    attempt = ledger.row(entry(2, 0, 3e-3)).attempt
    assert attempt is not None
    assert trial.datetime_start is not None
    assert trial.datetime_start.timestamp() == attempt.started_at


class _Pruned(LedgerReader):
    """The ledger as it would be had the scheduler stopped what diverged."""

    def entries(self, sweep: str, *, trials: Collection[str] | None = None, every: bool = False) -> list[EntryRow]:
        rows = super().entries(sweep, trials=trials, every=every)
        return [replace(row, state=EntryState.PRUNED) if row.state is EntryState.DIVERGED else row for row in rows]


def test_a_pruned_trial_is_pruned(ledger: LedgerFixture, tmp_path: Path) -> None:
    export_journal(_Pruned(ledger.engine), "mine", tmp_path / "mine.journal")
    trial = optuna.load_study(study_name="mine/1", storage=storage(tmp_path / "mine.journal")).trials[1]
    assert (trial.state, trial.value, trial.constraints) == (TrialState.PRUNED, None, {})


def test_a_value_from_before_the_file_changed_is_exported_all_the_same(ledger: LedgerFixture, tmp_path: Path) -> None:
    ledger.train(entry(1, 4, 0.5), {OBJECTIVE: 8.0})
    trials = exported(ledger, tmp_path, 1)
    assert trials[4].params == {"learning_rate": 0.5}
    assert isinstance(trials[0].distributions["learning_rate"], CategoricalDistribution)


def test_a_search_can_be_analysed_from_its_journal_alone(ledger: LedgerFixture, tmp_path: Path) -> None:
    for position, rate in enumerate((1e-2, 2e-2, 3e-2), start=4):
        ledger.train(entry(1, position, rate), {OBJECTIVE: rate})
    export_journal(ledger.reader, "mine", tmp_path / "mine.journal")
    study = optuna.load_study(study_name="mine/1", storage=storage(tmp_path / "mine.journal"))
    assert study.best_trial.params == {"learning_rate": 1e-2}


def test_an_existing_file_is_never_written_to(ledger: LedgerFixture, tmp_path: Path) -> None:
    file = tmp_path / "mine.journal"
    file.write_text("mine")
    with pytest.raises(UserError, match="must be a new file, got .*mine.journal, which exists; give another name"):
        export_journal(ledger.reader, "mine", file)
    assert file.read_text() == "mine"
    with pytest.raises(UserError, match="must be a file that can be made"):
        export_journal(ledger.reader, "mine", tmp_path / "none" / "mine.journal")


def test_an_unknown_sweep_makes_no_file(ledger: LedgerFixture, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no sweep 'mien'; did you mean 'mine'"):
        export_journal(ledger.reader, "mien", tmp_path / "mine.journal")
    assert not (tmp_path / "mine.journal").exists()


def test_the_command_writes_the_journal_and_says_how_to_look_at_it(
    ledger: LedgerFixture, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.journal"
    assert export("mine", optuna=file, home_folder=tmp_path) == 0
    assert f"optuna-dashboard {file}" in capfd.readouterr().out
    assert len(optuna.load_study(study_name="mine/1", storage=storage(file)).trials) == 4


@pytest.mark.parametrize(
    ("folder", "file", "got"), [(None, None, "got neither"), (Path("a"), Path("b"), "got a and --optuna b")]
)
def test_the_command_needs_either_a_folder_or_a_journal(tmp_path: Path, folder: Path, file: Path, got: str) -> None:
    with pytest.raises(UserError, match=got):
        export("mine", folder, optuna=file, home_folder=tmp_path)


def test_optuna_dashboard_opens_the_file(ledger: LedgerFixture, tmp_path: Path) -> None:
    dashboard_storage: Any = pytest.importorskip("optuna_dashboard._storage_url")

    file = tmp_path / "mine.journal"
    export_journal(ledger.reader, "mine", file)
    opened = dashboard_storage.get_storage(str(file))
    assert [study.study_name for study in opened.get_all_studies()] == ["mine/0", "mine/1", "mine/2"]
