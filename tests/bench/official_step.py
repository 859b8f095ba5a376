"""The step and the sampler that ours is measured against: the same function, computed the way the official JiT code does.

Attention writes out an N x N matrix in fp32, rotary tables are fp32, RMSNorm is a chain of elementwise operations, every block
has an adaLN projection of its own, AdamW is torch's default, two averages go through the parameters one by one, the loss is
read back at every step, and guidance takes two passes at every t. `compiled`, as the official code is, compiles a block and the
final layer with torch.compile's defaults. In bf16 the autocast is its own: the stream is bf16 until the class tokens join, of
attention QK^T and softmax alone are fp32. Parameters carry the official names, so that `trainables.official.names` loads them.
"""

import math
from copy import deepcopy
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.config.evaluation import EvaluationConfig
from trainables.config.network import BottleneckEmbedding, ModelConfig
from trainables.config.trial import TrialConfig
from trainables.diffusion.sampler import guidance_at
from trainables.networks.embedding import images_of
from trainables.networks.jit import JiT
from trainables.networks.norm import EPS
from trainables.networks.positions import rotation_table, sincos_table
from trainables.networks.sizes import TIME_FEATURES, mlp_hidden
from trainables.official.names import to_official


class RmsNorm(nn.Module):
    """x / rms(x) times a weight, computed in fp32 whatever x is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[..., width]."""
        wide = x.float()
        normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPS)
        return (self.weight * normal).type_as(x)


class Rope(nn.Module):
    """Rotary positions by two fp32 tables [T, d] of cosines and sines, each angle twice."""

    cos: Tensor
    sin: Tensor

    def __init__(self, trial: TrialConfig, *, class_tokens: int) -> None:
        super().__init__()
        model = trial.model
        table = rotation_table(trial.grid, model.width // model.heads, class_tokens=class_tokens).squeeze(1)
        for name, part in zip(("cos", "sin"), table.repeat_interleave(2, dim=1).unbind(-1), strict=True):
            self.register_buffer(name, part, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, heads, T, d]."""
        even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack((-odd, even), dim=-1).flatten(-2)
        return x * self.cos + turned * self.sin


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v with its matrix written out in fp32."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.heads = model.heads
        self.q_norm = RmsNorm(model.width // model.heads)
        self.k_norm = RmsNorm(model.width // model.heads)
        self.qkv = nn.Linear(model.width, 3 * model.width)
        self.proj = nn.Linear(model.width, model.width)

    def forward(self, x: Tensor, rope: Rope) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k = rope(self.q_norm(q)), rope(self.k_norm(k))
        with torch.autocast(x.device.type, enabled=False):
            weights = q.float() @ k.float().transpose(-2, -1) / math.sqrt(d // self.heads)
        mixed = weights.softmax(dim=-1) @ v
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(b, n, d))
        return out


class SwiGlu(nn.Module):
    """silu(a) b of one wide projection, and back."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.w12 = nn.Linear(model.width, 2 * mlp_hidden(model))
        self.w3 = nn.Linear(mlp_hidden(model), model.width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        a, b = self.w12(x).chunk(2, dim=-1)
        out: Tensor = self.w3(F.silu(a) * b)
        return out


class Block(nn.Module):
    """Attention and MLP under a modulation that the block projects itself."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.norm1 = RmsNorm(model.width)
        self.attn = Attention(model)
        self.norm2 = RmsNorm(model.width)
        self.mlp = SwiGlu(model)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(model.width, 6 * model.width))

    def forward(self, x: Tensor, c: Tensor, rope: Rope) -> Tensor:
        """x [B, T, D], condition c [B, D]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate1 * self.attn(modulated(self.norm1(x), shift1, scale1), rope)
        out: Tensor = x + gate2 * self.mlp(modulated(self.norm2(x), shift2, scale2))
        return out


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """x (1 + scale) + shift, [B, T, D]."""
    return x * (1 + scale) + shift


class TimeEmbedder(nn.Module):
    """Sinusoids of t through an MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """[B] -> [B, D]."""
        half = TIME_FEATURES // 2
        exponent = -math.log(10_000.0) * torch.arange(half, dtype=torch.float32) / half
        angle = t[:, None] * exponent.exp().to(t.device)
        out: Tensor = self.mlp(torch.cat((angle.cos(), angle.sin()), dim=-1))
        return out


class LabelEmbedder(nn.Module):
    """A vector a class, the last of them for no class."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, y: Tensor) -> Tensor:
        """[B] -> [B, D]."""
        out: Tensor = self.embedding_table(y)
        return out


class PatchEmbedder(nn.Module):
    """A convolution of patch size and stride, then one of size 1."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        assert isinstance(trial.model.embedding, BottleneckEmbedding)
        patch, dim = trial.model.patch_size, trial.model.embedding.dim
        self.proj1 = nn.Conv2d(trial.data.channels, dim, patch, stride=patch, bias=False)
        self.proj2 = nn.Conv2d(dim, trial.model.width, 1)

    def forward(self, z: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D]."""
        tokens: Tensor = self.proj2(self.proj1(z))
        return tokens.flatten(2).transpose(1, 2)


class FinalLayer(nn.Module):
    """The last norm, its own modulation and the projection to pixels."""

    def __init__(self, trial: TrialConfig) -> None:
        super().__init__()
        width = trial.model.width
        self.norm_final = RmsNorm(width)
        self.linear = nn.Linear(width, trial.token_dim)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, patch^2 C]."""
        shift, scale = self.adaLN_modulation(c).unsqueeze(1).chunk(2, dim=-1)
        out: Tensor = self.linear(modulated(self.norm_final(x), shift, scale))
        return out


class OfficialNetwork(nn.Module):
    """The network o(z, t, y) of JiT's own components, its blocks and final layer compiled or not."""

    def __init__(self, trial: TrialConfig, *, compiled: bool) -> None:
        super().__init__()
        model, self.trial = trial.model, trial
        self.t_embedder = TimeEmbedder(model.width)
        self.y_embedder = LabelEmbedder(trial.data.num_classes, model.width)
        self.x_embedder = PatchEmbedder(trial)
        self.pos_embed = nn.Parameter(sincos_table(trial.grid, model.width)[None], requires_grad=False)
        self.in_context_posemb = nn.Parameter(torch.zeros(1, model.class_tokens, model.width))
        self.rope = Rope(trial, class_tokens=0)
        self.rope_in_context = Rope(trial, class_tokens=model.class_tokens)
        self.blocks = nn.ModuleList([Block(model) for _ in range(model.depth)])
        self.final_layer = FinalLayer(trial)
        self._block = torch.compile(Block.forward) if compiled else Block.forward
        self._final = torch.compile(FinalLayer.forward) if compiled else FinalLayer.forward

    def forward(self, z: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """z [B, C, H, W], t [B], y [B] -> [B, C, H, W]."""
        model = self.trial.model
        label = self.y_embedder(y)
        c = self.t_embedder(t) + label
        x = self.x_embedder(z)
        x = x + self.pos_embed.type_as(x)
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if i == model.class_tokens_start:
                in_context = label.unsqueeze(1).repeat(1, model.class_tokens, 1) + self.in_context_posemb
                x = torch.cat((in_context, x), dim=1)
            x = self._block(block, x, c, self.rope if i < model.class_tokens_start else self.rope_in_context)
        patches = self._final(self.final_layer, x[:, model.class_tokens :], c)
        return images_of(patches, model.patch_size, z.shape[1])


def official_names(network: JiT) -> dict[str, Tensor]:
    """The network's weights under the names of `OfficialNetwork`."""
    assert network.position is not None
    official = to_official(network.state_dict(), position=network.position, patch_size=network.trial.model.patch_size)
    return {name.removeprefix("net."): tensor for name, tensor in official.items()}


class OfficialStep:
    """Network, optimiser and two averages; calling it makes one update and returns its loss."""

    def __init__(self, network: OfficialNetwork, *, decays: tuple[float, ...]) -> None:
        self.network, self.decays = network, decays
        self.averages = [deepcopy(list(network.parameters())) for _ in decays]
        self.optimiser = default_adamw(network)

    def __call__(self, x: Tensor, e: Tensor, t: Tensor, y: Tensor) -> float:
        """Images x and noise e [B, C, H, W], times t and labels y [B]."""
        loss = v_loss(self.network, x, e, t, y)
        value = loss.item()
        if not math.isfinite(value):
            raise ArithmeticError(f"the loss must be finite, got {value}")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if x.is_cuda:
            torch.cuda.synchronize()
        self._average()
        return value

    @torch.no_grad()
    def _average(self) -> None:
        for decay, average in zip(self.decays, self.averages, strict=True):
            for kept, own in zip(average, self.network.parameters(), strict=True):
                kept.mul_(decay).add_(own, alpha=1 - decay)


def default_adamw(network: OfficialNetwork) -> torch.optim.AdamW:
    """torch's choice of AdamW: parameter by parameter on a CPU. Biases and norms are in a group without decay."""
    config = network.trial.optimiser
    trained = [p for p in network.parameters() if p.requires_grad]
    bare = [p for name, p in network.named_parameters() if p.requires_grad and (p.ndim <= 1 or name.endswith(".bias"))]
    decayed = [p for p in trained if all(p is not other for other in bare)]
    groups = [{"params": bare, "weight_decay": 0.0}, {"params": decayed, "weight_decay": config.weight_decay}]
    betas = (config.beta1, config.beta2)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas)


def v_loss(network: OfficialNetwork, x: Tensor, e: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """mean ((x - z) / d - (o - z) / d)^2 with d = max(1 - t, t_eps), a scalar."""
    t_eps = network.trial.diffusion.t_eps_train
    column = t.view(-1, 1, 1, 1)
    z = column * x + (1 - column) * e
    v = (x - z) / (1 - column).clamp_min(t_eps)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=network.trial.precision == "bf16"):
        output = network(z, t, y)
    predicted = (output - z) / (1 - column).clamp_min(t_eps)
    loss: Tensor = ((v - predicted) ** 2).mean(dim=(1, 2, 3)).mean()
    return loss


@torch.no_grad()
def two_pass_heun(network: OfficialNetwork, z: Tensor, labels: Tensor, *, evaluation: EvaluationConfig) -> Tensor:
    """Heun's steps and a last one of Euler's, each velocity from a pass with the labels and a pass without; z [B, C, H, W]."""

    def velocity(z: Tensor, t: float) -> Tensor:
        scale = guidance_at(t, evaluation)
        with_labels = one_velocity(network, z, t, labels, t_eps=evaluation.t_eps_sample)
        null = torch.full_like(labels, network.trial.data.num_classes)
        without = one_velocity(network, z, t, null, t_eps=evaluation.t_eps_sample)
        return without + scale * (with_labels - without)

    grid = [i / evaluation.steps for i in range(evaluation.steps + 1)]
    for t, after in pairwise(grid[:-1]):
        first = velocity(z, t)
        second = velocity(z + (after - t) * first, after)
        z = z + (after - t) * 0.5 * (first + second)
    return z + (grid[-1] - grid[-2]) * velocity(z, grid[-2])


def one_velocity(network: OfficialNetwork, z: Tensor, t: float, y: Tensor, *, t_eps: float) -> Tensor:
    """(o - z) / d at one time for all images, [B, C, H, W]."""
    output: Tensor = network(z, torch.full((len(z),), t, device=z.device), y)
    return (output - z) / max(1 - t, t_eps)
