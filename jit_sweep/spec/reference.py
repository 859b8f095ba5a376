"""Every key of the sweep file as Markdown: `python -m jit_sweep.spec.reference` prints it."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from jit_sweep.spec.json_schema import Schema, referred, sweep_schema
from trainables.config.fields import choices

BOUNDS = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
WORDS = {"string": "text", "boolean": "true or false", "integer": "whole number", "object": "mapping", "null": "null"}
"""JSON schema's types as the page calls them; those that are missing keep their names."""


@dataclass(frozen=True)
class Section:
    """A mapping of the sweep file, and the path of keys that leads to it."""

    path: str
    schema: Schema
    """Of the mapping."""

    @property
    def variant(self) -> str:
        """What tells it from the mappings that may stand in its place: its `kind`, or the key that it must have."""
        kind = self.schema["properties"].get("kind")
        return f"kind: {choices(kind.get('enum') or [kind['const']])}" if kind else str(self.schema.get("required", [""])[0])


@dataclass(frozen=True)
class Page:
    """A sweep file's schema, read as a page."""

    schema: Schema

    def sections(self) -> list[Section]:
        """The mappings that the file may hold, each where it is met first, from the top down."""
        sections = {"": Section("", self.schema)}
        self._collect(self.schema, sections, path="")
        return list(sections.values())

    def fields(self) -> Iterator[tuple[Section, str, Schema]]:
        """Every key, with the section that it belongs to and its schema."""
        for section in self.sections():
            for key, field in section.schema["properties"].items():
                yield section, key, field

    def meaning(self, field: Schema) -> str:
        """What a key is there for; empty where nothing says so."""
        if "const" in field:
            return "Names this variant."
        return str(field.get("description") or self._definition(field).get("description", ""))

    def markdown(self) -> str:
        sections = self.sections()
        paths = [section.path for section in sections]
        return "\n".join(self._rendered(section, shared=paths.count(section.path) > 1) for section in sections)

    def _definition(self, schema: Schema) -> Schema:
        name = referred(schema)
        return dict(self.schema["$defs"][name]) if name else {}

    def _collect(self, schema: Schema, sections: dict[str, Section], *, path: str) -> None:
        """A definition with a title is told by it and has no section; what stands below any of its keys may have one."""
        for key, field in schema.get("properties", {}).items():
            step = "AXIS" if "title" in schema and path else key
            definitions = self.schema["$defs"]
            members = [item for item in _references(field, f"{path}.{step}".removeprefix(".")) if item[1] not in sections]
            sections.update({name: Section(at, definitions[name]) for at, name in members if "title" not in definitions[name]})
            for at, name in members:
                self._collect(definitions[name], sections, path=at)

    def _rendered(self, section: Section, *, shared: bool) -> str:
        title = f"`{section.path}`{f' with `{section.variant}`' if shared else ''}" if section.path else "The file"
        required = section.schema.get("required", [])
        head = ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines = [f"## {title}", "", section.schema["description"], "", *head]
        for key, field in section.schema["properties"].items():
            words = in_words(field, self.schema["$defs"])
            cells = (f"`{key}`", words, _default(field, required=key in required), self.meaning(field))
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        return "\n".join(lines) + "\n"


def in_words(schema: Schema, definitions: Mapping[str, Schema] = MappingProxyType({})) -> str:
    """What a schema takes, in words: `whole number above 0`. Definitions with a title are called by it."""
    if name := referred(schema):
        return str(definitions[name].get("title", "mapping"))
    if members := schema.get("anyOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(in_words(member, definitions) for member in members))
    if choices := schema.get("enum") or [schema[word] for word in ("const",) if word in schema]:
        return " or ".join(f"`{choice if isinstance(choice, str) else json.dumps(choice)}`" for choice in choices)
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {in_words(schema['items'], definitions)}"
    bounds = " and ".join(f"{word} {schema[bound]:g}" for bound, word in BOUNDS.items() if bound in schema)
    return f"{WORDS.get(schema['type'], schema['type'])} {bounds}".strip()


def _references(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    """The definitions that a key's value may be, each with the path of that value."""
    if name := referred(schema):
        yield path, name
    for member in (*schema.get("anyOf", ()), *schema.get("allOf", ())):
        yield from _references(member, path)
    if "items" in schema:
        yield from _references(schema["items"], f"{path}[]")


def _default(field: Schema, *, required: bool) -> str:
    if required:
        return "required"
    if "default" not in field:
        return "the preset's"
    value = field["default"]
    if isinstance(value, dict) and value:
        return f"`kind: {value['kind']}`" if "kind" in value else "as below"
    return f"`{json.dumps(value)}`"


def sweep_file_markdown() -> str:
    """A section for each mapping of the sweep file, in the file's order: what it is, and a table of its keys with type, default
    and meaning."""
    return Page(sweep_schema()).markdown()


if __name__ == "__main__":
    sys.stdout.write(sweep_file_markdown())
