"""A sweep file's faults are told all at once, and every mistyped name with what was probably meant."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from jit_sweep.cli.plan import planned
from jit_sweep.errors import UserError
from jit_sweep.home import Home

SOUND: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "emoji32"},
    "baseline": {"preset": "jit-tiny"},
    "stages": [{"grid": {"axes": {"prediction": ["x", "v"]}}}],
    "objective": "fd_efflite0_96",
    "budget": {"images_per_trial": 256},
}
SEARCH = {"sampler": "tpe", "trials": 2, "axes": {"depth": [2, 4]}}
HALVING = {"kind": "halving", "first_rung": {"images": 128}}
LADDER = {"kind": "ladder", "changes": {"v": {"prediction": "v"}, "wide": {"width": 256}}}


def faults_of(folder: Path, **parts: Any) -> list[str]:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump({**SOUND, **parts}))
    with pytest.raises(UserError) as refused:
        planned(str(file), Home(folder))
    return [line.removeprefix(f"{file}: ") for line in str(refused.value).splitlines()]


def test_overrides_are_checked_behind_a_wrong_axis(tmp_path: Path) -> None:
    baseline = {"preset": "jit-tiny", "model": {"dept": 2}, "optimiser": {"learning_rate": -1.0}}
    stages = [{"grid": {"axes": {"predictoin": ["x"], "norm": ["rmss", "batch"]}}}]
    lines = faults_of(tmp_path, baseline=baseline, stages=stages)
    assert [line.partition(": ")[0] for line in lines] == [
        "stages[0].grid.axes",
        "baseline.model.dept",
        "baseline.optimiser.learning_rate",
    ]
    for part in ("did you mean 'prediction'?", "got 'rmss'; did you mean 'rms'?", "got 'batch'"):
        assert part in lines[0]


def test_overrides_are_checked_where_the_data_is_missing(tmp_path: Path) -> None:
    lines = faults_of(tmp_path, data={"uri": str(tmp_path / "no.npz")}, baseline={"preset": "jit-tiny", "model": {"dept": 2}})
    assert [line.partition(": ")[0] for line in lines] == ["baseline.model.dept", "data"]


@pytest.mark.parametrize(
    ("parts", "meant"),
    [
        ({"stages": [{"grid": {"axes": {"predictoin": ["x"]}}}]}, ["prediction"]),
        ({"stages": [{"grid": {"axes": {"t_sampling": ["unifrom"]}}}]}, ["uniform"]),
        ({"stages": [{"gird": {"axes": {"prediction": ["x"]}}}]}, ["grid"]),
        ({"stages": [{"search": {**SEARCH, "sampler": "tpee"}}]}, ["tpe"]),
        ({"stages": [{"search": {**SEARCH, "objectives": ["fd_eflite0_96", "parametres"]}}]}, ["fd_efflite0_96", "parameters"]),
        ({"stages": [{"search": {**SEARCH, "limits": {"tokns": 3, "parametres": 4}}}]}, ["tokens", "parameters"]),
        ({"stages": [{"grid": {"axes": {"depth": [2]}, "contrasts": [{"axis": "dept"}]}}]}, ["depth"]),
        ({"stages": [{"abaltion": {"kind": "ladder", "changes": {"v": {"prediction": "v"}}}}]}, ["ablation"]),
        ({"stages": [{"ablation": {"kind": "laddr", "changes": {"v": {"predicton": "v"}}}}]}, ["ladder", "prediction"]),
        (
            {"stages": [{"ablation": {**LADDER, "contrasts": {"q": {"arm": "v", "agains": "wide"}}}}]},
            ["against"],
        ),
        ({"stages": [{"ablation": {**LADDER, "contrasts": {"q": {"arm": "wihde"}}}}]}, ["wide"]),
        ({"scheduler": {**HALVING, "kind": "halfing"}}, ["halving"]),
        ({"scheduler": {**HALVING, "metric": "heldout_error"}}, ["heldout_v_error"]),
        ({"scheduler": {**HALVING, "compare_within": ["patchsize", "dept"]}}, ["patch_size", "depth"]),
        ({"baseline": {"preset": "jit-tinny"}}, ["jit-tiny"]),
        ({"baseline": {"preset": "jit-tiny", "optimiser": {"schedule": {"kind": "cosin"}}}}, ["cosine"]),
        ({"data": {"name": "emoji23"}}, ["emoji32"]),
        ({"data": {"nam": "emoji32"}}, ["name"]),
        ({"objective": "fd_eflite0_96"}, ["fd_efflite0_96"]),
        ({"evaluation": {"sampler": "eular"}}, ["euler"]),
        ({"bugdet": {}}, ["budget"]),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(
    tmp_path: Path, parts: dict[str, Any], meant: list[str]
) -> None:
    told = "\n".join(faults_of(tmp_path, **parts))
    assert all(f"did you mean {name!r}?" in told for name in meant)


def test_the_faults_of_an_ablation_s_changes_are_told_at_once_and_hide_no_other_fault(tmp_path: Path) -> None:
    changes = {"v": {"prediction": ["x", "v"]}, "a b": {"depth": 2}, "full": {"rope": False}, "tall": {"patch_size": 5}}
    lines = faults_of(tmp_path, stages=[{"ablation": {"kind": "ladder", "changes": changes}}])
    told = "\n".join(lines)
    assert "a b: a change's name must be letters, digits, '_', '.' and '-', at most 63, got 'a b'" in told
    assert "v: a change must give an axis one value, got several of prediction; make each a change" in told
    assert "a change must have a name of its own, got 'full', which is an arm's; say what it changes" in told
    assert "stages[0].ablation: patch_size=5: `patch_size` must divide image_size" in told


def test_a_change_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    changes = {"v": {"prediction": "v"}, "again": {"prediction": "v"}}
    (line,) = faults_of(tmp_path, stages=[{"ablation": {"kind": "one_at_a_time", "changes": changes}}])
    assert line == "stages[0].ablation: `changes` must make arms that differ, got v the same as again; leave one of them out"


def test_a_value_that_resembles_none_is_answered_with_the_rule_alone(tmp_path: Path) -> None:
    (line,) = faults_of(tmp_path, evaluation={"sampler": "dpm"})
    assert line == "evaluation.sampler: must be 'euler' or 'heun', got 'dpm'"


WRONG_CELLS = [{"grid": {"axes": {"patch_size": [5, 16]}}}]


@pytest.mark.parametrize(
    ("parts", "also"),
    [
        ({"baseline": {"preset": "jit-tinny"}}, ["baseline.preset"]),
        ({"baseline": {"preset": "jit-b/16@256"}}, ["baseline.preset"]),
        ({"baseline": {"preset": "jit-tiny", "model": {"dept": 2}}}, ["baseline.model.dept"]),
        (
            {"baseline": {"preset": "jit-tiny", "optimiser": {"warmup_images": {"epochs": 5}}}},
            ["baseline.optimiser.warmup_images"],
        ),
        ({"baseline": {"preset": "jit-tiny", "ema": [{"kind": "decays", "decay": 0.9}]}}, ["baseline.ema[0]"]),
        ({"data": {"name": "emoji23"}}, ["data.name"]),
        ({"evaluation": {"n": 0, "step": 3}}, ["evaluation.n", "evaluation.step"]),
        ({"scheduler": {**HALVING, "kind": "halfing"}}, ["scheduler"]),
        ({"scheduler": {"kind": "halving"}}, ["scheduler.first_rung"]),
        ({"budget": [1], "objective": ["x"], "name": "A B"}, ["name", "objective", "budget"]),
        ({"resources": {"gpus": "all"}, "bugdet": {}}, ["resources.gpus", "bugdet"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_no_fault_of_another_key_hides_a_cells(tmp_path: Path, parts: dict[str, Any], also: list[str]) -> None:
    lines = faults_of(tmp_path, stages=WRONG_CELLS, **parts)
    assert any(line.startswith("stages[0].grid: patch_size=5: `patch_size` must divide image_size") for line in lines)
    assert all(any(line.startswith(key) for line in lines) for key in also)


def test_a_wrong_option_of_a_sampler_hides_no_other_fault(tmp_path: Path) -> None:
    stages = [{"search": {**SEARCH, "options": {"n_startup_trials": -3}}}]
    lines = faults_of(tmp_path, stages=stages, baseline={"preset": "jit-tiny", "batch_size": 7})
    assert [line.partition(": ")[0] for line in lines] == ["stages[0].search.options", "budget.images_per_trial"]


def test_nothing_is_said_of_what_hangs_on_a_value_that_is_not_known(tmp_path: Path) -> None:
    """A width that is no number is told alone: whether the heads divide it is not known."""
    baseline = {"preset": "jit-tiny", "model": {"width": "big", "heads": 5}}
    (line,) = faults_of(tmp_path, baseline=baseline)
    assert line == "baseline.model.width: must be a whole number, got 'big'"


@pytest.mark.parametrize(("axes", "told"), [({"width": [54]}, ["heads", "width"]), ({"patch_size": [5]}, [])])
def test_what_hangs_on_missing_data_waits_for_it_and_all_else_is_told(
    tmp_path: Path, axes: dict[str, Any], told: list[str]
) -> None:
    data, *lines = faults_of(tmp_path, data={"uri": str(tmp_path / "no.npz")}, stages=[{"grid": {"axes": axes}}])
    assert data.startswith("data: ")
    assert [line.split("`")[1] for line in lines] == told
    assert all(line.startswith("stages[0].grid: ") for line in lines)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"baseline": {"preset": None}}, "baseline.preset: must be a text, got nothing"),
        ({"budget": {"images_per_trial": {}}}, "budget.images_per_trial: must be a whole number, got a mapping"),
        ({"data": {"name": "emoji32", "flip": "maybe"}}, "data.flip: must be true or false, got 'maybe'"),
        ({"stages": {}}, "stages: must be a list, got a mapping"),
        (
            {"baseline": {"preset": "jit-tiny", "compile": "block"}},
            "baseline.compile: must be false, true or 'blocks', got 'block'; did you mean 'blocks'?",
        ),
        ({"scheduler": {"reduction": 3}}, "scheduler: must be a mapping with a `kind`, got one without"),
        ({"data": {"name": "emoji32", "uri": "x"}}, "keys name, uri, got name and uri; leave one of them out"),
        ({"stages": [{"grid": {"axes": {"prediction": [None]}}}]}, "`prediction` must be 'x', 'eps' or 'v', got nothing"),
        ({"baseline": {"preset": "jit-tiny", "optimiser": {"warmup_images": {"kind": "epoch"}}}}, "did you mean 'epochs'?"),
        (
            {"baseline": {"preset": "jit-tiny", "optimiser": {"warmup_images": {"epochs": 5}}}},
            "unknown key 'epochs'; valid keys: kind, share; 'epochs' belongs to `kind: epochs`, so write that kind",
        ),
        (
            {"baseline": {"preset": "jit-tiny", "optimiser": {"warmup_images": "5 epochs"}}},
            "must be a number of images, or a mapping with `kind` epochs or share, got '5 epochs'",
        ),
    ],
)
def test_a_fault_is_told_in_the_files_words(tmp_path: Path, parts: dict[str, Any], said: str) -> None:
    told = "\n".join(faults_of(tmp_path, **parts))
    assert said in told
    assert not [word for word in ("NoneType", "'dict'", "'list'", "Input should", "integer", "None") if word in told]


WRONG_KEYS = {"baseline": {"preset": "jit-tiny", "model": {"dept": 2}}, "budget": {"images_per_trial": 250}}
NAMED_TWICE = [{"name": "a", **WRONG_CELLS[0]}, {"name": "a", "grid": {"axes": {"depth": [2, 4]}}}]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"objective": "fid"}, "objective: `fid` must be a score of `evaluation.features`, got efflite0; try one of fd_"),
        ({"objective": "fid"}, ", or the features {kind: inception, weights: FILE}"),
        ({"scheduler": {**HALVING, "metric": "kid"}}, "scheduler.metric: `kid` must be a score of"),
        (
            {"stages": [*WRONG_CELLS, {"search": {**SEARCH, "objectives": ["fid", "parameters"]}}]},
            "stages[1].search.objectives: `fid` must be a score of",
        ),
        ({"stages": NAMED_TWICE}, "stages[1].name: `stages` must not repeat a name, got a again; give this one another"),
        ({"data": {"name": "emoji32", "flip": "fals"}, "objective": "fid"}, "objective: `fid` must be a score of"),
    ],
)
def test_a_rule_over_several_keys_is_told_at_one_and_hides_no_other_fault(
    tmp_path: Path, parts: dict[str, Any], said: str
) -> None:
    lines = faults_of(tmp_path, **{"stages": WRONG_CELLS, **WRONG_KEYS, **parts})
    assert any(line.startswith(said) or said in line for line in lines)
    keys = ("baseline.model.dept: ", "budget.images_per_trial: ", "stages[0].grid: patch_size=5: ")
    assert all(any(line.startswith(key) for line in lines) for key in keys)
    assert all(line.partition(": ")[0].split(".")[0].split("[")[0] in {*SOUND, "scheduler"} for line in lines), (
        "each has its key"
    )


def test_a_search_without_cells_before_it_hides_no_other_fault(tmp_path: Path) -> None:
    stages = [{"search": {**SEARCH, "from": "best_cell"}}]
    lines = faults_of(tmp_path, stages=stages, **WRONG_KEYS)
    assert [line.partition(": ")[0] for line in lines] == [
        "stages[0].search.from",
        "baseline.model.dept",
        "budget.images_per_trial",
    ]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("jit-b/16@265", "jit-b/16@256"),
        ("jit-tiny/16@256", "jit-tiny/16"),
        ("jit-bb/16@256", "jit-b/16@256"),
        ("jit-tny/8", "jit-tiny/8"),
        ("jit-bb", "jit-b"),
    ],
)
def test_a_guessed_preset_is_one_fault_in_one_line(tmp_path: Path, given: str, meant: str) -> None:
    """What the guessed one would be refused for, its images' size or its batch, is not the file's fault."""
    assert faults_of(tmp_path, baseline={"preset": given}) == [
        f"baseline.preset: `preset` must be a known one, got {given!r}; did you mean {meant!r}?"
    ]


def test_an_unknown_key_is_told_though_its_valid_ones_hang_on_what_is_unsure(tmp_path: Path) -> None:
    lines = faults_of(tmp_path, baseline={"preset": "jit-bb", "optimiser": {"zzz": 1}})
    assert [line.partition(": ")[0] for line in lines] == ["baseline.preset", "baseline.optimiser.zzz"]


def test_what_a_whole_trial_is_refused_for_hides_nothing_else_of_its_cell(tmp_path: Path) -> None:
    """Rules of a trial on its device, on the images, on its budget, and on how it is scored, each told in its own line."""
    baseline = {
        "preset": "jit-tiny/5",
        "optimiser": {"warmup_images": 512},
        "diffusion": {"label_drop": 0.0},
        "kernels": "triton",
        "graphs": True,
    }
    stages = [{"grid": {"axes": {"prediction": ["x"]}}}, {"search": {**SEARCH, "axes": {"noise_scale": [1.0, 2.0]}}}]
    lines = faults_of(tmp_path, baseline=baseline, stages=stages, evaluation={"n": 8, "guidance": 4})
    assert [line.split("`")[1] for line in lines] == ["patch_size", "kernels", "graphs", "warmup_images", "guidance"]
    assert all(line.startswith("stages[0].grid: prediction=x (and 2 more cells): ") for line in lines)


def test_rules_over_the_sizes_of_a_network_are_told_at_once(tmp_path: Path) -> None:
    baseline = {
        "preset": "jit-tiny",
        "model": {"heads": 7, "depth": 3, "proj_dropout": 0.1, "class_tokens": 2, "class_tokens_start": 3},
    }
    told = "\n".join(faults_of(tmp_path, baseline=baseline))
    assert all(rule in told for rule in ("`heads` must divide width", "`class_tokens_start` must be", "dropout acts in"))
