"""The JSON schema of the sweep file (draft 7), by which editors complete and check it; the reference page is rendered from it.

It comes from the models' own fields and docstrings. The registries add what the models take as plain text: the names of axes,
metrics, quantities, presets and samplers, and each axis's own values.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from jit_sweep.spec.ablations import CHANGE_NAME
from jit_sweep.spec.docstrings import field_docstrings
from jit_sweep.spec.stages import SAMPLERS
from jit_sweep.spec.sweep import NAME_PATTERN, OWN_KEYS, SweepSpec
from search_spaces.axes import AXES
from search_spaces.axis import Axis
from search_spaces.presets import OFFICIAL, PRESETS
from search_spaces.quantities import QUANTITIES, Quantity
from trainables.config.fields import MOST
from trainables.config.recipe import Recipe
from trainables.evaluation.metrics.registry import score_names

Schema = dict[str, Any]
DRAFT = "http://json-schema.org/draft-07/schema#"
_REFERENCE = "#/$defs/"
_OVERRIDES = ("model", "diffusion", "optimiser")
"""Sections of a recipe that a baseline changes key by key."""


def sweep_schema() -> Schema:
    """The schema of a sweep file. What it cannot say (a budget of whole batches, a patch that divides the image) is left to
    `jit-sweep validate`."""
    schema, recipe = (model.model_json_schema(schema_generator=_Described) for model in (SweepSpec, Recipe))
    definitions: dict[str, Schema] = recipe["$defs"] | schema["$defs"]
    _open_overrides(definitions, recipe)
    _require_kind(schema["properties"]["scheduler"], definitions)
    _name_what_is_registered({"SweepSpec": schema, **definitions})
    schema["$defs"] = definitions | _registered()
    own: Schema = {"patternProperties": {f"^{OWN_KEYS}": {}}}
    schema["properties"]["full"] = {
        "type": "object",
        "description": "The keys that `--full` puts in the place of the file's own.",
    }
    return {"$schema": DRAFT, **_tidied(schema), **own, "title": "A sweep file of jit-sweep"}


def schema_text() -> str:
    """The schema as the file `search_spaces/sweeps/sweep.schema.json` holds it."""
    return f"{json.dumps(sweep_schema(), indent=2)}\n"


def reference_to(name: str) -> Schema:
    return {"$ref": f"{_REFERENCE}{name}"}


def referred(schema: Schema) -> str | None:
    """The definition that a schema refers to by itself."""
    reference = schema.get("$ref")
    return str(reference).removeprefix(_REFERENCE) if reference else None


class _Described(GenerateJsonSchema):
    """With the docstring under each field as its description, where what the field refers to does not say the same."""

    def model_schema(self, schema: Any) -> Schema:
        found = super().model_schema(schema)
        for name, text in field_docstrings(schema["cls"]).items():
            field = found["properties"][schema["cls"].model_fields[name].alias or name]
            if self.resolve_ref_schema(field).get("description") != text:
                field.setdefault("description", text)
        return found


def _open_overrides(definitions: dict[str, Schema], recipe: Schema) -> None:
    """A baseline's sections are those of a recipe, where every key may be left out: it is the preset's then."""
    baseline = definitions["Baseline"]["properties"]
    for section in _OVERRIDES:
        name = referred(recipe["properties"][section])
        assert name is not None
        _replace(baseline, section, reference_to(name))
        definitions[name].pop("required", None)
        for field in definitions[name]["properties"].values():
            field.pop("default", None)
    averages, whole = recipe["properties"]["ema"]["items"], {name: recipe["properties"][name] for name in ("method", "space")}
    for union in (averages, *whole.values()):
        _require_kind(union, definitions)
    for name, union in whole.items():
        _replace(baseline, name, {key: value for key, value in union.items() if key != "default"})
    _replace(baseline, "ema", _or_null({"type": "array", "items": averages}))


def _require_kind(union: Schema, definitions: dict[str, Schema]) -> None:
    """The variants of a union are told apart by their `kind`, which therefore has no default."""
    for member in union["oneOf"]:
        variant = definitions[str(referred(member))]
        variant["required"] = list(dict.fromkeys(["kind", *variant.get("required", [])]))
        variant["properties"]["kind"].pop("default", None)


def _name_what_is_registered(models: dict[str, Schema]) -> None:
    """Let the keys that take registered names refer to the definitions of `_registered`."""
    axes, metric = {"type": "array", "items": reference_to("Axis")}, reference_to("Metric")
    objectives = {"type": "array", "items": reference_to("Objective"), "minItems": 2, "uniqueItems": True}
    named: dict[tuple[str, str], Schema] = {
        ("SweepSpec", "name"): {"type": "string", "pattern": f"^{NAME_PATTERN}$"},
        ("SweepSpec", "objective"): metric,
        ("Baseline", "preset"): reference_to("Preset"),
        ("Grid", "axes"): reference_to("GridAxes"),
        ("Grid", "limits"): reference_to("Limits"),
        ("CellRule", "where"): {"allOf": [reference_to("Cells")], "minProperties": 1},
        ("PlannedContrast", "axis"): reference_to("Axis"),
        ("PlannedContrast", "where"): reference_to("Cells"),
        ("Ablation", "changes"): reference_to("Changes"),
        ("SearchSpec", "axes"): reference_to("SearchAxes"),
        ("SearchSpec", "limits"): reference_to("Limits"),
        ("SearchSpec", "sampler"): reference_to("Sampler"),
        ("SearchSpec", "objectives"): _or_null(objectives),
    }
    early = [name for name, model in models.items() if "compare_within" in model["properties"]]
    named |= {(name, "metric"): metric for name in early} | {(name, "compare_within"): axes for name in early}
    for (model, key), schema in named.items():
        _replace(models[model]["properties"], key, schema)


def _registered() -> dict[str, Schema]:
    """What the registries know, as definitions; a `title` says in words what a value is."""
    axes = AXES.values()
    return {
        "Axis": _one_of(AXES, title="axis (`jit-sweep axes`)"),
        "Metric": _one_of(score_names(), title="metric (`jit-sweep metrics`)"),
        "Objective": _one_of([*score_names(), *QUANTITIES], title="metric or quantity (`jit-sweep metrics`)"),
        "Sampler": _one_of(SAMPLERS, title=f"one of {', '.join(SAMPLERS)}"),
        "Preset": {
            "title": "name of a preset",
            "anyOf": [
                _one_of([*PRESETS, *OFFICIAL]),
                {"type": "string", "pattern": rf"^({'|'.join(map(re.escape, PRESETS))})/[0-9]+$"},
            ],
        },
        "Cells": _mapping({axis.name: _about(axis, axis_schema(axis)) for axis in axes}, title="axes, each with one value"),
        "GridAxes": _mapping(
            {axis.name: _about(axis, _choices(axis)) for axis in axes},
            title="axes, each with a list of values",
            minProperties=1,
        ),
        "Changes": {
            "title": "names, each with axes and their values",
            "type": "object",
            "minProperties": 1,
            "patternProperties": {CHANGE_NAME: {"allOf": [reference_to("Cells")], "minProperties": 1}},
            "additionalProperties": False,
        },
        "SearchAxes": _mapping(
            {axis.name: _about(axis, _space(axis)) for axis in axes},
            title="axes, each with a list of values or a range",
            minProperties=1,
        ),
        "Limits": _mapping(
            {quantity.name: _limit(quantity) for quantity in QUANTITIES.values()},
            title="quantities, each with its largest value (`jit-sweep metrics`)",
        ),
    }


def _one_of(names: Iterable[str], **more: Any) -> Schema:
    return {**more, "type": "string", "enum": list(names)}


def _mapping(properties: dict[str, Schema], **more: Any) -> Schema:
    return {**more, "type": "object", "additionalProperties": False, "properties": properties}


def _about(axis: Axis, schema: Schema) -> Schema:
    return {"description": axis.about, **schema}


def axis_schema(axis: Axis) -> Schema:
    """What one value of an axis may be."""
    return dict(_tidied(axis.values.json_schema()))


def _choices(axis: Axis) -> Schema:
    return {"type": "array", "items": axis_schema(axis), "minItems": 1, "uniqueItems": True}


def _space(axis: Axis) -> Schema:
    """A list of choices; a range too where the axis takes numbers."""
    value = axis_schema(axis)
    numbers = [kind for kind in (value, *value.get("anyOf", ())) if kind.get("type") in ("integer", "number")]
    if not numbers:
        return _choices(axis)
    ends = {"properties": {"low": numbers[0], "high": numbers[0]}}
    return {"anyOf": [_choices(axis), {"allOf": [reference_to("Range"), ends]}]}


def _limit(quantity: Quantity) -> Schema:
    return {"description": f"{quantity.about}, in {quantity.unit}", "type": "number", "exclusiveMinimum": 0}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _replace(properties: dict[str, Schema], key: str, schema: Schema) -> None:
    """Another schema for a key, which keeps its meaning and its default."""
    kept = {word: properties[key][word] for word in ("description", "default") if word in properties[key]}
    properties[key] = schema | kept


def _tidied(schema: Any) -> Any:
    """Without the titles that pydantic makes of field names and what draft 7 does not know; descriptions in YAML's words."""
    if isinstance(schema, list):
        return [_tidied(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {word: _tidied(value) for word, value in schema.items() if word not in ("discriminator", "oneOf", "prefixItems")}
    if "oneOf" in schema:
        tidy["anyOf"] = _tidied(schema["oneOf"])
    if "prefixItems" in schema:
        tidy["items"] = _tidied(schema["prefixItems"][0])
    if tidy.get("maximum") == MOST:
        del tidy["maximum"]
    if isinstance(tidy.get("title"), str) and tidy["title"][:1].isupper():
        del tidy["title"]
    if isinstance(tidy.get("description"), str):
        tidy["description"] = re.sub(r"\bNone\b", "null", " ".join(tidy["description"].split()))
    return tidy
