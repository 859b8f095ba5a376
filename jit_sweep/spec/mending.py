"""One mistake of a sweep file left out, so that what is wrong behind it shows: a name is put right, a count made possible, and
what has a default takes it."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from pydantic import BaseModel

from jit_sweep.spec.ablations import is_sound_change
from jit_sweep.spec.explained import RULE_AT_KEY, place_of
from search_spaces.axes import AXES
from search_spaces.presets import nearest_preset, preset
from trainables.config.spelling import expected_names, nearest_name
from trainables.evaluation.metrics.registry import score_names

MANY_IMAGES = 2**24 * 3**3 * 5**3 * 7
"""Whole batches of nearly every size, and too many for a warm-up or an average not to fit."""
PACKAGED = "emoji32"
"""A set that is always there, in the place of data that is not."""
OF_DATA = frozenset({"class", "classes", "held", "heldout", "image_size", "images", "label_drop", "labels", "n", "px"})
"""Words of the rules that hang on the data."""
_ANY_AXIS: Mapping[str, Any] = {"prediction": ["x"]}
_STAND_INS: Mapping[str, Any] = {
    "name": "mended",
    "objective": score_names()[0],
    "data": {"name": PACKAGED},
    "budget": {"images_per_trial": MANY_IMAGES},
    "stages": [{"grid": {"axes": dict(_ANY_AXIS)}}],
}
"""Of required keys, so that what is beside them can be looked at."""
_WITHOUT = {"grid": ("cells", "contrasts"), "ablation": ("contrasts",), "search": ("sampler", "options", "objectives")}
"""What a stage's rule over several keys is about, beside its axes."""


class _Slot(NamedTuple):
    """The innermost key of the file on the way to a mistake."""

    holder: dict[str, Any]
    key: str
    above: str
    """The key that the holder stands at."""
    reached: Any
    """What stands at the mistake itself, or as near to it as the file goes: a member of a list below the key, say."""

    @property
    def value(self) -> Any:
        return self.holder[self.key]


def mend(tree: dict[str, Any], item: Any, *, model: type[BaseModel], at: str) -> frozenset[str] | None:
    """Leave a mistake out of the tree; returns the keys whose values are no longer the file's, None where that cannot be.

    item: one of a ValidationError's `errors()`; `at`: the key of the tree at which `model` stands.
    """
    place = place_of(model, item["loc"])
    loc = (*filter(None, [at]), *place.keys)
    if item["type"] == "missing" and len(loc) == 1:
        return _stand_in(tree, str(loc[0]))
    if (slot := _slot(tree, loc)) is None:
        return None
    if item["type"] == RULE_AT_KEY and (possible := item["ctx"]["possible"]) is not None:
        slot.holder[slot.key] = possible
        return frozenset({slot.key})
    if item["type"] == "extra_forbidden":
        return _rename(slot, place.valid)
    if item["type"] == "variant_key" and isinstance(slot.reached, dict):
        return _rename_below(slot.reached, item["ctx"]["keys"].split(", "))
    if slot.key == "axes" and isinstance(slot.value, dict):
        return _leave_axes_out(slot)
    if slot.key == "changes" and isinstance(slot.value, dict):
        return _leave_changes_out(slot)
    if slot.key in _WITHOUT and isinstance(slot.value, dict):
        return _leave_keys_out(slot.value, _WITHOUT[slot.key])
    if item["type"] == "union_tag_invalid" and (kind := nearest_name(str(item["ctx"]["tag"]), _expected(item))):
        slot.reached["kind"] = kind
        return frozenset()
    if (meant := _meant(slot, item)) is not None:
        slot.holder[slot.key] = meant
        return _preset_keys(tree) if slot.key == "preset" else frozenset()
    return _replace(slot, item)


def _slot(tree: Any, loc: tuple[str | int, ...]) -> _Slot | None:
    """The place of a mistake, as near to it as the file goes."""
    slot: _Slot | None = None
    for part in loc:
        if isinstance(tree, dict) and part in tree:
            slot, tree = _Slot(tree, str(part), slot.key if slot else "", tree[part]), tree[part]
        elif isinstance(tree, list) and isinstance(part, int):
            tree = tree[part]
            slot = slot and slot._replace(reached=tree)
    return slot


def _stand_in(tree: dict[str, Any], key: str) -> frozenset[str] | None:
    if key not in _STAND_INS:
        return None
    tree[key] = deepcopy(_STAND_INS[key])
    return frozenset({key, *_keys_in(tree[key]), *(OF_DATA if key == "data" else ())})


def _rename(slot: _Slot, valid: tuple[str, ...]) -> frozenset[str]:
    """An unknown key under the name that was meant, or not at all."""
    value, meant = slot.holder.pop(slot.key), nearest_name(slot.key, valid)
    if meant is not None:
        slot.holder.setdefault(meant, value)
    return frozenset()


def _rename_below(given: dict[str, Any], keys: list[str]) -> frozenset[str] | None:
    """A variant by the key that was meant; None where none was, or several are there."""
    meant = {name: key for name in given if (key := nearest_name(str(name), keys)) is not None}
    if len(meant) != 1 or set(meant) & set(keys):
        return None
    ((name, key),) = meant.items()
    given[key] = given.pop(name)
    return frozenset()


def _leave_axes_out(slot: _Slot) -> frozenset[str]:
    """The axes under the names that were meant, with the values that they take."""
    sound: dict[str, Any] = {}
    gone: set[str] = set()
    for given, values in slot.value.items():
        name = given if given in AXES else nearest_name(str(given), AXES)
        if name is not None and name not in sound and (kept := _values(name, values)):
            sound[name] = kept
        else:
            gone.add(str(given))
    slot.holder["axes"] = sound or dict(_ANY_AXIS)
    return frozenset(gone if sound else gone | _ANY_AXIS.keys())


def _leave_changes_out(slot: _Slot) -> frozenset[str]:
    """The changes that are sound, and where none is, one that is; what names arms goes with the others."""
    given = dict(slot.value)
    kept = {name: change for name, change in given.items() if is_sound_change(str(name), change)}
    slot.holder["changes"] = kept or {"mended": {axis: values[0] for axis, values in _ANY_AXIS.items()}}
    slot.holder.pop("contrasts", None)
    gone = [change for name, change in given.items() if name not in kept and isinstance(change, dict)]
    return frozenset({*(str(axis) for change in gone for axis in change), *(_ANY_AXIS if not kept else ())})


def _leave_keys_out(stage: dict[str, Any], keys: Iterable[str]) -> frozenset[str] | None:
    gone = {key: stage.pop(key) for key in keys if key in stage}
    return frozenset(gone) if gone else None


def _values(name: str, values: Any) -> Any:
    if not isinstance(values, list):
        return values if isinstance(values, dict) else None
    kept = [value for value in values if _takes(name, value)]
    return list(dict.fromkeys(kept))


def _takes(name: str, value: Any) -> bool:
    try:
        AXES[name].check(value)
    except ValueError:
        return False
    return True


def _meant(slot: _Slot, item: Any) -> str | None:
    """The value that a mistyped one stood for; None where that is not known."""
    if not isinstance(slot.value, str):
        return None
    if item["type"] == "literal_error":
        return nearest_name(slot.value, _expected(item))
    return nearest_preset(slot.value) if slot.key == "preset" else None


def _preset_keys(tree: dict[str, Any]) -> frozenset[str]:
    """The keys that a guessed preset gives: all of a recipe's that the file does not."""
    baseline = tree["baseline"]
    recipe = preset(baseline["preset"]).model_dump(mode="json")
    every = {"preset", *_keys_in(recipe)} - {name for name, value in recipe.items() if isinstance(value, dict)}
    axes = {key for stage in _mappings(tree.get("stages")) for design in _mappings([*stage.values()]) for key in _axes(design)}
    return frozenset(every - _keys_in({key: value for key, value in baseline.items() if key != "preset"}) - axes)


def _mappings(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _axes(design: dict[str, Any]) -> set[str]:
    return _keys_in(design.get("axes")) | _keys_in(design.get("changes"))


def _expected(item: Any) -> list[str]:
    return expected_names(item["ctx"].get("expected") or item["ctx"]["expected_tags"])


def _replace(slot: _Slot, item: Any) -> frozenset[str]:
    """A possible count, or the default of what has one."""
    value = None if item["type"] == "missing" else _possible(slot, item)
    given = slot.holder.pop(slot.key)
    if value is not None:
        slot.holder[slot.key] = value
        return frozenset({slot.key})
    return frozenset({slot.key, *_keys_in(given), *([] if slot.holder else [slot.above])})


def _possible(slot: _Slot, item: Any) -> int | None:
    """A count in the place of one that was refused; None for what is no count."""
    value, bounds = slot.value, item.get("ctx", {})
    if slot.key == "seeds":
        return 1
    if slot.key == "images_per_trial":
        return MANY_IMAGES
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return {
        "greater_than": int(bounds.get("gt", 0)) + 1,
        "greater_than_equal": int(bounds.get("ge", 0)),
        "less_than_equal": int(bounds.get("le", 0)),
    }.get(item["type"])


def _keys_in(value: Any) -> set[str]:
    """The keys of a mapping and below it, but for what variants are told apart by: every rule about one has that word."""
    if isinstance(value, list):
        return {key for member in value for key in _keys_in(member)}
    return (
        {key for name, below in value.items() for key in (name, *_keys_in(below))} - {"kind"}
        if isinstance(value, dict)
        else set()
    )
