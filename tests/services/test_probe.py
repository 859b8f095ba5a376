"""A probe measures each shape of a sweep once, in a process of its own, and the plan adds up what the sweep takes."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from jit_sweep.errors import UserError
from jit_sweep.estimate.measure import (
    MEASURE,
    Machine,
    MeasurementCache,
    Prober,
    key_of,
    lanes_of,
    machine_of,
    probed,
    request_of,
    speeds_here,
)
from jit_sweep.estimate.simulate import (
    LANE_START_S,
    TRIAL_START_S,
    Estimate,
    Job,
    checkpoint_bytes,
    estimate,
    largest_proposals,
    simulated,
)
from jit_sweep.home import home_at
from jit_sweep.plan.entry import Entry, Plan
from jit_sweep.plan.plan import plan
from jit_sweep.spec.sweep import Resources, SweepSpec
from tests.support.cli import jit_sweep
from tests.support.sweep_files import tiny_sweep, write_sweep
from tests.support.trials import lively, small_trial
from tests.test_layers import loaded_by
from trainables.config.evaluation import EvaluationConfig
from trainables.config.shape import speed_shape
from trainables.data import open_images
from trainables.diffusion.sampler import passes, sample
from trainables.training.learner import Learner
from trainables.training.measurement import Measured
from trainables.training.probe import measure
from trainables.training.workers import Workers

HERE = Machine("a processor", cpus=4, gpus=0)
SPEED = Measured(
    images_per_second=8.0,
    warmup_s=5.0,
    rung_s=1.0,
    sampled_s=10.0,
    peak_bytes=1,
    modelled_bytes=1,
    micro_batch=8,
    activation_checkpointing=False,
)
NOBODY = (sys.executable, "-c", "raise SystemExit('nobody may be asked')")
X = [{"grid": {"axes": {"prediction": ["x"]}, "seeds": 1}}]


def of(**changes: Any) -> Plan:
    return plan(SweepSpec.model_validate(tiny_sweep(**changes)), source="sweep.yaml")


def grid(**axes: Sequence[Any]) -> dict[str, Any]:
    return {"stages": [{"grid": {"axes": axes, "seeds": 1}}]}


def prober(place: Path, command: Sequence[str] = MEASURE, *, timeout_s: float = 120.0) -> Prober:
    return Prober(MeasurementCache(home_at(place)), HERE, lambda _: None, command=command, timeout_s=timeout_s)


def key(entry: Entry, found: Plan, *, machine: Machine = HERE, compiled: bool = True) -> str:
    return key_of(request_of(found.spec, entry, compiled=compiled), machine)


def adds_up(found: Plan, *, lanes: int = 1, measured: Measured = SPEED) -> Estimate:
    return estimate(found, lambda entry: key(entry, found), lambda _: measured, lanes=lanes)


def test_the_tuning_of_sampling_adds_its_time_to_the_estimate() -> None:
    evaluation = {"n": 8, "sampler": "euler", "steps": 2}
    plain = adds_up(of(evaluation=evaluation, stages=X), lanes=2)
    tuned = adds_up(of(evaluation={**evaluation, "tune": {"steps": [4], "n": 4}}, stages=X), lanes=2)
    assert tuned.tuning_s == pytest.approx((2 * 4 + 2 * 8) / 8 * SPEED.sampled_s * 2), "two settings, and steps of 4 for 2"
    assert tuned.wall_s == pytest.approx(plain.wall_s + tuned.tuning_s / 2)
    assert tuned.device_hours == pytest.approx(plain.device_hours + tuned.tuning_s / 3600)
    assert tuned.is_at_most
    assert not plain.is_at_most


@pytest.fixture(scope="module")
def measured_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that remembers the tiny sweep's one shape, measured on this machine."""
    folder = tmp_path_factory.mktemp("measured")
    told: list[str] = []
    spec = of(stages=X).spec
    asked = Prober(MeasurementCache(home_at(folder)), machine_of(spec), told.append)
    probed(of(stages=X), asked, compiled=True)
    assert told == ["measuring shape 1 of 1: prediction=x"]
    return folder


def test_a_real_probe_trains_evaluates_and_tells_its_memory(measured_home: Path) -> None:
    [found] = MeasurementCache(home_at(measured_home)).all().values()
    seen = found.measured
    assert seen.images_per_second > 1
    assert seen.sampled_s > seen.rung_s > 0
    assert 2**27 < seen.peak_bytes < 2**33, "a process with torch, and no more than that"
    assert seen.micro_batch == 8


def test_a_shape_that_is_known_is_not_measured_again(measured_home: Path) -> None:
    found = of()
    again = Prober(
        MeasurementCache(home_at(measured_home)), machine_of(found.spec), lambda told: pytest.fail(told), command=NOBODY
    )
    first, second = probed(found, again, compiled=True), probed(found, again, compiled=True)
    assert len(first.planned) == 2
    assert first == second


def test_another_device_is_measured_for_itself(measured_home: Path) -> None:
    with pytest.raises(UserError, match="nobody may be asked"):
        probed(of(), prober(measured_home, NOBODY), compiled=True)


def test_a_memory_that_cannot_be_read_is_made_anew(tmp_path: Path) -> None:
    name = key(of().entries[0], of())
    for broken in ("", "[]", '{"x": 1}', json.dumps({name: {"measured": {}}})):
        (tmp_path / "probes.json").write_text(broken)
        assert MeasurementCache(home_at(tmp_path)).all() == {}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.stdin.read(); print('hello')", "a probe must print its measurement, got 'hello'"),
        ("pass", "a probe must print its measurement, got ''"),
        ("import sys; sys.stderr.write('noise\\nout of luck\\n'); sys.exit(3)", "the probe ended with 3 and said: out of luck"),
        ("import os; os.kill(os.getpid(), 9)", "the probe ended with -9 and said: nothing"),
        ("import threading; threading.Event().wait()", "a probe must answer within 1 s, and did not"),
    ],
)
def test_a_probe_that_does_not_answer_as_it_should_is_told_with_its_cell(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        probed(of(), prober(tmp_path, (sys.executable, "-c", code), timeout_s=1.0), compiled=True)
    assert "every shape of the sweep must be measured, and these were not:\n  prediction=x: " in str(error.value)
    assert said in str(error.value)


def test_a_shape_that_does_not_fit_says_so_and_the_others_are_remembered(tmp_path: Path) -> None:
    # They take 3.4 and 1.9 MB.
    found = of(**grid(patch_size=[4, 16]), resources={"workers": 1, "cpus": 1, "memory_gib": 0.0026, "micro_batch": 8})
    with pytest.raises(UserError, match=r"  patch_size=4: the probe ended with 2 and said: 8 images at once must fit") as error:
        probed(found, prober(tmp_path), compiled=True)
    assert "patch_size=16" not in str(error.value)
    assert list(MeasurementCache(home_at(tmp_path)).all()) == [key(found.entries[1], found)]


def test_trials_that_differ_in_no_cost_share_a_shape() -> None:
    free = {"prediction": ["x", "v"], "t_eps_train": [0.0, 0.1], "learning_rate": [1e-3, 1e-4], "weights": ["ema", "raw"]}
    found = of(stages=[{"grid": {"axes": free, "seeds": 2}}])
    assert len(found.entries) == 32
    assert len({key(entry, found) for entry in found.entries}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        grid(patch_size=[8]),
        {"baseline": {**tiny_sweep()["baseline"], "precision": "bf16"}},
        grid(batch_size=[4]),
        {"baseline": {**tiny_sweep()["baseline"], "attention": "fp32"}},
        {"baseline": {**tiny_sweep()["baseline"], "compile": True}},
        {"baseline": {**tiny_sweep()["baseline"], "optimiser": {"grad_clip": 1.0}}},
        {"evaluation": {"n": 16, "sampler": "euler", "steps": 2}},
        {"evaluation": {"n": 8, "sampler": "heun", "steps": 2}},
        {"resources": {"cpus": 2}},
        {"resources": {"workers": 2}},
        {"resources": {"memory_gib": 2.0}},
        {"resources": {"micro_batch": 2}},
        {"resources": {"activation_checkpointing": True}},
    ],
    ids=str,
)
def test_whatever_changes_the_cost_makes_another_shape(changes: dict[str, Any]) -> None:
    found = of(**changes)
    assert key(found.entries[0], found) != key(of().entries[0], of())


def test_how_gradients_are_summed_is_measured_for_itself_only_where_they_are_summed() -> None:
    for workers, shapes in ((1, 1), (2, 2)):
        found = [of(resources={"workers": workers}, baseline=_summing(precision)) for precision in ("fp32", "bf16")]
        assert len({key(each.entries[0], each) for each in found}) == shapes


def _summing(precision: str) -> dict[str, Any]:
    return {**tiny_sweep()["baseline"], "gradient_sum": precision}


def test_a_probe_takes_one_worker_s_share_of_the_batch() -> None:
    found = of(resources={"workers": 2, "cpus": 1})
    asked = request_of(found.spec, found.entries[0])
    assert (asked.trial.batch_size, asked.workers) == (4, 2)


def guided() -> Plan:
    finder = {"name": "finder", "grid": {"axes": {"preset": ["classifier-tiny"], "batch_size": [8]}}}
    changes = {"guided": {"classifier": "finder", "classifier_scale": 4.0}}
    return of(stages=[finder, {"ablation": {"kind": "one_at_a_time", "changes": changes}}])


def test_a_probe_of_guided_samples_knows_the_network_that_guides() -> None:
    found = guided()
    trials = {entry.trial_id: entry.trial for entry in found.entries}
    finder, plain, by_finder = (request_of(found.spec, entry, trials=trials) for entry in found.entries)
    assert (finder.guide, by_finder.guide, plain.guide) == (None, found.entries[0].trial, None)
    assert measure(by_finder).sampled_s > 0
    assert key_of(plain, HERE) == key(found.entries[1], found)


def test_each_way_of_scoring_a_training_takes_its_own_time() -> None:
    found, seconds = of(**grid(sampling_steps=[2, 4])), {2: 1.0, 4: 7.0}

    def measured(entry: Entry) -> Measured:
        return SPEED.model_copy(update={"sampled_s": seconds[entry.evaluation.steps]})

    made = estimate(found, lambda entry: key(entry, found), measured, lanes=1)
    same = adds_up(found, measured=SPEED.model_copy(update={"sampled_s": 4.0}))
    assert len(made.jobs) == 1
    assert made.jobs[0].seconds == pytest.approx(same.jobs[0].seconds)


def test_what_is_planned_later_is_measured_with_the_rest(tmp_path: Path) -> None:
    nuisance = {"axes": {"learning_rate": [1e-3, 2e-3]}, "trials": 2}
    found = of(stages=[{"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": [0], "nuisance": nuisance}}])
    answering = (sys.executable, "-c", f"print({SPEED.model_dump_json()!r})")
    made = probed(found, prober(tmp_path, answering), compiled=True)
    assert len(made.jobs) == len(found.entries) + 2


def test_compilation_is_left_out_where_it_is_asked_to_be() -> None:
    found = of(baseline={**tiny_sweep()["baseline"], "compile": True})
    assert [request_of(found.spec, found.entries[0], compiled=each).trial.compile for each in (True, False)] == [True, False]


@pytest.mark.parametrize("guidance", [{}, {"guidance": 2.0, "interval": (0.0, 1.0)}, {"guidance": 2.0, "interval": (0.3, 0.7)}])
@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_passes_are_what_the_sampler_makes(sampler: str, guidance: dict[str, Any]) -> None:
    trial, seen = small_trial(), []
    network = lively(trial)
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    evaluation = EvaluationConfig.model_validate({"n": 2, "sampler": sampler, "steps": 5, **guidance})
    start, labels = torch.randn(2, 3, 16, 16), torch.zeros(2, dtype=torch.int64)
    sample(network, start, labels, diffusion=trial.diffusion, evaluation=evaluation, num_classes=trial.data.num_classes)
    assert passes(evaluation) * 2 == sum(seen)


def test_a_checkpoint_is_as_large_as_what_a_learner_saves() -> None:
    trial = of().entries[0].trial
    learner = Learner(trial, open_images("emoji32"), workers=Workers())
    learner.update()
    saved = sum(tensor.nbytes for part in learner.parts().values() for tensor in part.values())
    assert checkpoint_bytes(trial) == pytest.approx(saved, rel=0.01)


def job(entry: Entry, seconds: float, *, stage: int = 0, images: int = 16, shape: str = "a", warmup_s: float = 0.0) -> Job:
    placed = entry.model_copy(update={"stage": stage, "images": images})
    return Job(placed, shape, SPEED.model_copy(update={"warmup_s": warmup_s}), seconds)


def test_the_longest_trial_goes_first_to_the_lane_that_is_free_first() -> None:
    [entry, _] = of().entries
    jobs = [job(entry, 1.0, images=8), job(entry, 1.0, images=8), job(entry, 2.0, images=16)]
    assert simulated(jobs, lanes=2) == (2.0, 4.0)
    assert simulated(jobs, lanes=1) == (4.0, 4.0)


def test_a_stage_waits_for_the_one_before() -> None:
    [entry, _] = of().entries
    jobs = [job(entry, 3.0), job(entry, 1.0), job(entry, 2.0, stage=1)]
    assert simulated(jobs, lanes=2).wall_s == 5.0


def test_each_lane_warms_up_once_for_a_shape() -> None:
    [entry, _] = of().entries
    jobs = [job(entry, 1.0, shape=shape, warmup_s=10.0) for shape in "aaaab"]
    assert simulated(jobs, lanes=1).busy_s == 5.0 + 2 * 10.0
    assert simulated(jobs[:4], lanes=2) == (12.0, 4.0 + 2 * 10.0)


def test_a_trial_takes_its_training_its_rungs_and_its_scores_of_both_weights() -> None:
    found = of(stages=X)
    [trial] = adds_up(found).planned
    assert trial.seconds == pytest.approx(TRIAL_START_S + 16 / 8 + 2 * 1.0 + 2 * 10.0)
    raw = of(stages=X, evaluation={**tiny_sweep()["evaluation"], "weights": "raw"})
    assert adds_up(raw).planned[0].seconds == pytest.approx(trial.seconds - 10.0)


@pytest.mark.parametrize(("metric", "more"), [("heldout_v_error", 0.0), ("heldout_v_error_raw", 1.0), ("fd_efflite0_96", 10.0)])
def test_rungs_take_what_the_scheduler_compares(metric: str, more: float) -> None:
    scheduler = {"kind": "median", "first_rung": {"images": 8}, "metric": metric, "compare_within": []}
    early = of(stages=X, scheduler=scheduler)
    rungs = len(early.entries[0].rungs)
    assert adds_up(early).planned[0].seconds == pytest.approx(TRIAL_START_S + 2 + rungs * (1 + more) + 20)


def test_workers_share_a_trial_s_images_and_cost_each() -> None:
    one, two = (adds_up(of(stages=X, resources={"workers": workers, "cpus": 3})) for workers in (1, 2))
    assert one.planned[0].seconds - two.planned[0].seconds == pytest.approx(1.0)
    assert two.device_hours == pytest.approx((two.planned[0].seconds + 5.0) * 2 * 3 / 3600)
    assert two.wall_s == pytest.approx(LANE_START_S + two.planned[0].seconds + 5.0)


def test_a_trial_that_is_scored_in_two_ways_is_trained_once() -> None:
    found = of(**grid(t_eps_sample=[0.05, 0.1]))
    assert len(found.entries) == 2
    [trial] = adds_up(found).planned
    assert trial.seconds == pytest.approx(TRIAL_START_S + 2 + 2 + 2 * 20)


def test_a_search_counts_as_its_largest_trials_and_the_sum_as_a_limit() -> None:
    search = {"search": {"trials": 2, "axes": {"patch_size": [16, 4, 8]}}}
    found = of(stages=[*X, search])
    assert largest_proposals(found)[1].arm == {"patch_size": 4}
    added = adds_up(found)
    assert (len(added.proposed), added.is_at_most, adds_up(of(stages=X)).is_at_most) == (2, True, False)


def test_a_scheduler_makes_the_sum_a_limit() -> None:
    scheduler = {"kind": "median", "first_rung": {"images": 8}, "compare_within": []}
    assert adds_up(of(scheduler=scheduler)).is_at_most


def test_checkpoints_are_one_a_trial_and_one_on_the_way_in_each_lane_and_retention_keeps_the_best() -> None:
    size = checkpoint_bytes(of().entries[0].trial)
    everything = adds_up(of(), lanes=3)
    assert (everything.disk_bytes, everything.kept_bytes) == (5 * size, 2 * size)
    assert adds_up(of(retention={"best": 1})).kept_bytes == size


@pytest.mark.parametrize(
    ("resources", "lanes"),
    [
        ({"cpus": 1}, 4),
        ({"cpus": 3}, 1),
        ({"cpus": 8}, 1),
        ({"cpus": 1, "workers": 2}, 2),
        ({"cpus": 1, "concurrent": 7}, 7),
        ({"cpus": 1, "gpus": 1}, 2),
        ({"cpus": 1, "gpus": 0.25, "memory_gib": 4}, 4),
    ],
)
def test_as_many_trials_run_at_once_as_the_file_says_or_the_machine_holds(resources: dict[str, Any], lanes: int) -> None:
    assert lanes_of(Resources.model_validate(resources), Machine("it", cpus=4, gpus=2)) == lanes


def test_probes_tell_budgets_the_speed_of_a_whole_trial(measured_home: Path) -> None:
    found = of()
    [row] = MeasurementCache(home_at(measured_home)).all().values()
    known = speeds_here(found.spec, home_at(measured_home))
    assert known == {speed_shape(found.entries[0].trial): row.measured.images_per_second}
    for other in ({"workers": 2}, {"cpus": 2}):
        assert speeds_here(of(resources=other).spec, home_at(measured_home)) == {}, "they train at another speed"
    gpu = of(resources={"gpus": 1}).spec
    if machine_has_no_gpu():
        assert speeds_here(gpu, home_at(measured_home)) == {}


def machine_has_no_gpu() -> bool:
    return not torch.cuda.is_available()


def test_plan_measures_once_and_prints_hours_time_disk_and_price(tmp_path: Path) -> None:
    file = write_sweep(tmp_path)
    first = jit_sweep("plan", file, "--probe", "--price", "360", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "measuring shape 1 of 1: prediction=x" in first.stderr
    assert "CPU-hours; 0:" in first.stdout
    assert "checkpoints: " in first.stdout
    known = next(line for line in first.stdout.splitlines() if line.startswith("in all "))
    unasked = jit_sweep("plan", file, cwd=tmp_path).stdout
    assert f"time: {known}, by the speed measured here" in unasked
    second = jit_sweep("plan", file, "--probe", "--json", "--price", "360", cwd=tmp_path)
    assert second.stderr == ""
    told = json.loads(second.stdout)["probe"]
    assert told["price"] == pytest.approx(360 * told["device_hours"])
    assert f"price: {told['price']:,.2f} at 360 a CPU-hour" in first.stdout
    assert [row["trial"] for row in told["trials"]] == [entry.trial_id for entry in of().entries]
    unpriced = json.loads(jit_sweep("plan", file, "--probe", "--json", cwd=tmp_path).stdout)["probe"]
    assert told.keys() - unpriced.keys() == {"price"}
    [row] = json.loads((tmp_path / ".jit-sweep" / "probes.json").read_text()).values()
    assert row["measured"]["images_per_second"] == told["trials"][0]["images_per_second"]


def test_a_plan_from_memory_loads_nothing_heavy(tmp_path: Path, measured_home: Path) -> None:
    asked = ["jit-sweep", "plan", write_sweep(tmp_path), "--probe", "--home", str(measured_home)]
    code = f"import sys; sys.argv = {asked!r}\nfrom jit_sweep.cli import main\nassert main() == 0"
    assert loaded_by(code, cwd=tmp_path) == set()


def test_no_compile_measures_eager_steps(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, baseline={**tiny_sweep()["baseline"], "compile": True})
    done = jit_sweep("plan", file, "--probe", "--no-compile", "--home", "other", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    [row] = MeasurementCache(home_at(tmp_path / "other")).all().values()
    assert not row.request.trial.compile


def test_a_plan_without_a_probe_makes_nothing_and_has_no_use_for_its_options(tmp_path: Path) -> None:
    file = write_sweep(tmp_path)
    done = jit_sweep("plan", file, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("time: not measured here; --probe measures")
    for option in (["--price", "2"], ["--no-compile"]):
        refused = jit_sweep("plan", file, *option, cwd=tmp_path)
        assert (refused.returncode, "need --probe" in refused.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_sweep_on_gpus_can_only_be_probed_where_there_is_one(tmp_path: Path) -> None:
    file = write_sweep(tmp_path, resources={"gpus": 1})
    done = jit_sweep("plan", file, "--probe", cwd=tmp_path, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "`--probe` must run where the sweep's GPUs are, got gpus=1 on a machine without one; run it there" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a GPU here")
def test_a_gpu_that_torch_does_not_find_is_told(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA H100\n")
    program.chmod(0o755)
    done = jit_sweep("plan", write_sweep(tmp_path, resources={"gpus": 1}), "--probe", cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "prediction=x: the probe ended with 2 and said: a trial on a GPU can only be measured where torch" in done.stderr
