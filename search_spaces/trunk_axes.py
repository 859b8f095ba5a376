"""The axes of what a network is trained for, and of what computes between the noisy image and the output."""

from typing import Literal

from pydantic import TypeAdapter

from search_spaces.axis import SWITCH, Axis, Slot, Tree, at, kind_of, under, within
from trainables.config.autoencoder import KlCode, VqCode
from trainables.config.fields import Frozen, NonNegativeFloat, choices
from trainables.config.method import METHODS
from trainables.config.trial import TRUNK_OF_METHOD
from trainables.config.trunks import TRUNKS

_PRETRAINING = "encoder_pretraining"
_CODE = ("model", "trunk", "code")
_CODES: dict[str, type[Frozen]] = {"kl": KlCode, "vq": VqCode}


def _of_trunk(name: str, setting: str, about: str) -> "Axis":
    """An axis that exists under the trunks with a setting of this name, whose bounds are the last one's."""
    kinds = {kind: trunk.model_fields[setting] for kind, trunk in TRUNKS.items() if setting in trunk.model_fields}
    info, slot = [*kinds.values()][-1], at("model", "trunk", setting)
    values = SWITCH if info.annotation is bool else within(info)
    condition = f"trunk={choices([*kinds])}"
    return Axis(name, about, values, slot, lambda tree: tree["model"]["trunk"]["kind"] in kinds, condition)


def _of_code(name: str, setting: str, kind: str, about: str) -> "Axis":
    """A setting of one kind of an autoencoder's code."""

    def has(tree: Tree) -> bool:
        trunk = tree["model"]["trunk"]
        return bool(trunk["kind"] == "autoencoder" and trunk["code"]["kind"] == kind)

    return Axis(name, about, within(_CODES[kind].model_fields[setting]), at(*_CODE, setting), has, f"code={kind}")


def _of_method(name: str, setting: str, method: str, about: str) -> "Axis":
    """A setting of one method."""
    values = within(METHODS[method].model_fields[setting])
    return Axis(name, about, values, at("method", setting), under(("method",), method), f"method={method}")


def _of_masked_tokens(setting: str, about: str) -> "Axis":
    """A setting of the method masked_tokens."""
    return _of_method(setting, setting, "masked_tokens", about)


def _put_method(tree: Tree, kind: str) -> None:
    """With the trunk that it alone trains, where there is one."""
    if tree["method"]["kind"] == kind:
        return
    tree["method"], trunk = {"kind": kind}, tree["model"]["trunk"]["kind"]
    if kind in TRUNK_OF_METHOD:
        tree["model"]["trunk"] = {"kind": TRUNK_OF_METHOD[kind]}
    elif trunk in TRUNK_OF_METHOD.values():
        tree["model"]["trunk"] = {"kind": "transformer"}


def _of_teacher(kind: str, about: str) -> "Axis":
    """The weight of an autoencoder's term with a teacher, which is no value of an axis; 0 is none."""

    def put(tree: Tree, weight: float) -> None:
        tree["method"][kind] = {**tree["method"][kind], "weight": weight} if weight else None

    def there(tree: Tree) -> bool:
        return tree["method"]["kind"] == "autoencoder" and tree["method"].get(kind) is not None

    slot = Slot(put, at("method", kind, "weight").get)
    return Axis(kind, f"weight of {about}; 0 is none", TypeAdapter(NonNegativeFloat), slot, there, f"method.{kind}")


OF_METHOD = (
    Axis(
        "method",
        f"what the network is trained for, with the trunk that is the method's own: {choices([*METHODS])}",
        TypeAdapter(Literal[tuple(METHODS)]),  # type: ignore[arg-type]
        Slot(_put_method, at("method", "kind").get),
    ),
    _of_masked_tokens("mask_mean", "mean of the normal distribution that the share of masked tokens is drawn from"),
    _of_masked_tokens("mask_deviation", "its standard deviation"),
    _of_masked_tokens("mask_least", "least share of masked tokens"),
    _of_masked_tokens("head_repeats", "times at which the head sees each masked token in an update"),
    _of_method("contrast_temperature", "temperature", _PRETRAINING, "by which cosines of two views are divided"),
    _of_method("level_temperature", "level_temperature", _PRETRAINING, "by which cosines of two noise levels are divided"),
    _of_method("contrast_group", "group", _PRETRAINING, "images that an encoder tells apart"),
    _of_method("target_decay", "target_decay", _PRETRAINING, "share that an encoder's target keeps of itself in an update"),
    _of_method("least_side", "least_side", _PRETRAINING, "side of a view's smallest crop over the image's"),
)
OF_TRUNK = (
    Axis(
        "trunk",
        f"what computes between the noisy image and the output: {choices([*TRUNKS])}",
        TypeAdapter(Literal[tuple(TRUNKS)]),  # type: ignore[arg-type]
        kind_of("model", "trunk"),
    ),
    _of_trunk("trunk_width", "width", "channels of the trunk's first level"),
    _of_trunk("trunk_depth", "depth", "blocks of a U-ViT's transformer"),
    _of_trunk("trunk_patch", "patch", "side of the patches that are a U-ViT's pixels"),
    _of_trunk("trunk_blocks", "blocks", "residual blocks of each level of the U-Net and the autoencoder"),
    _of_trunk("trunk_dropout", "dropout", "dropout in the trunk's blocks"),
    _of_trunk("head_channels", "head_channels", "channels of an attention head of the trunk"),
    _of_trunk("resample", "resample", "what halves and doubles a side in the U-Net: blocks (ADM) or convolutions"),
    _of_trunk("scale_shift", "scale_shift", "whether time and class scale and shift in the U-Net, or are added"),
    _of_trunk("pool", "pool", "how a classifier's places become one: attention (ADM) or adaptive, their mean"),
    _of_trunk("decoder_width", "decoder_width", "width of a decoder's tokens; null is its encoder's"),
    _of_trunk("decoder_depth", "decoder_depth", "blocks of a decoder, in EPG at most its encoder's; null is as many"),
    _of_trunk("decoder_heads", "decoder_heads", "attention heads of a decoder; null is its encoder's"),
    _of_trunk("code_channels", "code_channels", "numbers of an autoencoder's code at each place"),
    Axis(
        "code",
        "what keeps an autoencoder's code small: kl, a divergence from the normal, or vq, learned vectors",
        TypeAdapter(Literal["kl", "vq"]),
        kind_of(*_CODE),
        under(("model", "trunk"), "autoencoder"),
        "trunk=autoencoder",
    ),
    _of_teacher("alignment", "a code's distance to a frozen teacher's tokens (VA-VAE), which the baseline names"),
    _of_teacher("perceptual", "the distance of a frozen teacher's tokens of two images (LPIPS), which the baseline names"),
    _of_code("kl_weight", "weight", "kl", "weight of the code's divergence from the normal"),
    _of_code("code_entries", "entries", "vq", "vectors that the code is chosen from"),
    _of_code("commitment", "commitment", "vq", "weight of the code's distance to its vector"),
    _of_trunk("class_copies", "class_copies", "tokens of the class, of the trunk of masked tokens"),
    _of_trunk("token_head_width", "head_width", "width of the head that draws a token"),
    _of_trunk("token_head_blocks", "head_blocks", "its MLPs"),
)
OF_PROJECTOR = (
    _of_trunk("projector_width", "projector_width", "hidden width of what projects an encoder's class token"),
    _of_trunk("projected_width", "projected_width", "numbers that it is projected to"),
)
