"""A stored sweep file as one that can be run again: it makes the same trials under this version's defaults and presets."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from jit_sweep.spec.stored import readable
from jit_sweep.spec.sweep import EvaluationSpec, SweepSpec
from search_spaces.presets import preset
from trainables.config.fields import done_before, identity
from trainables.config.recipe import Recipe


def file_again(stored: Mapping[str, Any], facts: Mapping[str, Any]) -> Any:
    """The tree of a file whose trials have the ids of the ledger's; what this version cannot read stands as it is stored.

    facts: the sweep's identity.
    """
    tree = dict(stored)
    tree["evaluation"] = {**_former_defaults(), **stored.get("evaluation", {})}
    spec = readable(tree)
    if spec is None:
        return _without_nothing(tree, tree)
    full = spec.model_dump(mode="json", by_alias=True)
    full["baseline"] = _baseline(spec, facts.get("baseline", {}), full["baseline"])
    return _without_nothing(full, spec.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def _former_defaults() -> dict[str, Any]:
    """What evaluations did before a key joined, where its default is another."""
    fields = EvaluationSpec.model_fields
    return {name: was for name, was in done_before(EvaluationSpec).items() if was != fields[name].get_default()}


def _baseline(spec: SweepSpec, recorded: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The baseline as the file has it; where that is another recipe today, with all that differs from today's preset."""
    recipe = _recorded(recorded)
    now = spec.baseline.recipe()
    if recipe is None or recipe == now.model_copy(update={"precision": now.precision or recipe.precision}):
        return given
    named = preset(spec.baseline.preset).model_dump(mode="json")
    return {"preset": spec.baseline.preset, **_difference(named, recipe.model_dump(mode="json"))}


def _recorded(facts: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a sweep's identity; None where this version writes it otherwise."""
    try:
        recipe = Recipe.model_validate(facts)
    except ValidationError:
        return None
    return recipe if identity(recipe) == facts else None


def _difference(base: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The leaves of `now` that differ; a mapping of another `kind` stands whole."""
    found: dict[str, Any] = {}
    for key, value in now.items():
        before = base.get(key)
        if value == before:
            continue
        same = isinstance(value, dict) and isinstance(before, dict) and value.get("kind") == before.get("kind")
        found[key] = _difference(before, value) if same else value  # type: ignore[arg-type]
    return found


def _without_nothing(tree: Any, chosen: Any) -> Any:
    """Without what is null or empty and nobody has chosen to be: an empty list of averages keeps none, and stays."""
    if isinstance(tree, list):
        below = chosen if isinstance(chosen, list) and len(chosen) == len(tree) else [{}] * len(tree)
        return [_without_nothing(each, of) for each, of in zip(tree, below, strict=True)]
    if not isinstance(tree, dict):
        return tree
    of = chosen if isinstance(chosen, dict) else {}
    kept = {key: _without_nothing(value, of.get(key)) for key, value in tree.items()}
    return {key: value for key, value in kept.items() if value not in (None, {}, []) or of.get(key, ...) == tree[key]}
