"""From a sweep file to a `SweepSpec`, or to one message that names every mistake in it."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo

from jit_sweep.errors import UserError
from jit_sweep.spec.counts import mistakes, with_possible_counts
from jit_sweep.spec.sweep import OWN_KEYS, Baseline, SweepSpec
from trainables.config.spelling import did_you_mean, or_meant
from trainables.config.trial import Recipe
from trainables.config.yaml import parsed

_IN_YAML = {
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "union_tag_not_found": "must be a mapping with a `kind`",
}
"""What pydantic says in Python's words."""


class UnsoundFile(UserError):
    """What is wrong with a sweep file by itself."""

    def __init__(self, message: str, *, otherwise: SweepSpec | None = None) -> None:
        """`otherwise`: the sweep with possible counts in the place of impossible ones, where nothing else is wrong."""
        super().__init__(message)
        self.otherwise = otherwise


def shipped_sweeps() -> list[str]:
    """Names of the sweep files that come with the program."""
    folder = resources.files("search_spaces") / "sweeps"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_spec(file: str) -> SweepSpec:
    """The sweep in a file, or in a shipped file given by its bare name. UserError: all mistakes at once."""
    try:
        tree = parsed(_text(file))
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{file}: a sweep file must be a YAML mapping, got {type(tree).__name__}")
    tree = {key: value for key, value in tree.items() if not str(key).startswith(OWN_KEYS)}
    try:
        return SweepSpec.model_validate(tree)
    except ValidationError as error:
        lines = [explain(error, source=file, model=SweepSpec), *override_faults(tree.get("baseline"), source=file)]
        raise UnsoundFile("\n".join(lines), otherwise=with_possible_counts(tree, error)) from None


def override_faults(baseline: Any, *, source: str) -> list[str]:
    """What is wrong with a baseline's overrides, in lines; of one that is no sound section other faults are known."""
    try:
        section = Baseline.model_validate(baseline)
    except ValidationError:
        return []
    try:
        section.recipe()
    except ValidationError as error:
        return [explain(error, source=source, model=Recipe, at="baseline")]
    return []


def _text(file: str) -> str:
    path = Path(file)
    if not path.exists() and file in shipped_sweeps():
        return (resources.files("search_spaces") / "sweeps" / f"{file}.yaml").read_text()
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        every = f"give a sweep file, or one of the shipped: {', '.join(shipped_sweeps())}"
        raise UserError(f"{file}: {reason}; {did_you_mean(file, shipped_sweeps(), otherwise=every)}") from None


def explain(error: ValidationError, *, source: str, model: type[BaseModel], at: str = "") -> str:
    """A validation error as lines of `file: key.path: rule, got value`."""
    lines = []
    for item in mistakes(error):
        path, valid = _walk(model, item["loc"])
        lines.append(f"{source}: {'.'.join(filter(None, (at, path)))}: {_rule(item, valid)}".replace(": : ", ": "))
    return "\n".join(dict.fromkeys(lines))


def _walk(model: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[str, list[str]]:
    """The key path as the user wrote it (pydantic's has the unions' tags in it), and the keys that are valid there."""
    path, valid = "", list[str]()
    node: Any = model
    for part in loc:
        variants = _variants(node)
        if part in variants:
            node = variants[str(part)]
            continue
        fields = _fields(node)
        valid = list(fields)
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
        node = fields[part].annotation if part in fields else (get_args(node) or (None,))[-1 if isinstance(part, str) else 0]
        node = _unwrapped(node)
    return path, valid


def _unwrapped(annotation: Any) -> Any:
    """Without what annotates it, and without the None of an optional model."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    models = [member for member in get_args(annotation) if _fields(member)]
    return models[0] if len(models) == 1 and type(None) in get_args(annotation) else annotation


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


def _rule(item: Any, valid: list[str]) -> str:
    value, key = item["input"], str(item["loc"][-1]) if item["loc"] else ""
    message: str = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        remedy = did_you_mean(key, valid, otherwise=f"valid keys: {', '.join(valid)}")
        return f"unknown key {key!r}; {remedy}"
    if item["type"] == "missing":
        return "this key is required"
    if item["type"] == "value_error":
        return message
    if item["type"] == "union_tag_invalid":
        rule = f"`kind` must be one of {item['ctx']['expected_tags']}, got {item['ctx']['tag']!r}"
        return or_meant(rule, item["ctx"]["tag"], expected=item["ctx"]["expected_tags"])
    if item["type"] == "variant_key" and isinstance(value, dict):
        got, keys = ", ".join(map(str, value)) or "none", item["ctx"]["keys"].split(", ")
        remedies = [meant for key in value if (meant := did_you_mean(str(key), keys, otherwise=""))]
        return "; ".join([f"{message}, got {got}", *remedies[:1]])
    message = _IN_YAML.get(item["type"], message)
    shown = value if isinstance(value, str | int | float | bool | None) else type(value).__name__
    rule = f"{message[0].lower()}{message[1:]}, got {shown!r}"
    return or_meant(rule, value, expected=item["ctx"]["expected"]) if item["type"] == "literal_error" else rule
