"""A sweep file may change: every key of it is followed or refused by name, before, during and after a run of its sweep."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import BaseModel
from sqlalchemy import update

from jit_sweep.budget.guard import BudgetGuard
from jit_sweep.edits.difference import read_difference
from jit_sweep.errors import UserError
from jit_sweep.executor.opening import end_at_once
from jit_sweep.ledger import schema
from jit_sweep.ledger.connect import writing
from jit_sweep.ledger.lease import LeaseHeld
from jit_sweep.ledger.records import SETTLED, EntryRow, EntryState, SweepState
from jit_sweep.plan.entry import Plan
from jit_sweep.plan.search import searches
from jit_sweep.results.as_json import contents as contents_of
from jit_sweep.results.leaderboard import best_cell, read_results
from jit_sweep.results.tuning import arms_at_their_best
from jit_sweep.spec.ablations import Ablation
from jit_sweep.spec.budget import Budget
from jit_sweep.spec.data import FileData, PackagedData
from jit_sweep.spec.schedulers import Halving, Hyperband, Median, NoScheduler, Patient, PauseAndPromote
from jit_sweep.spec.seeds import RacingSeeds
from jit_sweep.spec.stages import Grid, GridStage, SearchSpec
from jit_sweep.spec.sweep import Baseline, EvaluationSpec, Resources, Retention, SweepSpec
from tests.support.ledger import contents
from tests.support.played import PlayedHome, planned_file
from tests.support.sweep_files import few_images, tiny_sweep

Tree = dict[str, Any]
IMAGES, COPY, OTHERS = "images.npz", "copy.npz", "others.npz"
IMAGES_PER_TRIAL = 16
Kind = Literal["grid", "search", "ablation"]
Phase = Literal["before", "during", "after"]
KINDS: tuple[Kind, ...] = ("grid", "search")
"""Of files in which each key outside the stages is changed."""
PHASES: tuple[Phase, ...] = ("before", "during", "after")
GRID = {"grid": {"axes": {"prediction": ["x", "v"]}, "seeds": 2}}
SEARCH: Tree = {
    "search": {"from": "best_cell", "sampler": "random", "trials": 3, "axes": {"learning_rate": {"low": 1e-4, "high": 1e-2}}}
}
TUNED: Tree = {"axes": {"learning_rate": [1e-3, 2e-3, 4e-3]}, "trials": 2}
ABLATION: Tree = {"ablation": {"kind": "one_at_a_time", "changes": {"v": {"prediction": "v"}}, "seeds": 2}}
FILES: Mapping[Kind, Tree] = {
    "grid": {"stages": [GRID]},
    "search": {"stages": [GRID, SEARCH]},
    "ablation": {"stages": [ABLATION]},
}
BEGUN: Mapping[Kind, int] = {"grid": 2, "search": 6, "ablation": 2}
"""Trials begun when a run is killed, the last of them half way: of a search, one of its proposals is done."""


GUIDED: Tree = {"classifier": {"trial": "0" * 12, "images": 8}, "classifier_scale": 2.0}


@dataclass(frozen=True)
class Edit:
    """One change of a sweep file."""

    key: str
    """The key that it changes, as `SWEEP_KEYS` has it."""
    make: Callable[[Tree], object]
    refused: str = ""
    """How the refusal names it; empty: it is followed."""
    kinds: tuple[Kind, ...] = KINDS
    said: str = ""
    """A part of what is printed of it, once trials have ended."""


def put(key: str, value: Any, **more: Any) -> Edit:
    """A key outside the stages with another value."""

    def make(tree: Tree) -> None:
        *above, last = key.split(".")
        for part in above:
            tree = tree.setdefault(part, {})
        tree[last] = value

    return Edit(key, make, **more)


def kept(key: str, value: Any, *, named: str = "") -> Edit:
    """A key that a sweep keeps for good."""
    return put(key, value, refused=named or key)


def grid(key: str, value: Any, *, said: str = "", **more: Any) -> Edit:
    return Edit(f"stages.grid.{key}", lambda tree: tree["stages"][0]["grid"].update({key: value, **more}), said=said)


def ablation(key: str, value: Any, *, said: str = "", **more: Any) -> Edit:
    def make(tree: Tree) -> None:
        tree["stages"][0]["ablation"].update({key: value, **more})

    return Edit(f"stages.ablation.{key}", make, kinds=("ablation",), said=said)


def search(key: str, value: Any, *, said: str = "", **more: Any) -> Edit:
    def make(tree: Tree) -> None:
        tree["stages"][1]["search"].update({key: value, **more})

    return Edit(f"stages.search.{key}", make, kinds=("search",), said=said)


def early(key: str, value: Any, *, kind: str = "halving") -> Edit:
    """A scheduler where there was none, with a key that is not as it is by default."""
    scheduler: Tree = {"kind": kind, "first_rung": {"images": 8}, "s_train": 0.01}

    def make(tree: Tree) -> None:
        tree["scheduler"] = {**scheduler, key: value}

    return Edit(f"scheduler.{key}", make)


def stages(
    make: Callable[[list[Tree]], object], *, key: str = "stages", said: str = "", kinds: tuple[Kind, ...] = KINDS
) -> Edit:
    return Edit(key, lambda tree: make(tree["stages"]), kinds=kinds, said=said)


def search_of(**changes: Any) -> Tree:
    return {"search": {**SEARCH["search"], **changes}}


def on_inception(tree: Tree) -> None:
    """Scored on the features of a file, and so by another objective."""
    tree["evaluation"]["features"] = {"kind": "inception", "weights": "inception.pth"}
    tree["objective"] = "fid"


def make_autoencoders(tree: Tree) -> None:
    """Trials of another method, which needs another network, other axes and another objective."""
    tree["baseline"] = {"preset": "autoencoder-tiny", "batch_size": 8, "method": {"squared": 0.5}}
    tree["stages"] = [{"grid": {"axes": {"code_channels": [4, 8]}, "seeds": 2}}]
    tree["objective"] = "heldout_reconstruction_error"


def see_codes(tree: Tree) -> None:
    """Trials in another space, whose own error is another one."""
    encoder = {"kind": "trial", "trial": "0" * 12, "images": 8}
    tree["baseline"]["space"] = {"kind": "latent", "encoder": encoder, "trunk": {"kind": "autoencoder", "multipliers": [1]}}
    tree["objective"] = "heldout_latent_error"


WIDE = {"v": {"prediction": "v"}, "wide": {"width": 32}}
FURTHER = {"grid": {"axes": {"learning_rate": [0.002]}}}
SHORT = {"low": 1e-3, "high": 2e-3}
EDITS: tuple[Edit, ...] = (
    Edit("name", lambda tree: tree.update(name="other")),
    Edit("data.name", lambda tree: tree.update(data={"name": "emoji32", "flip": False}), refused="data.name"),
    Edit("data.uri", lambda tree: tree["data"].update(uri=tree["data"]["uri"].replace(IMAGES, OTHERS)), refused="data.uri"),
    Edit("data.uri", lambda tree: tree["data"].update(uri=tree["data"]["uri"].replace(IMAGES, COPY))),
    kept("data.holdout", 24),
    kept("data.flip", True),
    put("data.format", "npz"),
    kept("data.image_size", 16),
    kept("data.crop", "pad"),
    kept("data.channels", "grey"),
    kept("data.labels", "none"),
    kept("data.classes", ["class 0", "class 1", "class 2"]),
    kept("data.limit", 40),
    kept("data.on_bad", {"skip": 1}),
    kept("baseline.preset", "jit-tiny/8"),
    kept("baseline.model", {"width": 16, "depth": 3, "heads": 2, "class_tokens": 2, "class_tokens_start": 1}),
    Edit("baseline.method", make_autoencoders, refused="method"),
    Edit("baseline.space", see_codes, refused="space"),
    kept("baseline.diffusion", {"noise_scale": 2.0}),
    kept("baseline.optimiser", {"learning_rate": 2e-3, "warmup_images": 0}),
    kept("baseline.ema", []),
    kept("baseline.batch_size", 4),
    kept("baseline.precision", "bf16"),
    kept("baseline.attention", "fp32"),
    kept("baseline.residual", "bf16", named="residual"),
    kept("baseline.kernels", "triton", named="kernels"),
    kept("baseline.compile", True),
    kept("baseline.graphs", True, named="graphs"),
    kept("baseline.gradient_sum", "bf16"),
    kept("baseline.parent", {"trial": "0" * 12, "images": 8}),
    kept("objective", "kid_efflite0_96"),
    put("question", "Is x better than v?"),
    put("alpha", 0.01),
    put("margin", 0.05),
    put("noise", 0.02),
    put("project", "faces"),
    put("data.licence", "MIT"),
    kept("evaluation.n", 10),
    Edit("evaluation.features", on_inception, refused="evaluation.features"),
    kept("evaluation.reference", {"file": "statistics.npz", "sha256": "0" * 64}),
    kept("evaluation.labels", "drawn"),
    kept("evaluation.sampler", "heun"),
    kept("evaluation.steps", 3),
    kept("evaluation.guidance", 1.5),
    kept("evaluation.guidance_channels", 2),
    kept("evaluation.interval", [0.2, 1.0]),
    kept("evaluation.classifier", GUIDED["classifier"]),
    Edit("evaluation.classifier_scale", lambda tree: tree["evaluation"].update(GUIDED), refused="evaluation.classifier"),
    kept("evaluation.shift", 2.0),
    kept("evaluation.temperature", 0.9),
    kept("evaluation.head_steps", 50),
    kept("evaluation.token_limit", 3.0),
    kept("evaluation.seed", 1),
    kept("evaluation.t_eps_sample", 0.1),
    kept("evaluation.weights", "raw"),
    put("evaluation.at", "separate"),
    put("evaluation.tune", {"steps": [2, 3], "n": 8}),
    put("budget.images_per_trial", 32, said="4 trials go on to 32 images"),
    put("budget.images_per_trial", 8, said="4 trials count at 8 images"),
    put("budget.matched", "flops"),
    put("budget.matched", "both"),
    put("budget.count_earlier_stages", True),
    put("budget.rungs", 1),
    put("budget.total_images", 10_000),
    put("budget.gpu_hours", 5.0),
    put("budget.wall_hours", 5.0),
    put("budget.trials", 50),
    put("budget.price_per_gpu_hour", 2.5),
    Edit("budget.money", lambda tree: tree["budget"].update(money=100.0, price_per_gpu_hour=2.5)),
    early("kind", "median", kind="median"),
    early("metric", "heldout_v_error_raw"),
    early("first_rung", {"images": 8}),
    early("first_rung", {"flops": 1e6}),
    early("compare_within", ["prediction"]),
    early("s_train", 0.5),
    early("s_eval", 0.5),
    early("luck", 3.0),
    early("audit", 4),
    early("reduction", 2),
    early("mode", "synchronous"),
    early("startup_arms", 1, kind="median"),
    early("patience", 2, kind="patient"),
    early("min_delta", 0.1, kind="patient"),
    put("resources.workers", 2),
    put("resources.cpus", 2),
    kept("resources.gpus", 1),
    put("resources.concurrent", 1),
    put("resources.memory_gib", 2.0),
    put("resources.micro_batch", 4),
    put("resources.activation_checkpointing", True),
    put("resources.checkpoint_interval_s", 30.0),
    put("resources.stall_s", 60.0),
    Edit(
        "resources.evaluators",
        lambda tree: (tree["evaluation"].update(at="separate"), tree["resources"].update(evaluators={"cpus": 0.5})),
    ),
    put("retention.best", 1),
    put("storage", "s3://bucket/elsewhere"),
    put("tracking", "http://localhost:5001"),
    put("ledger", "sqlite:////tmp/other.db"),
    stages(lambda file: file.insert(0, FURTHER), said="stage 0 (grid) is new: 1 trial"),
    stages(lambda file: file.append(FURTHER), said="(grid) is new: 1 trial"),
    stages(lambda file: file.pop(1), kinds=("search",), said="is in the file no more: its 3 trials stay as history"),
    stages(lambda file: file.append(search_of(trials=1)), kinds=("grid",), said="stage 1 (search) is new: 1 trial"),
    stages(lambda file: file.insert(1, search_of(seed=7, trials=1)), kinds=("search",), said="stage 1 (search) is new"),
    stages(lambda file: file[0].update(name="first"), key="stages.name"),
    stages(lambda file: file[0].update(matched="images"), key="stages.matched"),
    stages(lambda file: file[0].update(matched="flops"), key="stages.matched", said='stages[0].matched: null -> "flops"'),
    stages(lambda file: file[-1].update(name="last"), key="stages.name"),
    grid("axes", {"prediction": ["x", "v", "eps"]}, said="1 arm added"),
    grid("axes", {"prediction": ["x"]}, said="1 arm retired, of 2 trials, which stay as history"),
    grid("axes", {"prediction": ["x", "v"], "patch_size": [16, 8]}),
    grid("axes", {"patch_size": [16, 8]}),
    grid("seeds", 3, said="2 trials more of the arms that it has"),
    grid("seeds", 1, said="2 trials of arms that stay retired"),
    grid("seeds", [0, 5]),
    grid("seeds", {"min": 3, "max": 4}, said="2 trials more of the arms that it has"),
    grid("cells", [{"where": {"prediction": "x"}, "seeds": 3}], said="1 trial more"),
    grid("cells", [{"where": {"prediction": "x"}, "images_per_trial": 32}], said="2 trials go on to 32 images"),
    grid("contrasts", []),
    grid("contrasts", [{"axis": "prediction", "where": {"prediction": "x"}}]),
    grid("contrasts", [{"axis": "prediction", "against": "v"}]),
    grid("interactions", []),
    grid("interactions", [["patch_size", "prediction"]], axes={"prediction": ["x", "v"], "patch_size": [16, 8]}),
    grid("limits", {"parameters": 1e9}),
    grid("nuisance", TUNED, said="the tuning of stage 0 (grid): 4 arms added"),
    ablation("kind", "ladder", said='stages[0].ablation.kind: "one_at_a_time" -> "ladder"'),
    ablation("kind", "factorial", changes=WIDE, said="stage 0 (ablation): 2 arms added"),
    ablation("changes", WIDE, said="stage 0 (ablation): 1 arm added"),
    ablation("changes", {"eps": {"prediction": "eps"}}, said="1 arm retired, of 2 trials"),
    ablation("seeds", 3, said="2 trials more of the arms that it has"),
    ablation("nuisance", TUNED, said="the tuning of stage 0 (ablation): 4 arms added"),
    ablation("contrasts", {"again": {"arm": "v", "against": "baseline"}}),
    search("from", "baseline"),
    search("sampler", "tpe", said="looks for something else: its 3 trials stay as history, 3 are proposed anew"),
    search("options", {"n_startup_trials": 2}, sampler="tpe"),
    search("trials", 5),
    search("trials", 1),
    search("axes", {"learning_rate": SHORT}, said="its 3 trials stay as history, 3 are proposed anew"),
    search("axes", {"learning_rate": SHORT, "noise_scale": [1.0, 2.0]}),
    search("seed", 3),
    search("seeds", 3, said="6 trials more of the arms that it has"),
    search("limits", {"parameters": 1e9}),
    search("objectives", ["fd_efflite0_96", "parameters"]),
    search("warm_start", ["earlier"]),
)


def keys_of(*models: type[BaseModel]) -> set[str]:
    """The keys of a part of the file as they are written."""
    return {info.alias or name for model in models for name, info in model.model_fields.items()}


def test_the_table_has_every_key_of_the_sweep_file() -> None:
    parts = {
        "data": keys_of(PackagedData, FileData),
        "baseline": keys_of(Baseline),
        "evaluation": keys_of(EvaluationSpec),
        "budget": keys_of(Budget),
        "scheduler": keys_of(NoScheduler, Halving, PauseAndPromote, Hyperband, Median, Patient),
        "resources": keys_of(Resources),
        "retention": keys_of(Retention),
        "stages.grid": keys_of(Grid),
        "stages.search": keys_of(SearchSpec),
        "stages.ablation": keys_of(Ablation),
        "stages": {"name", "matched"},
    }
    whole = keys_of(SweepSpec) - {"data", "baseline", "evaluation", "budget", "scheduler", "resources", "retention"}
    expected = whole | {f"{part}.{key}" for part, keys in parts.items() for key in keys}
    assert {edit.key for edit in EDITS} == expected


@dataclass(frozen=True)
class State:
    """A home in which a file has been run, up to some point."""

    folder: Path
    file: Tree
    trained: list[tuple[str, int]]

    def copy(self, folder: Path) -> PlayedHome:
        shutil.copytree(self.folder, folder / "home")
        return PlayedHome(folder / "home", trained=list(self.trained))


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind, Phase], State]:
    """Homes by kind of file and phase; each is made once. In all of them a sweep `earlier` has ended."""
    images = tmp_path_factory.mktemp("images")
    data = few_images(images)
    shutil.copy(images / IMAGES, images / COPY)
    with np.load(images / IMAGES) as arrays:
        np.savez(images / OTHERS, images=255 - arrays["images"], labels=arrays["labels"])

    @cache
    def made(kind: Kind, phase: Phase) -> State:
        home, file = PlayedHome(tmp_path_factory.mktemp(f"{kind}-{phase}")), tiny_sweep(data=data, **FILES[kind])
        home.run({**file, "name": "earlier", "stages": [{"grid": {"axes": {"learning_rate": [0.004]}}}]})
        most = {"before": 0, "during": BEGUN[kind], "after": None}[phase]
        home.run(file, most=most, cut=phase == "during")
        home.engine.dispose()
        return State(home.folder, file, home.trained)

    return made


def cases() -> list[Any]:
    """Of files that nothing has run of, one kind is enough."""
    return [
        pytest.param(edit, kind, phase, id=f"{edit.key}-{kind}-{phase}")
        for edit in EDITS
        for kind in edit.kinds
        for phase in PHASES
        if phase != "before" or kind == edit.kinds[0]
    ]


@pytest.mark.parametrize(("edit", "kind", "phase"), cases())
def test_every_edit_of_every_key_is_followed_or_refused_by_name(
    edit: Edit, kind: Kind, phase: Phase, states: Callable[[Kind, Phase], State], tmp_path: Path
) -> None:
    state = states(kind, phase)
    home, file = state.copy(tmp_path), deepcopy(state.file)
    edit.make(file)
    if edit.refused:
        check_refused(home, file, edit.refused)
        return
    planned, before = planned_file(file), {row.key for row in home.rows(every=True)}
    said = "\n".join(read_difference(home.reader, planned))
    assert edit.said in said or phase == "before"
    assert said or edit.key == "name"
    home.name = planned.spec.name
    ended = home.run(file)
    check_followed(home, planned, ended)
    assert len(home.rows(every=True)) >= len(before) or edit.key == "name"


def check_refused(home: PlayedHome, file: Tree, named: str) -> None:
    """By the key, and nothing of the ledger has changed."""
    before = contents(home.engine)
    with pytest.raises(UserError) as refusal:
        home.run(file)
    assert named in str(refusal.value)
    after = contents(home.engine)
    assert {table: rows for table, rows in after.items() if table != "lease"} == {
        table: rows for table, rows in before.items() if table != "lease"
    }


def check_followed(home: PlayedHome, planned: Plan, ended: SweepState) -> None:
    """The ledger holds what the file says, all of it has ended, nothing was trained twice, and a further run does nothing."""
    rows = home.rows()
    early = not isinstance(planned.spec.scheduler, NoScheduler)
    assert ended is SweepState.DONE or (early and all(row.state in (*SETTLED, EntryState.HELD) for row in rows))
    first = {(entry.key, entry.race, entry.gates) for entry in planned.entries}
    more = [row for row in rows if row.origin != "search" and (row.key, row.race, row.gates) not in first]
    assert len(more) == sum(row.origin != "search" for row in rows) - len(first)
    assert {row.seed for row in more if not row.base} <= seeds_of_looks(planned.spec)
    assert {row.key for row in more if row.base} == {
        entry.key for entry in arms_at_their_best(planned, rows, home.reader.scores(home.name))
    }
    for stage in searches(planned.spec):
        check_search(home, planned, stage, [row for row in rows if row.stage == stage])
    assert {row.stage for row in rows} == set(range(len(planned.spec.stages)))
    assert home.reader.sweep(home.name).spec == planned.spec.model_dump(mode="json", by_alias=True)
    assert read_difference(home.reader, planned) == []
    again = {rung for rung, count in Counter(home.trained).items() if count > 1}
    assert (
        not again or planned.spec.budget.images_per_trial < IMAGES_PER_TRIAL
    )  # a shorter budget has no checkpoint to go on from
    with home.writing(planned) as writer:
        assert end_at_once(planned, writer, home.reader, guard=BudgetGuard(planned.spec, home.reader)) is not None


def seeds_of_looks(spec: SweepSpec) -> set[int]:
    """Seeds beyond those that are planned at once."""
    racing = [
        stage.grid.seeds for stage in spec.stages if isinstance(stage, GridStage) and isinstance(stage.grid.seeds, RacingSeeds)
    ]
    return {seed for seeds in racing for seed in range(seeds.min, seeds.max)}


def check_search(home: PlayedHome, planned: Plan, stage: int, rows: list[EntryRow]) -> None:
    """One space, one cell that is changed, one budget; each proposal with every seed; as many as the file asks for."""
    search, start = searches(planned.spec)[stage], {}
    images = planned.spec.budget.images_per_trial
    if search.start == "best_cell":
        grids = [row for row in home.rows() if row.stage < stage and row.origin == "grid"]
        best = best_cell(grids, home.reader.scores(home.name), objective=planned.spec.objective)
        assert best is not None
        start, images = {**best.arm, **best.trials[0].entry.base}, best.images
    assert [dict(row.base) for row in rows] == [start] * len(rows)
    assert {row.images for row in rows} == {images}
    arms: dict[str, set[int]] = {}
    for row in rows:
        assert search.holds(row.arm)
        arms.setdefault(str(row.arm), set()).add(row.seed)
    assert all(seeds == set(range(search.seed, search.seed + search.seeds)) for seeds in arms.values())
    assert len(arms) == search.trials or (len(arms) > search.trials and all(row.attempt or row.cached for row in rows))
    racing = not isinstance(planned.spec.scheduler, NoScheduler)
    assert all(bool(row.race) == racing for row in rows)


def test_a_retired_arm_stays_visible_and_is_never_the_best(states: Callable[[Kind, Phase], State], tmp_path: Path) -> None:
    state = states("grid", "after")
    home, file = state.copy(tmp_path), deepcopy(state.file)
    best = read_results(home.reader, home.name).arms[0]
    [other] = {"x", "v"} - {str(best.arm["prediction"])}
    file["stages"] = [{"grid": {"axes": {"prediction": [other]}, "seeds": 2}}]
    home.run(file)
    results = read_results(home.reader, home.name)
    assert [arm.arm for arm in results.arms] == [{"prediction": other}]
    assert {trial.entry.trial_id for trial in results.retired} == {trial.entry.trial_id for trial in best.trials}
    assert all(trial.value(results.objective) is not None for trial in results.retired)
    assert [*results.findings.every] == []
    assert [row["kind"] for row in contents_of(results, ())["rows"]] == ["arm", "retired", "retired"]
    home.run(state.file)
    assert read_results(home.reader, home.name).retired == ()


def test_another_best_cell_leaves_the_former_proposals_as_history_of_their_own_cell(
    states: Callable[[Kind, Phase], State], tmp_path: Path
) -> None:
    state = states("search", "after")
    home, file = state.copy(tmp_path), deepcopy(state.file)
    former = read_results(home.reader, home.name)
    [base] = {str(trial.entry.base["prediction"]) for trial in former.searched}
    [other] = {"x", "v"} - {base}
    file["stages"][0] = {"grid": {"axes": {"prediction": [other]}, "seeds": 2}}
    said = read_difference(home.reader, planned_file(file))
    assert any("starts from another cell: its 3 trials stay as history, 3 are proposed anew" in line for line in said)
    home.run(file)
    results = read_results(home.reader, home.name)
    assert {str(trial.entry.base["prediction"]) for trial in results.searched} == {other}
    of_search = [trial for trial in results.retired if trial.entry.origin == "search"]
    assert {trial.entry.trial_id for trial in of_search} == {trial.entry.trial_id for trial in former.searched}
    home.run(state.file)  # and back: what was proposed for the former cell counts again
    back = read_results(home.reader, home.name)
    assert {trial.entry.trial_id for trial in back.searched} == {trial.entry.trial_id for trial in former.searched}


def test_a_sampler_is_told_of_its_own_cell_only(tmp_path: Path) -> None:
    """What it proposes after an edit is what it proposes in a sweep that has never had another file."""
    learns = search_of(sampler="tpe", options={"n_startup_trials": 1}, trials=7)
    file = tiny_sweep(data=few_images(tmp_path), stages=[deepcopy(GRID), learns])
    home = PlayedHome(tmp_path / "home")
    home.run(file)
    base = next(row.base["prediction"] for row in home.rows() if row.origin == "search")
    [other] = {"x", "v"} - {base}
    file["stages"][0] = {"grid": {"axes": {"prediction": [other]}, "seeds": 2}}
    home.run(file)
    fresh = PlayedHome(tmp_path / "fresh")
    fresh.run(file)
    assert [row.key for row in home.rows()] == [row.key for row in fresh.rows()]


def test_a_file_that_changes_while_a_run_holds_its_sweep_is_refused_and_changes_nothing(
    states: Callable[[Kind, Phase], State], tmp_path: Path
) -> None:
    state = states("search", "during")
    home, file = state.copy(tmp_path), deepcopy(state.file)
    file["stages"][0]["grid"]["seeds"] = 5
    with home.writing(planned_file(state.file)):
        before = contents(home.engine)
        with pytest.raises(LeaseHeld):
            home.run(file)
        assert contents(home.engine) == before
    assert read_difference(home.reader, planned_file(file)) != []


def test_an_old_search_of_unknown_space_is_history(tmp_path: Path) -> None:
    """What an older version proposed before its file's space changed has no content."""
    home, file = PlayedHome(tmp_path), tiny_sweep(**FILES["search"])
    home.run(file)
    with writing(home.engine) as connection:
        connection.execute(update(schema.entry).where(schema.entry.c.origin == "search").values(content=""))
    home.run(file)
    assert len([row for row in home.rows() if row.origin == "search"]) == 3


FOLLOWING = {
    "warm-up": {"learning_rate": 1e-3, "warmup_images": {"kind": "share", "share": 0.25}},
    "cosine": {"learning_rate": 1e-3, "warmup_images": 0, "schedule": {"kind": "cosine"}},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimiser", FOLLOWING.values(), ids=FOLLOWING)
def test_a_schedule_that_follows_the_budget_is_said_to_begin_anew_and_does(optimiser: Tree, kind: Kind, tmp_path: Path) -> None:
    file = tiny_sweep(data=few_images(tmp_path), **deepcopy(FILES[kind]))
    file["baseline"]["optimiser"] = optimiser
    home = PlayedHome(tmp_path / "home")
    home.run(file)
    before = {row.trial_id for row in home.rows()}
    longer = {**file, "budget": {"images_per_trial": 32, "rungs": 2}}
    said = "\n".join(read_difference(home.reader, planned_file(longer)))
    assert "(grid): 4 trials begin anew, to 32 images" in said
    assert "go on" not in said
    assert "goes on" not in said
    home.run(longer)
    assert not before & {row.trial_id for row in home.rows()}
    said = "\n".join(read_difference(home.reader, planned_file(file)))
    assert "(grid): 4 trials return at 16 images, from a former file" in said
