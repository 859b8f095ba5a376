"""The GPU benchmark where there is no GPU: the rival computes the same update, a row that fails is told, and kinds add up."""

from pathlib import Path

import pytest
import torch

from tests.bench import gpu_profile, gpu_sampling, gpu_training
from tests.bench.gpu import Lines, rows
from tests.bench.gpu_modes import Case, Official, Ours, Seen, expected, fill, filled
from tests.bench.gpu_sampling import official_draw, our_draw
from tests.support.images import NoiseImages
from tests.support.trials import CLASSES, SIZE, small_trial
from trainables.config.evaluation import EvaluationConfig
from trainables.networks.kernel_choice import on_triton
from trainables.networks.memory import Fit

IMAGES = NoiseImages(16, size=SIZE, classes=CLASSES)
TINY = Case("jit-tiny/16", 32, 4)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 1e-2)])
def test_the_official_step_and_ours_make_the_same_first_update(precision: str, tolerance: float) -> None:
    trial = small_trial(precision=precision)
    theirs = expected(trial, IMAGES, at_once=2)
    for trained in (Official(trial, IMAGES, compiled=False), Ours(trial, IMAGES, Fit(4, activation_checkpointing=False))):
        trained.update()
        assert trained.seen() == pytest.approx(theirs, rel=tolerance)


def test_an_update_that_differs_is_no_figure() -> None:
    assert Seen(1.0, 2.0).apart(Seen(1.0, 2.0), residual="fp32") == Seen(0.0, 0.0)
    for wrong in (Seen(1.01, 2.0), Seen(1.0, 2.02), Seen(float("nan"), 2.0)):
        with pytest.raises(ArithmeticError, match="must have the eager loss and gradient norm"):
            wrong.apart(Seen(1.0, 2.0), residual="fp32")
    assert Seen(1.01, 2.0).apart(Seen(1.0, 2.0), residual="bf16").loss == pytest.approx(0.01)


def test_every_parameter_of_a_filled_network_moves_the_loss() -> None:
    trial = small_trial()
    network = filled(trial)
    expected_of = [p.clone() for p in network.parameters()]
    fill(network)
    assert all(torch.equal(a, b) for a, b in zip(expected_of, network.parameters(), strict=True))
    z, t, y = torch.randn(4, 3, SIZE, SIZE), torch.rand(4), torch.arange(4)
    network(z, t, y).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_row_that_fails_is_its_reason_and_the_rows_after_it_follow() -> None:
    def cells(case: Case, mode: str) -> list[list[str]]:
        if mode == "triton":
            raise RuntimeError("no | kernel\nhere")
        return [["4"]]

    lines = list(rows([(TINY, "triton"), (TINY, "eager")], cells, minutes=1))
    assert lines == ["| jit-tiny/16@32 | triton | RuntimeError: no / kernel here |", "| jit-tiny/16@32 | eager | 4 |"]
    assert "not begun within 0 minutes" in next(iter(rows([(TINY, "eager")], cells, minutes=0)))


def test_a_row_whose_kernels_were_not_used_says_so_each_time() -> None:
    def cells(case: Case, mode: str) -> list[list[str]]:
        on_triton("triton", torch.zeros(1), unsupported=f"{mode} is odd")
        return [["4"]]

    lines = list(rows([(TINY, "triton"), (TINY, "triton")], cells, minutes=1))
    assert [line for line in lines if "triton is odd" in line] == [lines[1], lines[3]]


def test_the_rows_of_several_calls_make_one_table(tmp_path: Path) -> None:
    out = tmp_path / "table.md"
    for line in ("| 1 |", "| 2 |"):
        say = Lines(out)
        say.head("a card", ["case"])
        say(line)
    assert out.read_text() == "a card\n\n| case |\n|---|\n| 1 |\n| 2 |\n"


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_row_has_a_cell_for_every_column_of_its_table() -> None:
    trained = gpu_training.cells(TINY, "eager", attention="sdpa", device="cpu")
    short = EvaluationConfig(steps=2)
    drawn = gpu_sampling.cells(TINY, "eager", attention="sdpa", device="cpu", evaluation=short)
    profiled = gpu_profile.by_kind([("nvjet_tst", 2000.0)], update_ms=3.0, updates=1)
    for table, made in ((gpu_training, trained), (gpu_sampling, drawn), (gpu_profile, profiled)):
        assert {2 + len(row) for row in made} == {len(table.HEADER)}


def test_both_samplers_draw_images_of_the_trial_s_size_for_every_label() -> None:
    trial, evaluation, labels = small_trial(precision="bf16"), EvaluationConfig(steps=3, guidance=2.0), torch.arange(2)
    for draw in (official_draw(trial, labels, compiled=False), our_draw(trial, labels)):
        images = draw(evaluation)
        assert (images.shape, images.dtype) == ((2, 3, SIZE, SIZE), torch.uint8)


KERNELS = {
    "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT": "matmul",
    "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma": "attention",
    "void pytorch_flash::flash_bwd_kernel": "attention",
    "triton_poi_fused_mul_sigmoid_silu_3": "SwiGLU",
    "_attention_keys": "attention",
    "_gate_backward": "SwiGLU",
    "_write_normals": "draws",
    "triton_per_fused__fused_rms_norm_addcmul_7": "norm/gate",
    "triton_red_fused_sum_1": "bias sums",
    "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<FusedAdamMathFunctor>": "optimiser",
    "Memcpy DtoD (Device -> Device)": "copies",
    "triton_poi_fused_add_2": "other elementwise",
}


def test_kernels_are_told_apart_by_their_names() -> None:
    assert {name: gpu_profile.kind_of(name) for name in KERNELS} == KERNELS


def test_kinds_and_gap_add_up_to_the_update() -> None:
    kernels = [("nvjet_a", 1000.0), ("nvjet_a", 1000.0), ("silu", 500.0)]
    table = gpu_profile.by_kind(kernels, update_ms=2.0, updates=2)
    assert [row[:3] for row in table] == [
        ["matmul", "1.00", "1"],
        ["SwiGLU", "0.25", "0"],
        ["gap", "0.75", ""],
        ["whole", "2.00", ""],
    ]
