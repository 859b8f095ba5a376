"""What a trial refuses before it costs anything: combinations that nothing could compute."""

from typing import Any

import pytest
from pydantic import ValidationError

from search_spaces.presets import merged
from tests.support.trials import small_model, small_trial
from trainables.config.fields import identity
from trainables.config.trial import TrialConfig

REFUSED: dict[str, dict[str, Any]] = {
    "`residual` bf16 needs precision bf16, got precision=fp32; try residual=fp32": {"residual": "bf16"},
    "`kernels` other than torch needs a GPU, got device=cpu; try kernels=torch": {"kernels": "triton"},
    "`compile` blocks needs a trunk of blocks, got trunk=mlp; try compile=true": {
        "model": small_model(trunk="mlp", class_tokens=0),
        "compile": "blocks",
    },
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


def test_equal_dropouts_have_the_id_that_they_had_as_one_setting() -> None:
    one = small_trial(small_model(dropout=0.1))
    two = small_trial(small_model(attn_dropout=0.1, proj_dropout=0.1))
    assert one == two
    assert identity(one)["model"]["dropout"] == 0.1
    assert not {"attn_dropout", "proj_dropout"} & identity(one)["model"].keys()
    apart = [small_trial(small_model(attn_dropout=a, proj_dropout=p)).id for a, p in ((0.1, 0.0), (0.0, 0.1), (0.0, 0.0))]
    assert len({one.id, *apart}) == 4
    with pytest.raises(ValueError, match="`dropout` stands for attn_dropout and proj_dropout alike, .* got attn_dropout too"):
        small_model(dropout=0.1, attn_dropout=0.0)


UNREAD: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "momentum": ({}, {"optimiser": {"momentum": 0.5}}, {"optimiser": {"method": "muon"}}),
    "rope_kind": ({"model": {"rope": False}}, {"model": {"rope_kind": "alternating"}}, {"model": {"rope": True}}),
    "qk_norm_kind": ({"model": {"qk_norm": False}}, {"model": {"qk_norm_kind": "layer"}}, {"model": {"qk_norm": True}}),
    "final_norm": (
        {"model": {"head": {"kind": "pixel_mlp"}}},
        {"model": {"final_norm": "layer"}},
        {"model": {"head": {"kind": "linear"}}},
    ),
    "loss": (
        {"diffusion": {"weighting": {"kind": "min_snr"}}},
        {"diffusion": {"loss": "x"}},
        {"diffusion": {"terms": [{"kind": "cosine"}]}},
    ),
}
"""A setting: where nothing reads it, another value of it, and what makes it read."""


@pytest.mark.parametrize(("where", "other", "read"), UNREAD.values(), ids=UNREAD)
def test_a_setting_that_nothing_reads_is_no_part_of_the_id(
    where: dict[str, Any], other: dict[str, Any], read: dict[str, Any]
) -> None:
    def id_of(*changes: dict[str, Any]) -> str:
        tree = small_trial(small_model(width=16, heads=2)).model_dump()
        for change in changes:
            tree = merged(tree, change)
        return TrialConfig.model_validate(tree).id

    assert id_of(where) == id_of(where, other)
    assert id_of(where, read) != id_of(where, read, other)
