"""What a trial refuses before it costs anything: combinations that nothing could compute."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.trials import small_trial

REFUSED: dict[str, dict[str, Any]] = {
    "`residual` bf16 needs precision bf16, got precision=fp32; try residual=fp32": {"residual": "bf16"},
    "`kernels` other than torch needs a GPU, got device=cpu; try kernels=torch": {"kernels": "triton"},
    "`kernels` triton runs without torch.compile, .* got compile=true; try compile=false": {
        "kernels": "triton",
        "device": "cuda",
        "compile": True,
    },
}


@pytest.mark.parametrize(("message", "changes"), REFUSED.items(), ids=lambda value: str(value)[:30])
def test_a_stream_or_kernels_that_cannot_be_are_refused_with_a_remedy(message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=message):
        small_trial(**changes)


def test_kernels_of_our_own_and_a_bf16_stream_go_together() -> None:
    trial = small_trial(kernels="triton", device="cuda", residual="bf16", precision="bf16")
    assert trial.id != small_trial(kernels="triton", device="cuda", precision="bf16").id
