"""Triton's kernels are used where they are asked for and run, and otherwise the log says once why not."""

import sys
from collections.abc import Iterator

import pytest
import torch

from tests.support.trials import batch, lively, small_model, small_trial
from trainables.networks.kernel_choice import on_triton, warned
from trainables.networks.norm import WIDEST, too_wide

X = torch.zeros(2, 3)
TOO_ODD = "it takes an even width, got 3"


@pytest.fixture(autouse=True)
def _nothing_said() -> Iterator[None]:
    warned.clear()
    yield
    warned.clear()


@pytest.fixture
def _native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton as it is without its interpreter."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)


def test_torchs_kernels_are_chosen_silently_where_they_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    assert not on_triton("torch", X, unsupported=TOO_ODD)
    assert caplog.messages == []


def test_what_a_kernel_cannot_take_is_said_once_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    for reason in (TOO_ODD, TOO_ODD, "another"):
        assert not on_triton("triton", X, unsupported=reason)
    said = "`kernels` triton is not used: {}; torch's own kernels compute instead"
    assert caplog.messages == [said.format(TOO_ODD), said.format("another")]


@pytest.mark.slow
@pytest.mark.usefixtures("_native")
def test_a_network_that_asks_for_triton_computes_on_a_cpu_and_says_that_it_is_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    small = small_model(depth=2, class_tokens_start=1)
    asking, plain = (lively(small_trial(small, device="cuda", kernels=kernels)) for kernels in ("triton", "torch"))
    with torch.no_grad():
        torch.testing.assert_close(asking(*batch()), plain(*batch()))
    assert any("`kernels` triton is not used" in message for message in caplog.messages)


@pytest.mark.usefixtures("_native")
def test_triton_that_cannot_be_imported_is_the_reason(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert not on_triton("triton", X)
    assert "Triton cannot be imported (import of triton halted" in caplog.text


def test_a_width_that_no_program_holds_is_refused_with_the_widest() -> None:
    assert too_wide(torch.empty(1, 1, WIDEST)) == ""
    assert too_wide(torch.empty(1, 1, WIDEST + 1)) == f"the norm's kernel takes a width of at most {WIDEST}, got {WIDEST + 1}"
