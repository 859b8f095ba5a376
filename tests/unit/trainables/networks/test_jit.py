"""The network: every component does what it says, and the fast forms equal the plain ones."""

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.nn import functional as F

from tests.support.paths import GOLDEN
from tests.support.trials import CLASSES, batch, lively, small_model, small_trial
from trainables.config.diffusion import DiffusionConfig
from trainables.config.network import ConvStemEmbedding, LinearEmbedding
from trainables.networks.attention import Attention
from trainables.networks.embedding import images_of, patches_of
from trainables.networks.jit import SIGMA_DATA, Block, edm_skip, in_middle_half, normalised
from trainables.networks.norm import Stream, joined, rms_normalise
from trainables.networks.positions import rotate, rotate_by_parts, rotation_table, sincos_table

Z, TIMES, LABELS = batch()
COMPONENTS: list[dict[str, object]] = [
    {"embedding": LinearEmbedding()},
    {"embedding": ConvStemEmbedding()},
    {"norm": "layer"},
    {"mlp": "gelu"},
    {"mlp_ratio": 2.0},
    {"rope": False},
    {"qk_norm": False},
    {"position": "none"},
    {"class_tokens": 0},
    {"normalise_input": True},
    {"class_tokens": 2},
    {"class_tokens_start": 0},
    {"class_tokens_start": 3},
    {"output_skip": "edm"},
    {"output_skip": "linear"},
    {"heads": 2},
    {"patch_size": 8},
    {"patch_size": 1},
]


@torch.no_grad()
def output(**model: object) -> Tensor:
    result: Tensor = lively(small_trial(small_model(**model)))(Z, TIMES, LABELS)
    return result


@pytest.mark.parametrize("changes", COMPONENTS, ids=str)
def test_every_component_changes_the_output_and_keeps_its_shape(changes: dict[str, object]) -> None:
    changed = output(**changes)
    assert changed.shape == Z.shape
    assert changed.dtype == torch.float32
    assert torch.isfinite(changed).all()
    assert (changed - output()).abs().max() > 1e-3


@pytest.mark.parametrize("changes", [{}, *COMPONENTS], ids=str)
def test_every_parameter_gets_a_gradient(changes: dict[str, object]) -> None:
    network = lively(small_trial(small_model(**changes))).train()
    network(Z, TIMES, LABELS).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_images_of_a_batch_do_not_touch_each_other() -> None:
    network = lively(small_trial())
    with torch.no_grad():
        alone = torch.cat([network(Z[i : i + 1], TIMES[i : i + 1], LABELS[i : i + 1]) for i in range(len(Z))])
        torch.testing.assert_close(network(Z, TIMES, LABELS), alone, rtol=1e-4, atol=1e-5)


def test_time_class_and_the_null_label_each_matter() -> None:
    network = lively(small_trial())
    with torch.no_grad():
        base = network(Z, TIMES, LABELS)
        for t, y in ((1 - TIMES, LABELS), (TIMES, (LABELS + 1) % CLASSES), (TIMES, torch.full_like(LABELS, CLASSES))):
            assert (network(Z, t, y) - base).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ["sdpa", "fp32"])
def test_a_forward_and_backward_pass_reads_no_value_back_from_the_device(attention: str) -> None:
    """Fake tensors have no values: reading one raises."""
    network = lively(small_trial(small_model(output_skip="edm"), attention=attention)).train()
    with FakeTensorMode() as mode:
        state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        fake: dict[str, Tensor] = {name: mode.from_tensor(tensor) for name, tensor in state.items()}
        inputs = tuple(mode.from_tensor(tensor) for tensor in (Z, TIMES, LABELS))
        functional_call(network, fake, inputs).square().mean().backward()


def test_one_matrix_product_yields_all_shifts_scales_and_gates() -> None:
    network = lively(small_trial())
    linears = [m.out_features for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert linears.count((6 * 4 + 2) * 48) == 1
    assert network.modulation.weight.shape == ((6 * 4 + 2) * 48, 48)


def test_the_state_dict_holds_trained_parameters_alone() -> None:
    network = lively(small_trial())
    assert network.state_dict().keys() == {name for name, p in network.named_parameters() if p.requires_grad}


def gradients(attention: str, **model: object) -> list[Tensor]:
    network = lively(small_trial(small_model(**model), attention=attention))
    network(Z, TIMES, LABELS).square().mean().backward()
    return [p.grad for p in network.parameters() if p.grad is not None]


def test_both_attention_modes_give_the_same_gradients_in_fp32() -> None:
    for fused, written in zip(gradients("sdpa"), gradients("fp32"), strict=True):
        torch.testing.assert_close(fused, written, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "fp32"])
@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_bf16_autocast_stays_close_to_fp32_without_a_warning(attention: str, norm: str) -> None:
    network = lively(small_trial(small_model(norm=norm), attention=attention))
    exact = network(Z, TIMES, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.autocast("cpu", torch.bfloat16):
            rounded = network(Z, TIMES, LABELS)
        rounded.square().mean().backward()
    assert rounded.dtype == torch.float32
    error = (rounded - exact).norm() / exact.norm()
    assert 0 < error < 0.03


@pytest.mark.parametrize(("attention", "sampled_in"), [("sdpa", torch.bfloat16), ("fp32", torch.float32)])
def test_attention_on_a_cpu_under_bf16_autocast_trains_in_fp32(attention: str, sampled_in: torch.dtype) -> None:
    network = lively(small_trial(attention=attention))
    seen: list[torch.dtype] = []
    projection = network.get_submodule("blocks.0.attention.proj")
    projection.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        trained = network(Z, TIMES, LABELS)
        with torch.no_grad():
            sampled = network(Z, TIMES, LABELS)
    assert seen == [torch.float32, sampled_in]
    torch.testing.assert_close(sampled, trained.detach(), rtol=0.1, atol=0.1)


DROPOUTS: list[dict[str, float]] = [{}, {"attn_dropout": 0.5}, {"proj_dropout": 0.5}, {"dropout": 0.5}]


@pytest.mark.parametrize("attention", ["sdpa", "fp32"])
def test_dropout_acts_in_training_alone(attention: str) -> None:
    network = lively(small_trial(small_model(dropout=0.3), attention=attention))
    with torch.no_grad():
        still = network(Z, TIMES, LABELS)
        assert torch.equal(still, network(Z, TIMES, LABELS))
        network.train()
        torch.manual_seed(0)
        first, second = network(Z, TIMES, LABELS), network(Z, TIMES, LABELS)
        torch.manual_seed(0)
        assert torch.equal(first, network(Z, TIMES, LABELS))
    assert not torch.equal(first, second)
    assert not torch.equal(first, still)


def test_attention_weights_and_projections_drop_apart() -> None:
    def drawn(**dropout: float) -> list[Tensor]:
        network = lively(small_trial(small_model(**dropout))).train()
        block = network.get_submodule("blocks.1")
        assert isinstance(block, Block)
        h = torch.ones(1, 16, 48)
        torch.manual_seed(0)
        q = torch.randn(1, 4, 16, 12)
        with torch.no_grad():
            attended = [block.attention.attend(q, q, torch.ones_like(q)) for _ in range(2)]
            return [attended[0] - attended[1], block.mlp(h) - block.mlp(h)]

    silent = [[bool(difference.any()) for difference in drawn(**dropout)] for dropout in DROPOUTS]
    assert silent == [[False, False], [True, False], [False, True], [True, True]]


def test_dropout_acts_in_the_middle_half_of_the_blocks() -> None:
    def dropped(depth: int) -> list[int]:
        return [i for i in range(depth) if in_middle_half(i, depth=depth)]

    assert dropped(4) == [1, 2]
    assert dropped(12) == list(range(3, 9))
    assert dropped(14) == list(range(3, 9))
    with pytest.raises(ValueError, match="dropout acts in the middle half"):
        small_model(depth=3, dropout=0.2)


def test_class_tokens_carry_the_class_and_no_time() -> None:
    network = lively(small_trial())
    seen: list[Tensor] = []
    network.blocks[2].register_forward_pre_hook(lambda module, inputs: seen.append(joined(inputs[0])))
    with torch.no_grad():
        network(Z, TIMES, LABELS)
        network(Z, 1 - TIMES, LABELS)
        expected = network.label(LABELS)[:, None] + network.class_positions
    assert seen[0].shape == (4, 3 + 16, 48)
    assert torch.equal(seen[0][:, :3], expected)
    assert torch.equal(seen[1][:, :3], expected)


def test_patches_are_ordered_as_the_official_layers_have_them() -> None:
    image = torch.arange(3 * 4 * 6 * 2, dtype=torch.float32).view(1, 3, 12, 4)
    patches = patches_of(image, 2)
    assert patches.shape == (1, 12, 12)
    assert torch.equal(patches[0, 5], image[0, :, 4:6, 2:4].flatten())
    square = torch.randn(2, 3, 8, 8)
    channels_last = patches_of(square, 4).unflatten(2, (3, 16)).transpose(2, 3).flatten(2)
    assert torch.equal(images_of(channels_last, 4, 3), square)


def test_a_token_of_a_linear_embedding_sees_its_own_patch_alone() -> None:
    network = lively(small_trial(small_model(embedding=LinearEmbedding())))
    other = Z.clone()
    other[:, :, 4:8, 0:4] += 1
    with torch.no_grad():
        moved = (network.embedding(Z) != network.embedding(other)).any(dim=(0, 2))
    assert moved.nonzero().flatten().tolist() == [4]


def test_the_sincos_table_describes_the_column_then_the_row() -> None:
    table = sincos_table(4, 16)
    row, column = 2, 3
    token = table[row * 4 + column]
    torch.testing.assert_close(token[0], torch.tensor(float(column)).sin())
    torch.testing.assert_close(token[4], torch.tensor(float(column)).cos())
    torch.testing.assert_close(token[8], torch.tensor(float(row)).sin())
    torch.testing.assert_close(token[9], torch.tensor(row / 10).sin())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_one_kernel_rotation_equals_the_one_by_parts(dtype: torch.dtype) -> None:
    x = torch.randn(2, 3 + 16, 4, 12).to(dtype)
    table = rotation_table(4, 12, class_tokens=3)
    assert rotate(x, table).dtype == dtype
    tolerance = 1e-6 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(rotate(x, table), rotate_by_parts(x, table), rtol=tolerance, atol=tolerance)


def test_rotated_products_depend_on_the_offset_alone_and_class_tokens_do_not_turn() -> None:
    q, k = torch.randn(2, 8)
    table = rotation_table(4, 8, class_tokens=1)

    def product(a: int, b: int) -> Tensor:
        turned = [rotate(x.view(1, 1, 1, 8), table[i : i + 1]) for x, i in ((q, a), (k, b))]
        return (turned[0] * turned[1]).sum()

    def token(row: int, column: int) -> int:
        return 1 + 4 * row + column

    torch.testing.assert_close(product(token(0, 1), token(2, 0)), product(token(1, 3), token(3, 2)))
    assert abs(product(token(0, 1), token(2, 0)) - product(token(0, 1), token(2, 1))) > 1e-3
    torch.testing.assert_close(product(0, 0), (q * k).sum())


def test_the_own_rms_kernel_equals_torchs_in_value_and_gradient() -> None:
    x = torch.randn(3, 5, 12, requires_grad=True)
    x.data[0, 0] *= 1e-4
    weight = torch.randn(3, 5, 12)
    ours, torchs = rms_normalise(x, torch.ones(1, 12)), F.rms_norm(x, (12,), eps=1e-6)
    torch.testing.assert_close(ours, torchs)
    gradient_of = [torch.autograd.grad((value * weight).sum(), x)[0] for value in (ours, torchs)]
    torch.testing.assert_close(gradient_of[0], gradient_of[1], rtol=1e-4, atol=1e-5)


def test_dits_parts_are_layer_norm_without_affine_and_a_tanh_gelu_mlp() -> None:
    x, shift, scale = torch.randn(2, 5, 48), torch.randn(2, 1, 48), torch.randn(2, 1, 48)
    network = lively(small_trial(small_model(norm="layer", mlp="gelu")))
    norm, mlp, first, second = (
        network.get_submodule(f"blocks.0.{name}") for name in ("norm1", "mlp", "mlp.first", "mlp.second")
    )
    expected = F.layer_norm(x, (48,), eps=1e-6) * (1 + scale) + shift
    torch.testing.assert_close(norm(Stream(x), shift, scale).h, expected)
    assert first.get_parameter("weight").shape == (4 * 48, 48)
    torch.testing.assert_close(mlp(x), second(F.gelu(first(x), approximate="tanh")))


@pytest.mark.parametrize("noise_scale", [1.0, 2.0])
def test_the_edm_skip_is_the_papers_and_finite_at_both_ends(noise_scale: float) -> None:
    t = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64).view(-1, 1, 1, 1)
    z, o = torch.randn(2, 5, 3, 2, 2, dtype=torch.float64)
    skipped = edm_skip(o, z, t, noise_scale=noise_scale)
    sigma, inner = noise_scale * (1 - t[1:4]) / t[1:4], slice(1, 4)
    c_skip = SIGMA_DATA**2 / (SIGMA_DATA**2 + sigma**2) / t[inner]
    c_out = SIGMA_DATA * sigma / (SIGMA_DATA**2 + sigma**2).sqrt()
    torch.testing.assert_close(skipped[inner], c_skip * z[inner] + c_out * o[inner])
    torch.testing.assert_close(skipped[0], SIGMA_DATA * o[0])
    torch.testing.assert_close(skipped[-1], z[-1])


def test_the_linear_skip_starts_at_the_network_and_ends_at_the_input() -> None:
    linear, none = (lively(small_trial(small_model(output_skip=kind))) for kind in ("linear", "none"))
    with torch.no_grad():
        expected = 0.25 * Z + 0.75 * none(Z, torch.full((4,), 0.25), LABELS)
        torch.testing.assert_close(linear(Z, torch.full((4,), 0.25), LABELS), expected)


def chens_arrays() -> dict[str, Tensor]:
    file = np.load(GOLDEN / "neighbours" / "schedules_and_weights.npz", allow_pickle=False)
    return {name: torch.from_numpy(file[f"chen_{name}"]) for name in ("x", "noise", "gamma", "xt", "input")}


def test_a_normalised_input_is_chens_and_his_scale_of_the_data_is_a_noise_scale() -> None:
    chen = chens_arrays()
    torch.testing.assert_close(normalised(chen["xt"]), chen["input"], rtol=1e-5, atol=1e-6)
    data, rest = (share.sqrt().view(-1, 1, 1, 1) for share in (chen["gamma"], 1 - chen["gamma"]))
    scale = ((chen["xt"] - rest * chen["noise"]) / (data * chen["x"])).median()
    t = data / (data + rest)
    ours = t * chen["x"] + (1 - t) * chen["noise"] / scale
    torch.testing.assert_close(normalised(ours), chen["input"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["linear", "pixel_mlp"])
def test_a_network_whose_input_is_normalised_does_not_see_its_scale(head: str) -> None:
    trial = small_trial(small_model(normalise_input=True, head={"kind": head}))
    network, t = lively(trial), torch.full((4,), 0.25)
    with torch.no_grad():
        torch.testing.assert_close(network(3 * Z, t, LABELS), network(Z, t, LABELS), rtol=1e-4, atol=1e-5)
        plain = lively(small_trial(small_model(head={"kind": head})))
        assert not torch.allclose(plain(3 * Z, t, LABELS), plain(Z, t, LABELS), rtol=1e-2)


def test_a_skip_around_anything_but_an_x_prediction_is_refused() -> None:
    with pytest.raises(ValueError, match="`output_skip` pre-conditions an x-prediction"):
        small_trial(small_model(output_skip="edm"), diffusion=DiffusionConfig(prediction="v"))


@pytest.mark.parametrize("mode", ["cudnn", "flash", "triton"])
def test_a_fused_attention_gives_way_where_it_cannot_be_in_an_fp32_evaluation(mode: str) -> None:
    fused, plain = (lively(small_trial(attention=each, device="cuda", precision="bf16")) for each in (mode, "sdpa"))
    with torch.no_grad():
        assert torch.equal(fused(Z, TIMES, LABELS), plain(Z, TIMES, LABELS))


@pytest.mark.parametrize("changes", [{"width": 4 * 132}, {"dropout": 0.1}])
def test_our_attention_is_refused_for_wide_heads_and_with_dropout(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`attention` triton needs heads of at most 128 and no attn_dropout"):
        small_trial(small_model(**changes), attention="triton", device="cuda", precision="bf16")


def test_cudnn_s_attention_is_demanded_and_not_replaced() -> None:
    attention = Attention(small_model(), mode="cudnn", attn_dropout=0.0, proj_dropout=0.0, kernels="torch")
    halves = [torch.zeros(1, 4, 8, 8, dtype=torch.bfloat16)] * 3
    with pytest.raises(RuntimeError, match="No viable backend"):
        attention.attend(*halves)


def test_a_bf16_residual_stream_is_float32_where_the_products_are_as_in_the_held_out_error() -> None:
    wide, narrow = (lively(small_trial(precision="bf16", residual=residual)) for residual in ("fp32", "bf16"))
    with torch.no_grad():
        assert torch.equal(wide(*batch()), narrow(*batch()))
        with torch.autocast("cpu", torch.bfloat16):
            assert not torch.equal(wide(*batch()), narrow(*batch()))
