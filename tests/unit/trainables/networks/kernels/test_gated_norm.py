"""The norm's kernels equal its formula, forward and backward, in whatever shape and precision.

Triton's interpreter cuts bf16 off where a GPU rounds; what a GPU does is tests/gpu's.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import pytest
import torch
from torch import Tensor

from trainables.networks import norm
from trainables.networks.kernels import gated_norm as kernels
from trainables.networks.norm import EPS, Branch, Normed, Stream

Form = Callable[..., Normed]


@dataclass(frozen=True)
class Case:
    """Sizes, and which of the arguments there are."""

    width: int = 24
    tokens: int = 5
    layer: bool = False
    gated: bool = True
    biased: bool = True
    prepended: int = 0
    dropped: int = 0
    stream: torch.dtype = torch.float32
    product: torch.dtype = torch.float32
    used: bool = True
    """Whether the loss uses x' as well as h."""


CASES = {
    "": Case(),
    "layer": Case(layer=True),
    "no branch": Case(gated=False),
    "no branch, layer": Case(gated=False, layer=True),
    "y has its bias": Case(biased=False),
    "odd width": Case(width=13),
    "odd width, layer": Case(width=13, layer=True),
    "one token": Case(tokens=1),
    "several chunks": Case(tokens=70),
    "tokens prepended": Case(prepended=3),
    "tokens prepended, layer": Case(prepended=3, layer=True, width=13),
    "tokens prepended to no branch": Case(prepended=3, gated=False),
    "more tokens prepended than a chunk holds": Case(prepended=66, tokens=3, width=8),
    "first tokens left out": Case(dropped=3),
    "first tokens left out, layer": Case(dropped=3, layer=True, width=13),
    "first tokens left out, no branch": Case(dropped=3, gated=False),
    "x' unused": Case(used=False),
    "x' unused, first tokens left out": Case(used=False, dropped=2),
}
IMAGES = 2


@dataclass(frozen=True)
class Arguments:
    """Of `gated_norm`, each of them a leaf; where the case has none, none."""

    x: Tensor
    y: Tensor | None
    gate: Tensor | None
    bias: Tensor | None
    prepended: Tensor | None
    weight: Tensor | None
    shift: Tensor
    scale: Tensor

    def leaves(self) -> dict[str, Tensor]:
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in every.items() if tensor is not None}


def arguments(case: Case, *, exact: bool = False) -> Arguments:
    """The same numbers each time, in the case's precision or in float64."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        values = torch.randn(shape, generator=generator).to(dtype).to(torch.float64 if exact else dtype)
        return values.requires_grad_()

    row, tokens = (IMAGES, 1, case.width), (IMAGES, case.tokens, case.width)
    x, y, gate, bias = drawn(*tokens, dtype=case.stream), drawn(*tokens, dtype=case.product), drawn(*row), drawn(case.width)
    prepended = drawn(IMAGES, case.prepended, case.width, dtype=case.stream) if case.prepended else None
    weight, shift, scale = drawn(case.width), drawn(*row), drawn(*row)
    every = Arguments(x, y, gate, bias if case.biased else None, prepended, None if case.layer else weight, shift, scale)
    return every if case.gated else replace(every, y=None, gate=None, bias=None)


def applied(form: Form, case: Case, given: Arguments) -> Normed:
    branch = None if given.y is None or given.gate is None else Branch(given.y, given.gate, given.bias)
    stream = Stream(given.x, branch, given.prepended)
    with torch.autocast("cpu", torch.bfloat16, enabled=case.product is torch.bfloat16):
        return form(stream, given.weight, given.shift, given.scale, dropped=case.dropped)


def formula(stream: Stream, weight: Tensor | None, shift: Tensor, scale: Tensor, *, dropped: int) -> Normed:
    """In whatever precision, from the equations."""
    x, branch, prepended = stream
    if branch is not None:
        x = x + branch.gate * (branch.y if branch.bias is None else branch.y + branch.bias)
    x = (x if prepended is None else torch.cat((prepended, x), dim=1))[:, dropped:]
    centred = x - x.mean(-1, keepdim=True) if weight is None else x
    normal = centred / (centred.square().mean(-1, keepdim=True) + EPS).sqrt()
    return Normed(x, normal * (1 if weight is None else weight) * (1 + scale) + shift)


def results(form: Form, case: Case, *, exact: bool = False) -> dict[str, Tensor]:
    """x', h and the gradient of every argument, for a loss that weighs each number of both differently."""
    given = arguments(case, exact=exact)
    found = applied(form, case, given)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(part.shape, generator=generator) for part in found]
    terms = [(part * weight.to(part.dtype)).sum() for part, weight in zip(found, weights, strict=True)]
    (terms[0] + terms[1] if case.used else terms[1]).backward()
    gradients = {f"gradient of {name}": leaf.grad for name, leaf in given.leaves().items() if leaf.grad is not None}
    return {"x'": found.x.detach(), "h": found.h.detach(), **gradients}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_outputs_and_every_gradient_are_the_formula_s_to_float32(case: Case) -> None:
    found, expected = results(kernels.gated_norm, case), results(formula, case, exact=True)
    assert found.keys() == expected.keys() >= {f"gradient of {name}" for name in arguments(case).leaves()}
    for name, exact in expected.items():
        torch.testing.assert_close(found[name].double(), exact, rtol=2e-5, atol=2e-5, msg=f"{name} differs")


@pytest.mark.parametrize("stream", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", [case for case in CASES.values() if case.tokens + case.prepended < 64], ids=str)
def test_under_bf16_autocast_each_tensor_has_its_precision_and_is_close(case: Case, stream: torch.dtype) -> None:
    case = replace(case, stream=stream, product=torch.bfloat16)
    found, expected = results(kernels.gated_norm, case), results(formula, case, exact=True)
    assert found.keys() == expected.keys()
    for name, exact in expected.items():
        assert float((found[name].double() - exact).norm() / exact.norm()) < 0.02, name
    of_tokens = {name: found[name].dtype for name in ("x'", "gradient of x", "gradient of prepended") if name in found}
    of_products = {name: found[name].dtype for name in ("h", "gradient of y") if name in found}
    assert set(of_tokens.values()) == {stream}
    assert set(of_products.values()) == {torch.bfloat16}
    assert {found[name].dtype for name in found.keys() - of_tokens.keys() - of_products.keys()} == {torch.float32}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_plain_form_is_the_formula_s_too(case: Case) -> None:
    found, expected = results(norm.gated_norm, case), results(formula, case, exact=True)
    assert found.keys() == expected.keys()
    for name, exact in expected.items():
        torch.testing.assert_close(found[name].double(), exact, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ["", "layer", "tokens prepended", "first tokens left out"])
def test_repeats_are_equal_bit_for_bit(name: str) -> None:
    case = replace(CASES[name], stream=torch.bfloat16, product=torch.bfloat16)
    first, second = (results(kernels.gated_norm, case) for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


WALKS = [kernels.Walk(4, 1, 1, 1), kernels.Walk(2, 2, 1, 2), kernels.Walk(32, 8, 8, 1)]


@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_every_walk_gives_the_same_values(walk: kernels.Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tokens=9, prepended=2)
    expected = results(kernels.gated_norm, case)
    for form in (kernels.forward, kernels.backward):
        assert form.__kwdefaults__ is not None
        monkeypatch.setitem(form.__kwdefaults__, "walk", walk)
    for name, found in results(kernels.gated_norm, case).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-5, atol=1e-5)


def test_modulation_may_be_cut_out_of_wider_rows() -> None:
    case = Case()
    given = arguments(case)
    assert given.gate is not None
    wide = torch.stack((given.shift, given.scale, given.gate), dim=1).detach().flatten(1)
    shift, scale, gate = wide.view(IMAGES, 3, 1, case.width).unbind(1)
    assert not gate.is_contiguous()
    expected = applied(kernels.gated_norm, case, given)
    found = applied(kernels.gated_norm, case, replace(given, shift=shift, scale=scale, gate=gate))
    assert torch.equal(found.h, expected.h)
