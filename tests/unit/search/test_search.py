"""Proposals: conditional axes exist only where they mean something, limits hold, and what was told is used."""

import importlib.util
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from jit_sweep.errors import UserError
from jit_sweep.ledger.records import Cause, EntryState, RungRow
from jit_sweep.results.arms import TrialResult, with_scores
from jit_sweep.search.history import Observation, ObservedOutcome, observations_of
from jit_sweep.search.proposals import NothingFits, propose
from jit_sweep.search.samplers import check_sampler, sampler
from jit_sweep.search.study import CONSTRAINT, rebuilt
from jit_sweep.search.warm_start import warm_observations
from jit_sweep.spec.stages import SAMPLERS, SearchSpec
from search_spaces.axis import AxisValue
from search_spaces.cells import Cell
from search_spaces.presets import preset
from tests.support.ledger import BOB, FACTS, IMAGES, OBJECTIVE, LedgerFixture, planned
from tests.support.trials import trial_of_recipe
from trainables.config.recipe import Recipe
from trainables.config.trial import DataConfig, TrialConfig
from trainables.evaluation.metrics.registry import RUNG_METRIC
from trainables.networks.cost import parameter_count, training_flops

START = preset("jit-tiny")
DATA = DataConfig(digest="d" * 12, image_size=32, num_classes=4)
RATE = {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}
INSTALLED = [name for name in SAMPLERS if name != "cmaes" or importlib.util.find_spec("cmaes")]
CONTINUOUS = [name for name in INSTALLED if name != "bruteforce"]


def timed(names: Sequence[str]) -> list[Any]:
    """The samplers as parameters, the one that fits a model at every proposal marked as slow."""
    return [pytest.param(name, marks=pytest.mark.slow) if name == "gp" else name for name in names]


def search(axes: Mapping[str, object], **more: Any) -> SearchSpec:
    return SearchSpec.model_validate({"trials": 50, "axes": axes, **more})


def trial_of(cell: Cell) -> TrialConfig:
    return trial_of_recipe(cell.recipe, data=DATA)


def proposed(space: SearchSpec, told: Sequence[Observation] = (), *, again: int = 0, start: Recipe = START) -> dict[str, Any]:
    return propose(space, start, told, objective=OBJECTIVE, trial_of=trial_of, images=IMAGES, again=again)


def scored(values: dict[str, AxisValue], *scores: float) -> Observation:
    return Observation(values, "scored", scores)


def searched(space: SearchSpec, tell: Callable[[dict[str, Any]], Observation], *, count: int) -> list[dict[str, Any]]:
    """The proposals of a search, each told before the next is made."""
    told: list[Observation] = []
    for _ in range(count):
        told.append(tell(proposed(space, told)))
    return [dict(one.values) for one in told]


# Samplers and their options


def test_the_samplers_of_a_sweep_file_are_those_of_optuna_that_need_only_options() -> None:
    public: list[Any] = [getattr(optuna.samplers, name) for name in optuna.samplers.__all__]
    classes = [each for each in public if isinstance(each, type) and issubclass(each, BaseSampler)]
    needy = ("PartialFixedSampler", "GridSampler")  # another sampler; the whole grid, which is a stage of its own here
    expected = {each.__name__ for each in classes if not inspect.isabstract(each)} - set(needy)
    assert {name.lower().removesuffix("sampler") for name in expected} == set(SAMPLERS)
    assert sorted(SAMPLERS) == list(SAMPLERS)


@pytest.mark.parametrize("name", timed(INSTALLED))
@pytest.mark.parametrize("seed", [0, 2**40])
def test_every_sampler_proposes_new_values_inside_the_space(name: str, seed: int) -> None:
    axes = {"learning_rate": [i / 1000 for i in range(1, 100)]} if name == "bruteforce" else RATE
    space = search({**axes, "prediction": ["x", "v"]}, sampler=name, seed=seed)
    check_sampler(space)
    seen = searched(space, lambda values: scored(values, values["learning_rate"]), count=14)
    assert all(space.holds(values) and len(values) == 2 for values in seen)
    assert len({str(values) for values in seen}) >= 13  # those that gp and cmaes are sure of lie at the edge


def test_a_sampler_gets_the_options_of_the_file() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, options={"n_startup_trials": 40})
    told = [scored({"t_mu": i / 30}, abs(i / 30 - 0.8)) for i in range(31)]
    alike = [proposed(space, told, again=again) == proposed(_as_random(space), told, again=again) for again in range(5)]
    assert all(alike)


def _as_random(space: SearchSpec) -> SearchSpec:
    return space.model_copy(update={"sampler": "random", "options": {}})


@pytest.mark.skipif("cmaes" in INSTALLED, reason="the package is here")
def test_a_sampler_whose_package_is_missing_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match="`sampler` cmaes needs the package cmaes.*write sampler: tpe"):
        check_sampler(search(RATE, sampler="cmaes"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ("nsgaii", "nsgaiii", "cmaes") if name in INSTALLED])
def test_a_population_evolves_though_its_study_is_rebuilt_for_every_proposal(name: str) -> None:
    size = {"popsize": 6} if name == "cmaes" else {"population_size": 6}
    axes: dict[str, object] = {"t_mu": {"low": -2.0, "high": 2.0}, "noise_scale": {"low": 0.5, "high": 2.5}}
    space = search(axes, sampler=name, options=size)
    losses = [_distance(values) for values in searched(space, lambda values: scored(values, _distance(values)), count=60)]
    assert sum(losses[-12:]) < 0.6 * sum(losses[:12])


def _distance(values: dict[str, Any]) -> float:
    return abs(float(values["t_mu"]) - 1.2) + abs(float(values["noise_scale"]) - 0.8)


@pytest.mark.parametrize("scramble", [False, True])
def test_a_sequence_goes_on_though_its_study_is_rebuilt_for_every_proposal(scramble: bool) -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, sampler="qmc", options={"scramble": scramble})
    seen = [values["t_mu"] for values in searched(space, lambda values: scored(values, 1.0), count=17)]
    # After the first, which is random, Sobol's next sixteen points: one in each sixteenth.
    assert sorted(int(16 * value) for value in seen[1:]) == list(range(16))


def test_a_sequence_that_begins_with_failures_looks_elsewhere() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, sampler="qmc")
    seen = [values["t_mu"] for values in searched(space, lambda values: Observation(values, "failed"), count=5)]
    assert len(set(seen)) == 5


def test_a_repeated_point_of_a_sequence_is_followed_by_the_next() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, sampler="qmc")
    told = [scored({"t_mu": 0.3}, 1.0)]
    assert [proposed(space, told, again=again)["t_mu"] for again in range(3)] == [0.0, 0.5, 0.75]


def test_brute_force_tries_every_cell_of_a_conditional_space_once() -> None:
    axes: dict[str, object] = {"t_sampling": ["logit_normal", "uniform"], "t_mu": [-0.8, 0.0], "depth": {"low": 2, "high": 3}}
    seen = searched(search(axes, sampler="bruteforce"), lambda values: scored(values, 1.0), count=6)
    assert len({str(values) for values in seen}) == 6


# What exists, and what is within the limits


def test_a_conditional_axis_is_proposed_only_where_it_exists() -> None:
    space = search({"t_sampling": ["logit_normal", "uniform"], "t_mu": {"low": -1.0, "high": 0.0}}, sampler="random")
    seen = [proposed(space, again=again) for again in range(20)]
    assert {values["t_sampling"] for values in seen} == {"logit_normal", "uniform"}
    assert all(("t_mu" in values) == (values["t_sampling"] == "logit_normal") for values in seen)


def test_axes_that_are_valid_only_together_can_be_proposed() -> None:
    """A width of 20 has no four heads of a multiple of four: only the whole of a proposal is judged."""
    space = search({"patch_size": [7, 8], "width": [20, 32]}, sampler="random")
    seen = [proposed(space, again=again) for again in range(10)]
    assert {(values["patch_size"], values["width"]) for values in seen} == {(8, 32)}


@pytest.mark.parametrize("name", timed(INSTALLED))
def test_what_is_above_a_limit_is_never_proposed(name: str) -> None:
    axes: dict[str, object] = {"depth": {"low": 1, "high": 12}, "patch_size": [8, 16]}
    most = parameter_count(trial_of(Cell(START.model_copy(update={"model": START.model.model_copy(update={"depth": 6})}))))
    space = search(axes, sampler=name, limits={"parameters": float(most)})
    seen = searched(space, lambda values: scored(values, 1 / values["depth"]), count=6)
    assert max(values["depth"] for values in seen) <= 6


def test_a_space_without_a_trial_below_the_limits_ends_with_the_remedy() -> None:
    with pytest.raises(NothingFits, match="got none in 200 proposals, limits: parameters=10; raise a limit"):
        proposed(search({"depth": {"low": 1, "high": 8}}, limits={"parameters": 10.0}))


# What the sampler is told


def test_tpe_learns_from_what_it_is_told_which_way_is_better() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}})
    told = [scored({"t_mu": i / 30}, abs(i / 30 - 0.8)) for i in range(31)]
    near = [proposed(space, told, again=again)["t_mu"] for again in range(20)]
    assert sum(abs(mu - 0.8) < 0.2 for mu in near) >= 15


def beyond(outcome: ObservedOutcome, *, sampler: str, seed: int, count: int) -> float:
    """The share of later proposals beyond a learning rate where trials come to this; the score falls towards it."""

    def tell(values: dict[str, Any]) -> Observation:
        rate = math.log10(values["learning_rate"])
        return Observation(values, outcome) if rate > -2.3 else scored(values, -rate)

    rates = [values["learning_rate"] for values in searched(search(RATE, sampler=sampler, seed=seed), tell, count=count)]
    return sum(math.log10(rate) > -2.3 for rate in rates[10:]) / (count - 10)


@pytest.mark.parametrize("outcome", ["diverged", "infeasible"])
@pytest.mark.parametrize(("name", "count"), [("tpe", 40), pytest.param("gp", 20, marks=pytest.mark.slow)])
def test_a_sampler_learns_where_trials_diverge_which_it_does_not_from_failures(
    name: str, count: int, outcome: ObservedOutcome
) -> None:
    learnt = sum(beyond(outcome, sampler=name, seed=seed, count=count) for seed in range(2)) / 2
    not_told = sum(beyond("failed", sampler=name, seed=seed, count=count) for seed in range(2)) / 2
    assert learnt < 0.75 * not_told


@pytest.mark.parametrize("name", timed(CONTINUOUS))
def test_trials_are_told_by_what_became_of_them(name: str) -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, sampler=name)
    told = [
        Observation({"t_mu": 0.1}, "running", levels={480: 4.0}),
        Observation({"t_mu": 0.2}, "scored", (2.0,), {480: 3.0}),
        Observation({"t_mu": 0.3}, "pruned", levels={240: 5.0, 480: 4.5}),
        Observation({"t_mu": 0.4}, "diverged"),
        Observation({"t_mu": 0.5}, "infeasible"),
        Observation({"t_mu": 0.6}, "failed"),
        Observation({"t_mu": 0.7}, "scored", (7.0,)),
    ]
    trials = rebuilt(space, told, directions=["minimize"], sampler=sampler(space, draws=0)).trials
    states = [TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, *[TrialState.COMPLETE] * 2, TrialState.FAIL]
    assert [trial.state for trial in trials] == [*states, TrialState.COMPLETE]
    assert [trial.params["t_mu"] for trial in trials] == [one.values["t_mu"] for one in told]
    assert trials[2].intermediate_values == {240: 5.0, 480: 4.5}
    assert [trials[index].value for index in (1, 3, 4, 6)] == [2.0, 7.0, 7.0, 7.0]  # the worst stands where there is none
    if name != "cmaes":
        met = [trial.constraints.get(CONSTRAINT) for trial in trials]
        assert met == [None, -1.0, -1.0, 1.0, 1.0, None, -1.0]


def test_tpe_reads_how_far_a_pruned_trial_came_and_how_it_stood_there() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}})
    told = [Observation({"t_mu": i / 30}, "pruned", levels={480: abs(i / 30 - 0.7)}) for i in range(31)]
    near = [proposed(space, told, again=again)["t_mu"] for again in range(20)]
    assert sum(abs(mu - 0.7) < 0.2 for mu in near) >= 15


@pytest.mark.parametrize("outcome", ["running", "failed", "pruned", "diverged"])
@pytest.mark.parametrize("name", timed(CONTINUOUS))
def test_a_trial_without_a_score_is_no_obstacle(name: str, outcome: ObservedOutcome) -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, sampler=name, options={} if name != "tpe" else {"n_startup_trials": 1})
    told = [Observation({"t_mu": i / 12}, outcome, levels={480: 1.0}) for i in range(12)]
    assert 0 <= proposed(space, told)["t_mu"] <= 1


@pytest.mark.parametrize("name", timed([name for name in CONTINUOUS if name != "cmaes"]))
def test_several_objectives_are_searched_together(name: str) -> None:
    """One objective rises with t_mu and the other falls: neither end alone is looked at."""
    objectives = [OBJECTIVE, "train_tflops"]
    small = {"population_size": 8} if name.startswith("nsga") else {}
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, sampler=name, objectives=objectives, options=small)
    told = [scored({"t_mu": i / 30}, i / 30, 1 - i / 30) for i in range(31)]
    told += [
        Observation({"t_mu": 0.5}, "pruned", levels={480: 1.0}),
        Observation({"t_mu": 0.6}, "diverged"),
        Observation({"t_mu": 0.7}, "running"),
    ]
    assert all(0 <= proposed(space, told, again=again)["t_mu"] <= 1 for again in range(3))


def test_two_objectives_pull_tpe_to_where_both_are_good() -> None:
    space = search({"t_mu": {"low": 0.0, "high": 1.0}}, objectives=[OBJECTIVE, "train_tflops"])
    told = [scored({"t_mu": i / 30}, abs(i / 30 - 0.7), abs(i / 30 - 0.8)) for i in range(31)]
    near = [proposed(space, told, again=again)["t_mu"] for again in range(20)]
    assert sum(0.6 < mu < 0.9 for mu in near) >= 15


# From the ledger's rows


def rate_arm(ledger: LedgerFixture, rate: float, values: Sequence[float], *, position: int = 0, **more: Any) -> None:
    for seed, value in enumerate(values):
        entry = planned(arm={"learning_rate": rate}, seed=seed, position=position + seed, origin="search", **more)
        ledger.train(entry, {OBJECTIVE: value})


def results(ledger: LedgerFixture) -> list[TrialResult]:
    return with_scores(ledger.reader.entries(ledger.name), ledger.reader.scores(ledger.name))


def stands(trial: TrialResult, state: str, cause: Cause | None = None) -> TrialResult:
    attempt = trial.entry.attempt
    assert attempt is not None
    entry = replace(trial.entry, state=EntryState(state), attempt=attempt._replace(cause=cause))
    return TrialResult(entry, trial.score if state == "done" else None)


def told_by(trials: Sequence[TrialResult], **more: Any) -> list[Observation]:
    return observations_of(trials, [], search(RATE, **more), OBJECTIVE)


def test_a_proposal_of_several_seeds_is_told_as_their_mean(ledger: LedgerFixture) -> None:
    rate_arm(ledger, 1e-3, [1.0, 2.0, 6.0])
    rate_arm(ledger, 1e-2, [4.0], position=3)
    assert told_by(results(ledger), seeds=3) == [scored({"learning_rate": 1e-3}, 3.0), scored({"learning_rate": 1e-2}, 4.0)]


@pytest.mark.parametrize(
    ("state", "cause", "outcome"),
    [
        ("waiting", None, "running"),
        ("running", None, "running"),
        ("paused", None, "running"),
        ("held", None, "running"),
        ("pruned", None, "pruned"),
        ("diverged", Cause.DIVERGED, "diverged"),
        ("failed", Cause.INFEASIBLE, "infeasible"),
        ("failed", Cause.OUT_OF_MEMORY, "infeasible"),
        ("failed", Cause.BUG, "scored"),
        ("failed", Cause.WORKER_LOST, "scored"),
    ],
)
def test_one_seed_decides_unless_it_failed_by_accident(
    ledger: LedgerFixture, state: str, cause: Cause | None, outcome: str
) -> None:
    rate_arm(ledger, 1e-3, [1.0, 2.0, 6.0])
    first, *others = results(ledger)
    (told,) = told_by([stands(first, state, cause), *others], seeds=3)
    assert told.outcome == outcome
    assert told.scores == ((4.0,) if outcome == "scored" else ())


def test_a_collapsed_seed_makes_its_proposal_infeasible_however_good_its_score(ledger: LedgerFixture) -> None:
    for seed in range(2):
        entry = planned(arm={"learning_rate": 1e-3}, seed=seed, position=seed, origin="search")
        ledger.train(entry, {OBJECTIVE: 0.1}, collapsed=seed == 1)
    (told,) = told_by(results(ledger), seeds=2)
    assert (told.outcome, told.scores) == ("infeasible", ())
    assert warm(ledger, search(RATE)) == [Observation({"learning_rate": 1e-3}, "infeasible")]


def test_a_proposal_is_running_until_its_last_seed_has_ended(ledger: LedgerFixture) -> None:
    rate_arm(ledger, 1e-3, [1.0, 2.0])
    first, second = results(ledger)
    assert told_by([stands(first, "diverged"), stands(second, "running")])[0].outcome == "running"


def test_a_proposal_whose_seeds_all_failed_has_failed(ledger: LedgerFixture) -> None:
    rate_arm(ledger, 1e-3, [1.0, 2.0])
    assert told_by([stands(trial, "failed", Cause.DATA_ERROR) for trial in results(ledger)])[0].outcome == "failed"


def test_rung_values_are_told_as_means_over_the_seeds_that_stand_there(ledger: LedgerFixture) -> None:
    rate_arm(ledger, 1e-3, [1.0, 2.0])
    first, second = (trial.entry.trial_id for trial in results(ledger))
    rows = [(first, 240, 5.0), (first, 480, 4.0), (second, 240, 7.0)]
    rungs = [RungRow(trial, images, RUNG_METRIC, "evaluated", value, 1, 0.0) for trial, images, value in rows]
    rungs.append(RungRow(first, 240, RUNG_METRIC, "raw", 99.0, 1, 0.0))
    (told,) = observations_of(results(ledger), rungs, search(RATE), OBJECTIVE)
    assert told.levels == {240: 6.0, 480: 4.0}


def test_costs_are_objectives_that_are_known_without_a_score_row(ledger: LedgerFixture) -> None:
    rate_arm(ledger, 1e-3, [1.0])
    (told,) = told_by(results(ledger), objectives=[OBJECTIVE, "train_tflops", "parameters"])
    trial = results(ledger)[0].entry.trial
    assert told.scores == pytest.approx((1.0, training_flops(trial, images=IMAGES) / 1e12, parameter_count(trial)))


def test_what_lies_outside_a_space_that_has_changed_is_not_told(ledger: LedgerFixture) -> None:
    rate_arm(ledger, 1e-3, [1.0])
    narrow = search({"learning_rate": {"low": 1e-2, "high": 1e-1}})
    other = search({"depth": [2, 3]})
    assert [observations_of(results(ledger), [], space, OBJECTIVE) for space in (narrow, other)] == [[], []]


# Warm starts


def warm(ledger: LedgerFixture, space: SearchSpec, *, facts: dict[str, Any] = FACTS, images: int = IMAGES) -> list[Observation]:
    return warm_observations(ledger.reader, ledger.name, space, start=planned().trial, images=images, identity=facts)


def test_an_earlier_sweeps_trials_are_told_by_their_configuration_whatever_its_axes_were(ledger: LedgerFixture) -> None:
    for seed, value in enumerate((1.0, 3.0)):
        ledger.train(planned(arm={"learning_rate": 1e-3}, seed=seed, position=seed), {OBJECTIVE: value})
    ledger.train(planned(arm={"patch_size": 8}, position=2), {OBJECTIVE: 5.0})
    ledger.diverge(planned(arm={"learning_rate": 2e-3}, position=3), images=480)
    space = search({**RATE, "patch_size": [8, 16]})
    default = planned().trial.optimiser.learning_rate
    assert warm(ledger, space) == [
        scored({"patch_size": 16, "learning_rate": 1e-3}, 2.0),
        scored({"patch_size": 8, "learning_rate": default}, 5.0),
    ]


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"learning_rate": {"low": 1e-2, "high": 1e-1}}, "outside the range"),
        ({"learning_rate": [1e-3], "patch_size": [4, 8]}, "not among the choices"),
        ({"learning_rate": [1e-3], "steps": [3]}, "no axis"),
    ],
)
def test_a_trial_that_the_search_could_not_propose_is_not_told(ledger: LedgerFixture, axes: dict[str, Any], why: str) -> None:
    ledger.train(planned(arm={"learning_rate": 1e-3}), {OBJECTIVE: 1.0})
    if "steps" in axes:
        axes = {"learning_rate": [1e-3], "sampling_steps": [3]}
    assert warm(ledger, search(axes)) == [], why


def test_a_score_at_another_budget_or_by_another_evaluation_is_not_told(ledger: LedgerFixture) -> None:
    ledger.train(planned(arm={"learning_rate": 1e-3}), {OBJECTIVE: 1.0})
    ledger.train(planned(arm={"learning_rate": 1e-3}, n=128, position=1), {OBJECTIVE: 9.0})
    assert warm(ledger, search(RATE)) == [scored({"learning_rate": 1e-3}, 1.0)]
    assert warm(ledger, search(RATE), images=2 * IMAGES) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"objective": "heldout_v_error"}, 'objective: "fd_efflite0_96" -> "heldout_v_error"'),
        ({"data": {"digest": "e" * 12, "flip": True}}, 'data.digest: "dddddddddddd" -> "eeeeeeeeeeee"'),
        ({"evaluation": {"n": 64, "steps": 20, "labels": "proportional"}}, "evaluation.steps: 10 -> 20"),
    ],
)
def test_a_warm_start_from_scores_that_mean_something_else_is_refused(
    ledger: LedgerFixture, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as error:
        warm(ledger, search(RATE), facts={**FACTS, **changed})
    assert said in str(error.value)


def test_a_warm_start_from_an_unknown_sweep_is_refused(ledger: LedgerFixture) -> None:
    other = LedgerFixture(ledger.engine, name="other", owner=BOB)
    with pytest.raises(UserError, match="has no sweep 'othr'; did you mean 'other'"):
        warm_observations(other.reader, "othr", search(RATE), start=planned().trial, images=IMAGES, identity=FACTS)
