"""The training loop: the same trial gives the same weights, however it was interrupted or cut up."""

import itertools
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.paths import FEW_HELD_OUT, FEW_IMAGES
from tests.support.trials import is_of_flows, small_model, small_trial
from trainables.assignment import Assignment
from trainables.config.average import DecayEma, HalfLifeEma
from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import LinearEmbedding
from trainables.config.optimiser import OptimiserConfig
from trainables.config.trial import DataConfig, TrialConfig
from trainables.data import DataError, describe
from trainables.evaluation.metrics.registry import RUNG_METRIC, metrics_under
from trainables.networks.cost import training_flops
from trainables.process_caches import clear_process_caches
from trainables.report import Activity, Committed, Decision, Ended, Phase, Progress, Report, Rung, Scored, SetBack
from trainables.storage.checkpoint import Store
from trainables.train import Reports, train
from trainables.training.learner import Learner
from trainables.training.usage import cpus, host
from trainables.training.workers import Ask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
BATCH = 8
READING = "reading the real images' features"
DATA = describe(FEW_IMAGES, holdout=FEW_HELD_OUT)


def trial(*, dropout: float = 0.0, learning_rate: float = 1e-3, **diffusion: object) -> TrialConfig:
    layers = {"patch_size": 16, "width": 16, "depth": 4, "heads": 2, "class_tokens": 2, "class_tokens_start": 1}
    return small_trial(
        small_model(**layers, embedding=LinearEmbedding(), dropout=dropout),
        data=DataConfig(digest=DATA.digest, image_size=32, num_classes=DATA.num_classes),
        diffusion=DiffusionConfig.model_validate(diffusion),
        optimiser=OptimiserConfig(learning_rate=learning_rate, warmup_images=BATCH),
        ema=(DecayEma(decay=0.9),),
        batch_size=BATCH,
    )


def assignment(store: Path, *, steps: int, of: TrialConfig | None = None, scored: bool = False, **more: object) -> Assignment:
    evaluations = (EvaluationConfig(n=8, sampler="euler", steps=2),) if scored else ()
    data = {"data": FEW_IMAGES, "holdout": FEW_HELD_OUT}
    return Assignment.model_validate(
        {"trial": of or trial(), "images": steps * BATCH, "evaluations": evaluations, "storage": str(store), **data, **more}
    )


def weights(work: Assignment) -> dict[str, Tensor]:
    """Every tensor of the checkpoint at the end of an assignment: weights, average and optimiser."""
    store = Store(work.storage)
    commit = store.latest(work.trial.id, most_images=work.images)
    assert commit is not None
    assert commit.images == work.images
    return {
        f"{part}/{name}": tensor for part, tensors in store.read(commit).tensors.items() for name, tensor in tensors.items()
    }


def assert_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def run(work: Assignment, **how: object) -> list[Report]:
    return list(train(work, **how))  # type: ignore[arg-type]


def answered(reports: Reports, decisions: Mapping[int, Decision]) -> list[Report]:
    """All reports of a trial whose rungs are answered by image count; one that is left out is answered with None."""
    heard: list[Report] = []
    answer: Decision | None = None
    with suppress(StopIteration):
        while True:
            heard.append(reports.send(answer))
            answer = decisions.get(heard[-1].images) if isinstance(heard[-1], Rung) else None
    return heard


def test_the_same_trial_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    first, second = assignment(tmp_path / "a", steps=6), assignment(tmp_path / "b", steps=6)
    run(first)
    torch.rand(1000)
    run(second)
    assert_same(weights(first), weights(second))


def test_a_trial_that_is_scored_elsewhere_ends_as_trained_and_has_the_same_scores(tmp_path: Path) -> None:
    whole = run(assignment(tmp_path / "a", steps=4, scored=True))
    trained = run(assignment(tmp_path / "b", steps=4, scored=True, scores=False))
    assert isinstance(trained[-1], Ended)
    assert trained[-1].outcome == "trained"
    assert not [report for report in trained if isinstance(report, Scored)]
    later = run(assignment(tmp_path / "b", steps=4, scored=True))
    assert not [report for report in later if isinstance(report, Phase | Progress)], "nothing is trained again"
    first, second = (next(report for report in reports if isinstance(report, Scored)) for reports in (whole, later))
    assert first.values == second.values
    assert_same(weights(assignment(tmp_path / "a", steps=4)), weights(assignment(tmp_path / "b", steps=4)))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    first = assignment(tmp_path, steps=2)
    second = assignment(tmp_path, steps=2, of=trial().model_copy(update={"seed": 1}))
    run(first)
    run(second)
    assert any(not torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


@pytest.mark.parametrize(
    ("dropout", "optimiser"),
    [(0.0, {}), (0.2, {}), (0.0, {"schedule": {"kind": "cosine", "total_images": 10 * BATCH}, "grad_clip": 0.1})],
    ids=["plain", "dropout", "cosine and clip"],
)
def test_five_and_five_steps_equal_ten_with_optimiser_and_average(
    tmp_path: Path, dropout: float, optimiser: dict[str, object]
) -> None:
    base = trial(dropout=dropout)
    config = TrialConfig.model_validate({**base.model_dump(), "optimiser": {**base.optimiser.model_dump(), **optimiser}})
    whole = assignment(tmp_path / "whole", steps=10, of=config)
    run(whole)
    run(assignment(tmp_path / "halves", steps=5, of=config))
    halves = assignment(tmp_path / "halves", steps=10, of=config)
    reports = run(halves, attempt=2)
    phase = reports[0]
    assert isinstance(phase, Phase)
    assert (phase.start, phase.images) == ("checkpoint", 5 * BATCH)
    assert_same(weights(whole), weights(halves))


def test_a_trial_that_was_asked_to_stop_saves_and_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, stopped = assignment(tmp_path / "whole", steps=6), assignment(tmp_path / "stopped", steps=6)
    run(whole)
    asked = iter([False, False, True])
    end = run(stopped, interrupted=lambda: next(asked))[-1]
    assert isinstance(end, Ended)
    assert (end.outcome, end.images) == ("paused", 3 * BATCH)
    run(stopped, attempt=2)
    assert_same(weights(whole), weights(stopped))


def test_the_checkpoint_on_the_way_is_gone_once_the_next_is_committed(tmp_path: Path) -> None:
    work = assignment(tmp_path, steps=4)
    asked = iter([False, True])
    run(work, interrupted=lambda: next(asked))
    run(work, attempt=2)
    store = Store(work.storage)
    assert store.latest(work.trial.id, most_images=3 * BATCH) is None
    assert store.latest(work.trial.id, most_images=4 * BATCH) is not None


def damaged(work: Assignment, *, images: int, what: str) -> None:
    """Spoil a committed checkpoint: one of its files, or its marker."""
    store = Store(work.storage)
    commit = store.latest(work.trial.id, most_images=images)
    assert commit is not None
    assert commit.images == images
    file = Path(store.address(commit)) / "model.safetensors"
    marker = Path(work.storage) / f"trials/{work.trial.id}/commits/{images:012d}.json"
    (file if what == "file" else marker).write_bytes(b"{")


@pytest.mark.parametrize("what", ["file", "marker"])
def test_a_damaged_checkpoint_is_told_and_passed_over_and_the_weights_come_out_the_same(tmp_path: Path, what: str) -> None:
    whole, work = assignment(tmp_path / "whole", steps=6), assignment(tmp_path, steps=6, checkpoint_interval_s=1e-9)
    run(whole)
    run(work, interrupted=iter([False] * 4 + [True] * 9).__next__)
    damaged(work, images=5 * BATCH, what=what)
    reports = run(work, attempt=2)
    backs = [report for report in reports if isinstance(report, SetBack)]
    assert [(back.had, back.images) for back in backs] == [(5 * BATCH, 4 * BATCH)]
    assert backs[0].why
    phases = [(phase.images, phase.start) for phase in reports if isinstance(phase, Phase)]
    assert phases == [(4 * BATCH, "checkpoint")]
    assert_same(weights(whole), weights(work))


def test_of_a_trial_on_its_way_two_checkpoints_stay_and_of_one_that_ended_one(tmp_path: Path) -> None:
    work = assignment(tmp_path, steps=6, checkpoint_interval_s=1e-9)

    def committed() -> list[int]:
        markers = (Path(work.storage) / f"trials/{work.trial.id}/commits").glob("*.json")
        return sorted(int(marker.stem) // BATCH for marker in markers)

    run(work, interrupted=iter([False] * 3 + [True] * 9).__next__)
    assert committed() == [3, 4]
    run(work, attempt=2, interrupted=iter([True] * 9).__next__)
    assert committed() == [4, 5]
    run(work, attempt=3)
    assert committed() == [6]


def test_a_longer_budget_trains_what_was_collected_again_to_the_same_weights_and_says_so(tmp_path: Path) -> None:
    whole, work = assignment(tmp_path / "whole", steps=4), assignment(tmp_path, steps=2)
    run(whole)
    run(work)
    store = Store(work.storage)
    for saved in store.saved(work.trial.id):
        store.discard(saved)
    longer = assignment(tmp_path, steps=4, resume_from=work.images)
    reports = run(longer, attempt=2)
    backs = [(back.had, back.images) for back in reports if isinstance(back, SetBack)]
    assert backs == [(work.images, 0)]
    assert_same(weights(whole), weights(longer))


def test_a_damaged_end_is_trained_again_by_a_longer_budget(tmp_path: Path) -> None:
    work = assignment(tmp_path, steps=2)
    run(work)
    damaged(work, images=work.images, what="file")
    reports = run(assignment(tmp_path, steps=3, resume_from=work.images), attempt=2)
    assert [back.had for back in reports if isinstance(back, SetBack)] == [work.images]
    assert reports[-1].kind == "ended"


def test_the_micro_batch_changes_no_draw_and_the_weights_only_by_rounding(tmp_path: Path) -> None:
    whole = assignment(tmp_path / "whole", steps=4)
    parts = assignment(tmp_path / "parts", steps=4, micro_batch=3)
    run(whole)
    run(parts)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_rung_is_measured_at_its_image_count_and_its_decision_is_obeyed(tmp_path: Path) -> None:
    work = assignment(tmp_path, steps=6, rungs=(2 * BATCH, 4 * BATCH, 6 * BATCH))
    decisions = {2 * BATCH: Decision(), 4 * BATCH: Decision(verdict="pause", reason="behind")}
    reports = answered(train(work), decisions)
    assert [report.images for report in reports if isinstance(report, Rung)] == [2 * BATCH, 4 * BATCH]
    assert isinstance(reports[-2], Committed)
    assert reports[-1].model_dump(include={"outcome", "cause", "images"}) == {
        "outcome": "paused",
        "cause": "behind",
        "images": 4 * BATCH,
    }


@pytest.mark.parametrize("decisions", [{}, {2 * BATCH: Decision()}], ids=["nothing", "go on"])
def test_a_rung_that_is_not_answered_goes_on(tmp_path: Path, decisions: Mapping[int, Decision]) -> None:
    work = assignment(tmp_path, steps=4, rungs=(2 * BATCH, 4 * BATCH))
    reports = answered(train(work), decisions)
    assert [report.images for report in reports if isinstance(report, Rung)] == [2 * BATCH, 4 * BATCH]
    assert isinstance(reports[-1], Ended)
    assert (reports[-1].outcome, reports[-1].images) == ("done", 4 * BATCH)


def test_a_loss_that_is_not_finite_ends_the_trial_at_its_first_bad_step_and_nothing_is_committed(tmp_path: Path) -> None:
    work = assignment(tmp_path, steps=40, of=trial(learning_rate=1e30))
    end = run(work)[-1]
    assert isinstance(end, Ended)
    assert end.outcome == "diverged"
    assert end.first_bad_step is not None
    assert 1 < end.first_bad_step <= 5
    assert end.images == end.first_bad_step * BATCH
    assert sum(end.bad_t) == BATCH
    assert Store(work.storage).latest(work.trial.id, most_images=work.images) is None


def test_a_finished_trial_is_scored_on_equal_terms_without_training_again_and_tells_how_far_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.training.telling.INTERVAL_S", 0.0)
    work, told = assignment(tmp_path, steps=2, scored=True), list[Activity]()
    run(assignment(tmp_path, steps=2))
    clear_process_caches()
    reports = run(work, attempt=2, tell=told.append)
    drawn = [(each.done, each.of) for each in told if each.what == "drawing samples"]
    assert drawn == [(done, 16) for done in (0, 4, 8, 8, 12, 16)]
    assert {(each.what, each.done) for each in told if each.what != "drawing samples"} >= {(READING, 0)}
    assert {each.images for each in told} == {work.images}
    assert [type(report) for report in reports] == [Scored, Ended]
    scored = reports[0]
    assert isinstance(scored, Scored)
    assert scored.n == 8
    names = {metric.name for metric in metrics_under("efflite0", n=scored.n) if is_of_flows(metric)}
    assert scored.values.keys() == scored.raw_values.keys() == names
    assert scored.heldout.keys() >= {"fd_efflite0_96", "kid_efflite0_96"}
    assert Path(scored.grid).read_bytes().startswith(b"\x89PNG")
    again = run(work, attempt=3)[0]
    assert isinstance(again, Scored)
    assert (again.values, again.raw_values) == (scored.values, scored.raw_values)


def test_what_the_lead_asks_for_is_asked_once_however_late_it_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Ask] = []
    update = Learner.update

    def heard_later(self: Learner, *, ask: Ask = Ask.NOTHING) -> Ask:
        asked.append(ask)
        update(self, ask=ask)
        return asked[-3] if len(asked) > 2 else Ask.NOTHING

    monkeypatch.setattr(Learner, "update", heard_later)
    monkeypatch.setattr("trainables.train.REPORT_INTERVAL_S", 1e9)
    reports = run(assignment(tmp_path, steps=9, checkpoint_interval_s=1e-9))
    committed = [report.images // BATCH for report in reports if isinstance(report, Committed)]
    assert committed == [3, 6, 9]


def test_divergence_is_looked_for_every_fifty_updates_without_being_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.train.REPORT_INTERVAL_S", 1e9)
    asked = itertools.count()

    def never() -> bool:
        next(asked)
        return False

    end = run(assignment(tmp_path, steps=80, of=trial(learning_rate=1e30)), interrupted=never)[-1]
    assert isinstance(end, Ended)
    assert end.outcome == "diverged"
    assert next(asked) == 50


def test_data_that_is_not_the_planned_data_is_refused(tmp_path: Path) -> None:
    other = trial().model_copy(update={"data": trial().data.model_copy(update={"digest": "0" * 12})})
    with pytest.raises(ValueError, match="the data must be what the trial was planned on"):
        run(assignment(tmp_path, steps=1, of=other))


def test_progress_reports_steps_images_and_a_finite_loss(tmp_path: Path) -> None:
    last = [report for report in run(assignment(tmp_path, steps=5)) if isinstance(report, Progress)][-1]
    assert (last.step, last.images) == (5, 5 * BATCH)
    assert 0 < last.loss < 100
    assert last.images_per_second > 0
    assert last.flops == training_flops(trial(), images=5 * BATCH)
    assert last.mfu is None
    assert last.system["cpu_utilization_percentage"] > 0


def test_a_phase_says_where_the_weights_come_from_and_on_what_they_are_trained(tmp_path: Path) -> None:
    first = run(assignment(tmp_path, steps=2, micro_batch=3))[0]
    machine: dict[str, Any] = {"device": "cpu", "host": host(), "cpus": cpus()}
    assert first == Phase(images=0, start="seed", **machine, workers=1, micro_batch=3, activation_checkpointing=False)
    again = run(assignment(tmp_path, steps=4, activation_checkpointing=True), attempt=2)[0]
    assert isinstance(again, Phase)
    assert (again.images, again.start, again.micro_batch, again.activation_checkpointing) == (
        2 * BATCH,
        "checkpoint",
        BATCH,
        True,
    )


def test_averages_side_by_side_survive_an_interruption_and_the_evaluation_chooses_among_them(tmp_path: Path) -> None:
    averages = (DecayEma(name="fast", decay=0.5, warmup=False), HalfLifeEma(name="slow", images=4 * BATCH, warmup=False))
    both = TrialConfig.model_validate({**trial().model_dump(), "ema": averages})
    whole = assignment(tmp_path / "whole", steps=6, of=both)
    run(whole)
    run(assignment(tmp_path / "halves", steps=3, of=both))
    run(assignment(tmp_path / "halves", steps=6, of=both), attempt=2)
    found = weights(whole)
    assert_same(found, weights(assignment(tmp_path / "halves", steps=6, of=both)))
    assert not torch.equal(found["fast/head.weight"], found["slow/head.weight"])
    evaluations = tuple(EvaluationConfig(n=8, sampler="euler", steps=2, weights=name) for name in ("fast", "slow", "raw"))
    scored = [
        report for report in run(whole.model_copy(update={"evaluations": evaluations}), attempt=2) if isinstance(report, Scored)
    ]
    fast, slow, raw = (report.by_name for report in scored)
    assert len({values["heldout_v_error"] for values in (fast, slow, raw)}) == 3
    assert {values["heldout_v_error_raw"] for values in (fast, slow, raw)} == {raw["heldout_v_error"]}
    assert len({values["fd_efflite0_96"] for values in (fast, slow, raw)}) == 3


def test_an_evaluation_of_weights_that_the_trial_does_not_keep_is_refused(tmp_path: Path) -> None:
    evaluation = EvaluationConfig(n=8, sampler="euler", steps=2, weights="slow")
    with pytest.raises(ValueError, match="`weights` must be one of raw, ema, got 'slow'"):
        run(assignment(tmp_path, steps=1, evaluations=(evaluation,)))


def test_a_child_goes_on_from_its_parents_weights_and_is_a_trial_of_its_own(tmp_path: Path) -> None:
    parent = assignment(tmp_path, steps=3)
    run(parent)
    config = TrialConfig.model_validate({**trial().model_dump(), "parent": {"trial": parent.trial.id, "images": 3 * BATCH}})
    child = assignment(tmp_path, steps=2, of=config)
    reports = run(child)
    phase = reports[0]
    assert isinstance(phase, Phase)
    assert (phase.start, phase.parent, phase.images) == ("parent", f"{parent.trial.id}@{3 * BATCH}", 0)
    assert config.id != trial().id
    from_seed = assignment(tmp_path / "seed", steps=2)
    run(from_seed)
    assert not torch.equal(weights(child)["model/head.weight"], weights(from_seed)["model/head.weight"])


def test_a_parent_that_was_never_trained_there_is_refused(tmp_path: Path) -> None:
    config = TrialConfig.model_validate({**trial().model_dump(), "parent": {"trial": "0" * 12, "images": 8}})
    with pytest.raises(ValueError, match="`parent` must have a checkpoint at 8 images in the trial's storage, got none"):
        run(assignment(tmp_path, steps=1, of=config))


@pytest.mark.parametrize(("there", "said"), [(0, "got none"), (2, "got one at")])
def test_a_longer_budget_goes_on_from_the_finished_checkpoint_or_says_why_not(tmp_path: Path, there: int, said: str) -> None:
    finished, longer = assignment(tmp_path, steps=5), assignment(tmp_path, steps=10)
    longer = longer.model_copy(update={"resume_from": finished.images})
    if there:
        run(assignment(tmp_path, steps=there))
    with pytest.raises(DataError, match=f"must go on from the checkpoint at {finished.images} images, {said}"):
        run(longer)
    run(finished)
    phases = [report for report in run(longer) if isinstance(report, Phase)]
    assert [(phase.images, phase.start) for phase in phases] == [(finished.images, "checkpoint")]


def rungs(reports: list[Report]) -> dict[int, dict[str, float]]:
    """Values of each rung, by updates."""
    return {report.images // BATCH: report.by_name for report in reports if isinstance(report, Rung)}


def final(work: Assignment) -> Scored:
    """The scores at an assignment's end."""
    (scored,) = (report for report in run(work, attempt=9) if isinstance(report, Scored))
    return scored


@pytest.mark.parametrize("metric", ["fd_efflite0_96", "kid_efflite0_96_raw", "heldout_v_error_raw"])
def test_a_rung_of_another_metric_has_the_value_that_a_trial_ending_there_is_scored_with(tmp_path: Path, metric: str) -> None:
    work = assignment(tmp_path / "long", steps=4, scored=True, rungs=(2 * BATCH, 4 * BATCH), rung_metric=metric)
    reports = run(work)
    found = rungs(reports)
    assert [value.keys() for value in found.values()] == [{metric, RUNG_METRIC}] * 2
    ends = {steps: final(assignment(tmp_path / f"short-{steps}", steps=steps, scored=True)).by_name for steps in (2, 4)}
    assert found == {steps: {name: ends[steps][name] for name in (metric, RUNG_METRIC)} for steps in (2, 4)}
    scored = next(report for report in reports if isinstance(report, Scored))
    assert scored.by_name == ends[4]


def test_sampling_at_rungs_changes_no_weights(tmp_path: Path) -> None:
    plain = assignment(tmp_path / "plain", steps=4, scored=True, of=trial(dropout=0.2))
    sampled = assignment(
        tmp_path / "sampled", steps=4, scored=True, of=trial(dropout=0.2), rungs=(2 * BATCH,), rung_metric="fd_efflite0_96"
    )
    run(plain)
    run(sampled)
    assert_same(weights(plain), weights(sampled))


@pytest.mark.parametrize("at", [2, 4], ids=["on the way", "at the end"])
def test_a_rung_that_was_interrupted_while_sampling_is_measured_when_the_trial_goes_on(tmp_path: Path, at: int) -> None:
    more = {"scored": True, "rungs": (at * BATCH,), "rung_metric": "fd_efflite0_96"}
    whole, stopped = (assignment(tmp_path / name, steps=4, **more) for name in ("whole", "stopped"))  # type: ignore[arg-type]
    asked = iter([False] * at + [True])
    first = run(stopped, interrupted=lambda: next(asked))
    end = first[-1]
    assert isinstance(end, Ended)
    assert (end.outcome, end.images) == ("paused", at * BATCH)
    assert rungs(first) == {}
    assert isinstance(first[-2], Committed)
    second = run(stopped, attempt=2)
    assert rungs(second) == rungs(run(whole))
    assert [report.outcome for report in second if isinstance(report, Ended)] == ["done"]
    assert_same(weights(whole), weights(stopped))
    assert rungs(run(stopped, attempt=3)) == ({} if at < 4 else rungs(second))


def test_samples_that_are_no_numbers_at_a_rung_are_a_divergence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_numbers(network: torch.nn.Module, noise: Tensor, *_: object, **__: object) -> Tensor:
        return noise / 0 - noise / 0

    monkeypatch.setattr("trainables.methods.denoiser.sample", without_numbers)
    work = assignment(tmp_path, steps=4, scored=True, rungs=(2 * BATCH,), rung_metric="fd_efflite0_96")
    end = run(work)[-1]
    assert isinstance(end, Ended)
    assert (end.outcome, end.images, end.first_bad_step) == ("diverged", 2 * BATCH, 2)
    assert "generated pixels must be finite" in end.cause


def test_a_rung_metric_that_nothing_measures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`rung_metric` must be a registered metric, got 'fiid'"):
        assignment(tmp_path, steps=2, rung_metric="fiid")
    with pytest.raises(ValueError, match="`evaluations` must say how samples are drawn where rungs compare their score"):
        assignment(tmp_path, steps=2, rungs=(BATCH,), rung_metric="fd_efflite0_96")


def test_a_model_no_better_than_the_mean_image_is_marked_as_collapsed_and_keeps_its_scores(tmp_path: Path) -> None:
    quick = trial(learning_rate=1e-2)
    untrained = final(assignment(tmp_path, steps=1, scored=True, of=quick))
    assert untrained.collapsed
    assert "fd_efflite0_96" in untrained.values
    assert not final(assignment(tmp_path, steps=60, scored=True, of=quick)).collapsed
