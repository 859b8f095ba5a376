"""Paths of stages: PixelFlow's own numbers, what noise is at a border, and samples by exact networks."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainables.config.diffusion import DiffusionConfig
from trainables.config.evaluation import EvaluationConfig
from trainables.config.path import FlowPath, StagedPath
from trainables.diffusion.clamp import clamped_share
from trainables.diffusion.integrators import stage_grid, stage_steps
from trainables.diffusion.sampler import passes, sample
from trainables.diffusion.stage_bounds import clock, starts
from trainables.diffusion.stages import PathStage, correlated, doubled, halved, path_stages
from trainables.diffusion.t_sampling import times

GOLDEN = Path(__file__).parents[3] / "golden" / "neighbours" / "pixelflow_stages.npz"
PATHS = [
    StagedPath(stages=3),
    StagedPath(stages=2, gamma=-0.1),
    StagedPath(stages=3, noise="halved", gamma=-0.2),
    StagedPath(stages=3, transform="blur"),
]


def official() -> tuple[dict[str, Tensor], dict[str, Any]]:
    with np.load(GOLDEN, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if name != "meta"}
        return arrays, json.loads(str(file["meta"]))


ARRAYS, META = official()
OFFICIAL = StagedPath(stages=META["num_stages"], gamma=META["gamma"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def close(ours: Tensor | Sequence[float], theirs: Tensor) -> None:
    ours = torch.as_tensor(ours, dtype=torch.float64)
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("number", range(META["num_stages"]))
def test_a_stage_shows_tells_and_asks_what_pixelflow_s_does(number: int) -> None:
    own = {name.partition("/")[2]: array for name, array in ARRAYS.items() if name.startswith(f"stage{number}/")}
    stage, t, noise = path_stages(OFFICIAL)[number], own["t_in_stage"].float(), own["noise"]
    whole = torch.full((len(t), *ARRAYS["x"].shape[1:]), torch.nan)
    whole[..., : noise.shape[-2], : noise.shape[-1]] = noise
    x, e, z, _ = stage.example(ARRAYS["x"][own["images"]], whole, t)
    close(z, own["xt"])
    close(stage.truth(x, e, "v"), own["target"])
    close(1000 * stage.told(own["t_in_stage"]), own["timestep"])


def test_stages_begin_and_the_clock_runs_as_pixelflow_s_do() -> None:
    stages = path_stages(OFFICIAL)
    close(starts(OFFICIAL), ARRAYS["start_t"])
    close([1000 * stage.told(0.0) for stage in stages], ARRAYS["Timestep_first"])
    close([1000 * stage.told(0.999) for stage in stages], ARRAYS["Timestep_last"])
    assert clock(OFFICIAL)[-1] == 999


def test_a_stage_s_steps_are_pixelflow_s() -> None:
    steps = ARRAYS["sample_t"].shape[1] - 1
    for number in range(OFFICIAL.stages):
        close(stage_grid(steps, shift=1.0), ARRAYS["sample_t"][number])
        told = [1000 * path_stages(OFFICIAL)[number].told(t) for t in stage_grid(steps, shift=1.0)[:-1]]
        close(told, ARRAYS["sample_Timesteps"][number])
    close(stage_grid(steps, shift=2.0), ARRAYS["shift2_t"])


@pytest.mark.parametrize("number", range(1, META["num_stages"]))
def test_a_border_scales_and_renoises_as_pixelflow_s_does(number: int) -> None:
    stage, nothing = path_stages(OFFICIAL)[number], torch.zeros(1, 1, 4, 4)
    close(stage.entered(torch.ones(1, 1, 2, 2), nothing), ARRAYS["jump_alpha"][number].expand(1, 1, 4, 4))
    white = normal(1, 1, 4, 4)
    close(stage.entered(torch.zeros(1, 1, 2, 2), white), ARRAYS["jump_beta"][number] * correlated(white, OFFICIAL.gamma))


def test_noise_of_a_border_has_pixelflow_s_covariance() -> None:
    block = torch.eye(4).view(4, 1, 2, 2)
    root = correlated(block, OFFICIAL.gamma).view(4, 4)
    close(root @ root.T, ARRAYS["block_noise_covariance"])


def test_the_guidance_grows_by_stage_as_pixelflow_s_and_linearly_between() -> None:
    assert [stage.guidance for stage in path_stages(StagedPath(stages=4))] == pytest.approx([0, 1 / 6, 2 / 3, 1])
    assert [stage.guidance for stage in path_stages(StagedPath(stages=3))] == pytest.approx([0, 5 / 12, 1])
    assert [stage.guidance for stage in path_stages(FlowPath())] == [1.0]


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_sample_of_the_truth_enters_the_next_stage_where_that_begins(path: StagedPath) -> None:
    """Its mean is that start's, and its noise is white of that deviation again."""
    x, e = normal(1, 1, 8, 8).expand(20_000, -1, -1, -1), normal(20_000, 1, 8, 8, seed=1)
    ones, zeros = torch.ones(20_000), torch.zeros(20_000)
    for number, (before, stage) in enumerate(pairwise(path_stages(path)), start=1):
        side = path.sides(8)[number]
        entered = stage.entered(before.example(x, e, ones).z, normal(20_000, 1, side, side, seed=2))
        mean = stage.example(x[:1], torch.zeros_like(e[:1]), zeros[:1]).z
        torch.testing.assert_close(entered.mean(0, keepdim=True), mean, rtol=0, atol=0.03)
        block = (entered - mean)[..., :2, :2].reshape(-1, 4) / (1 - starts(path)[number])
        torch.testing.assert_close(block.T.cov(), torch.eye(4), rtol=0, atol=0.05)


def test_a_smaller_stage_s_noise_is_fresh_or_the_larger_one_s_halved_and_doubled() -> None:
    x, e, t = torch.zeros(4, 3, 16, 16), normal(4, 3, 16, 16), torch.zeros(4)
    fresh = [stage.example(x, e, t).e for stage in path_stages(StagedPath(stages=3))]
    tied = [stage.example(x, e, t).e for stage in path_stages(StagedPath(stages=3, noise="halved"))]
    assert torch.equal(fresh[2], e)
    assert torch.equal(fresh[1], e[..., :8, :8])
    torch.testing.assert_close(tied[0], 2 * halved(tied[1]))
    torch.testing.assert_close(tied[1], 2 * halved(e))
    assert float(tied[0].std()) == pytest.approx(1, abs=0.15)


def test_blurs_add_up_and_stages_of_one_meet() -> None:
    x, e = normal(2, 3, 16, 16), normal(2, 3, 16, 16, seed=1)
    stages = path_stages(StagedPath(stages=3, transform="blur"))
    for before, after in pairwise(stages):
        torch.testing.assert_close(before.example(x, e, torch.ones(2)).z, after.example(x, e, torch.zeros(2)).z)
    spreads = [float(stage.example(x, e, torch.ones(2)).x.std()) for stage in stages]
    assert spreads == sorted(spreads)
    assert torch.equal(stages[-1].example(x, e, torch.ones(2)).x, x)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_true_image_says_the_true_velocity(path: StagedPath) -> None:
    t = torch.linspace(0, 0.95, 6)
    for stage in path_stages(path):
        x, e, z, _ = stage.example(normal(6, 3, 16, 16), 2 * normal(6, 3, 16, 16, seed=1), t)
        said = stage.convert(x, z, t, source="x", target="v", t_eps=0.0)
        torch.testing.assert_close(said, stage.truth(x, e, "v"), rtol=1e-4, atol=1e-4)


class Knowing(nn.Module):
    """An x-prediction that knows the image, and sees each stage by the time that it is told."""

    def __init__(self, image: Tensor, stages: Sequence[PathStage]) -> None:
        super().__init__()
        self.image, self.stages, self.sides = image, stages, [0] * len(stages)

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        number = max(i for i, stage in enumerate(self.stages) if stage.told(0.0) <= float(t[0]) + 1e-6)
        self.sides[number] = z.shape[-1]
        whole = self.image.expand(len(z), -1, -1, -1)
        return self.stages[number].example(whole, whole, torch.zeros(len(z))).x


@pytest.mark.parametrize("sampler", ["euler", "heun"])
@pytest.mark.parametrize("path", PATHS, ids=str)
def test_who_knows_the_image_draws_it(path: StagedPath, sampler: str) -> None:
    image = normal(1, 3, 16, 16).clamp(-1, 1)
    network = Knowing(image, path_stages(path))
    evaluation = EvaluationConfig.model_validate({"n": 2, "sampler": sampler, "steps": 7, "t_eps_sample": 0.0})
    borders = [normal(2, 3, side, side, seed=side) for side in path.sides(16)[1:]]
    drawn = sample(
        network,
        normal(2, 3, 16, 16, seed=5),
        torch.zeros(2, dtype=torch.int64),
        diffusion=DiffusionConfig(path=path),
        evaluation=evaluation,
        num_classes=1,
        borders=borders,
    )
    torch.testing.assert_close(drawn, image.expand(2, -1, -1, -1), rtol=0, atol=1e-3)
    assert tuple(network.sides) == path.sides(16)


def test_steps_are_shared_out_and_every_pass_is_counted() -> None:
    path, labels = StagedPath(stages=3), torch.zeros(2, dtype=torch.int64)
    evaluation = EvaluationConfig(n=2, sampler="heun", steps=8, guidance=3.0, interval=(0.0, 1.0))
    assert [len(steps) for steps in stage_steps(evaluation, path)] == [2, 3, 3]
    seen: list[int] = []

    class Counted(nn.Module):
        def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
            seen.append(len(z))
            return torch.zeros_like(z)

    borders = [normal(2, 3, side, side) for side in path.sides(16)[1:]]
    diffusion = DiffusionConfig(prediction="v", path=path)
    heard: list[int] = []
    sample(
        Counted(), normal(2, 3, 16, 16), labels, diffusion=diffusion, evaluation=evaluation, num_classes=1 + 1,
        borders=borders, stepped=heard.append,
    )  # fmt: skip
    assert sum(seen) == 2 * passes(evaluation, path)
    assert seen[:3] == [2, 2, 2]  # the first stage is not guided
    assert seen[3] == 4
    assert heard == [*range(1, 9)]


def test_the_share_of_clamped_samples_is_counted_over_the_stages() -> None:
    path = StagedPath(stages=3)
    diffusion = DiffusionConfig(path=path, t_eps_train=0.2)
    t = times((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000, diffusion.t_sampling)
    noise = [1 - b - t * ((number + 1) / 3 - b) for number, b in enumerate(starts(path))]
    drawn = float(torch.stack([left < 0.2 for left in noise]).double().mean())
    assert clamped_share(diffusion) == pytest.approx(drawn, abs=1e-4)
    assert clamped_share(diffusion.model_copy(update={"prediction": "v"})) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prediction": "eps"}, "prediction=eps"),
        ({"prediction": "v", "loss": "x"}, "prediction=v, loss=x"),
        ({"prediction": "x", "loss": "eps"}, "loss=eps"),
        ({"weighting": {"kind": "min_snr"}}, "weighting=min_snr"),
        ({"dimensions": 8}, "dimensions=8"),
    ],
)
def test_what_has_no_meaning_in_a_stage_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DiffusionConfig.model_validate({"path": {"kind": "staged"}, **changes})


def test_a_blur_has_neither_another_noise_nor_a_gamma() -> None:
    with pytest.raises(ValueError, match="noise=halved"):
        StagedPath(transform="blur", noise="halved")
    assert doubled(torch.ones(1, 1, 1, 1)).shape == (1, 1, 2, 2)
