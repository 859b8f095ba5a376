"""A validation error as lines of `file: key.path: rule, got value`, by the keys that the file has."""

from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from trainables.config.spelling import did_you_mean, nearest_name, or_meant
from trainables.config.wording import rule_of

RULE_AT_KEY = "rule_at_key"
"""pydantic's type of what `broken_at` makes."""


class KeyPlace(NamedTuple):
    """Where a mistake is."""

    path: str
    """The keys as the user wrote them; pydantic's have the unions' tags in them."""
    keys: tuple[str | int, ...]
    """The same, apart."""
    valid: tuple[str, ...]
    """The keys that are valid there."""
    variants: dict[str, tuple[str, ...]]
    """Where a variant is chosen there: its kinds, each with its keys."""


def broken_at(*keys: str | int, rule: str, possible: Any = None) -> PydanticCustomError:
    """What a rule over several keys raises, to be told of one of them.

    keys: its place as pydantic writes it, with the unions' tags; `rule`: with value and remedy; `possible`: a value that keeps
    the rule, where the key's default does not.
    """
    return PydanticCustomError(RULE_AT_KEY, "{rule}", {"rule": rule, "keys": keys, "possible": possible})


def explain(error: ValidationError, *, source: str, model: type[BaseModel], at: str = "") -> str:
    """Every mistake, a line each."""
    return "\n".join(dict.fromkeys(line_of(item, source=source, model=model, at=at) for item in mistakes(error)))


def mistakes(error: ValidationError) -> list[Any]:
    """What pydantic found, but for lists that it calls too short because it does not count their faulty members."""
    items = [_at_its_key(item) for item in error.errors(include_url=False)]
    deeper = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    return [item for item in items if item["type"] != "too_short" or item["loc"] not in deeper]


def _at_its_key(item: Any) -> Any:
    """A rule over several keys at the one that it names."""
    return {**item, "loc": (*item["loc"], *item["ctx"]["keys"])} if item["type"] == RULE_AT_KEY else item


def line_of(item: Any, *, source: str, model: type[BaseModel], at: str = "") -> str:
    """One mistake."""
    place = place_of(model, item["loc"])
    return f"{source}: {'.'.join(filter(None, (at, place.path)))}: {_rule(item, place)}".replace(": : ", ": ")


def place_of(model: type[BaseModel], loc: tuple[str | int, ...]) -> KeyPlace:
    """Where pydantic's place is in the file."""
    path, keys, valid = "", list[str | int](), list[str]()
    node: Any = model
    kinds: dict[str, Any] = {}
    for part in loc:
        variants = _variants(node)
        if part in variants:
            node, kinds = variants[str(part)], variants
            continue
        keys.append(part)
        fields = _fields(node)
        valid = list(fields)
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        kinds = kinds if part not in fields else {}
        node = fields[part].annotation if part in fields else (get_args(node) or (None,))[-1 if isinstance(part, str) else 0]
        node = _unwrapped(node)
    return KeyPlace(path, tuple(keys), tuple(valid), {kind: tuple(_fields(member)) for kind, member in kinds.items()})


def _unwrapped(annotation: Any) -> Any:
    """Without what annotates it, and without the None of what is optional."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    members = [member for member in get_args(annotation) if member is not type(None)]
    return _unwrapped(members[0]) if len(members) == 1 and type(None) in get_args(annotation) else annotation


def _variants(union: Any) -> dict[str, Any]:
    """The members of a union by what pydantic calls them: their tag, or their `kind`."""
    tagged = {tag.tag: get_args(member)[0] for member in get_args(union) for tag in get_args(member) if isinstance(tag, Tag)}
    models = [member for member in get_args(union) if "kind" in _fields(member)]
    kinds = {str(kind): member for member in models for kind in get_args(_fields(member)["kind"].annotation)}
    return kinds | tagged


def _fields(annotation: Any) -> dict[str, FieldInfo]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in annotation.model_fields.items()}


def _rule(item: Any, place: KeyPlace) -> str:
    match item["type"]:
        case "extra_forbidden":
            return _unknown_key(str(item["loc"][-1]), place)
        case "missing":
            return "this key is required"
        case "union_tag_invalid":
            expected, got = item["ctx"]["expected_tags"], item["ctx"]["tag"]
            return or_meant(f"`kind` must be one of {expected}, got {got!r}", got, expected=expected)
        case "warmup_form" if isinstance(item["input"], dict):
            return _warmup(item["msg"], item["input"])
        case "union_tag_not_found" if isinstance(item["input"], dict):
            return "must be a mapping with a `kind`, got one without"
        case "variant_key" if isinstance(item["input"], dict):
            return _variant_key(item["msg"], item["input"], item["ctx"]["keys"].split(", "))
    return str(item["ctx"]["rule"]) if item["type"] == RULE_AT_KEY else rule_of(item)


def _unknown_key(key: str, place: KeyPlace) -> str:
    """Of a variant that has no such key, another may have it; one that was overridden is of its preset's kind."""
    remedy = did_you_mean(key, place.valid, otherwise="")
    every = f"valid keys: {', '.join(place.valid)}"
    for kind, keys in place.variants.items() if "kind" in place.valid and not remedy else ():
        if meant := nearest_name(key, set(keys) - set(place.valid)):
            return f"unknown key {key!r}; {every}; {meant!r} belongs to `kind: {kind}`, so write that kind"
    return f"unknown key {key!r}; {remedy or every}"


def _warmup(rule: str, given: dict[Any, Any]) -> str:
    got = given.get("kind")
    return or_meant(f"{rule}, got kind {got!r}" if got else f"{rule}, got one without", got, expected="'epochs' or 'share'")


def _variant_key(rule: str, given: dict[Any, Any], keys: list[str]) -> str:
    both = [key for key in keys if key in given]
    got = " and ".join(both) if len(both) > 1 else ", ".join(map(str, given)) or "none"
    remedies = [meant for key in given if key not in keys and (meant := did_you_mean(str(key), keys, otherwise=""))]
    return "; ".join([f"{rule}, got {got}", *(["leave one of them out"] if len(both) > 1 else remedies[:1])])
