"""YAML as people write it: `1e-3` is a number, a repeated key is a mistake, and `1:30` is not 90."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.slips: list[tuple[int, str]] = []
        """What is YAML and still refused: its line, and why."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._refuse(key, "a key must be a word, got a list or a mapping; quote it")
                return {}
            if key.value in seen:
                self._refuse(key, f"a key must not repeat, got {key.value!r} twice; join the two")
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def decimal_int(self, node: yaml.ScalarNode) -> Any:
        """YAML 1.1 reads 010 as 8, 0x10 as 16 and 1:30 as 90."""
        self._check(node, _DECIMAL_INT, "decimal")
        return super().construct_yaml_int(node)

    def decimal_float(self, node: yaml.ScalarNode) -> Any:
        """YAML 1.1 reads 1:30.5 as 90.5."""
        self._check(node, _DECIMAL_FLOAT, "decimal")
        return super().construct_yaml_float(node)

    def no_date(self, node: yaml.ScalarNode) -> Any:
        """No key of ours takes a date."""
        self._check(node, re.compile("(?!)"), "a number or a text, not a date")

    def _check(self, node: yaml.ScalarNode, form: re.Pattern[str], what: str) -> None:
        if not form.fullmatch(node.value):
            self._refuse(node, f"a plain value must be {what}, got {node.value}; write it out, or quote a text")

    def _refuse(self, node: yaml.Node, why: str) -> None:
        self.slips.append((node.start_mark.line + 1, why))


_DECIMAL_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_DECIMAL_FLOAT = re.compile(r"[-+]?[0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
for _tag, _construct in (("int", _Loader.decimal_int), ("float", _Loader.decimal_float), ("timestamp", _Loader.no_date)):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct)

_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)$"), list("-+0123456789.")
)


def parsed(text: str) -> Any:
    """What a YAML text holds. ValueError: it is not YAML, or has slips, each in a line with its place and the reason."""
    loader = _Loader(text)
    try:
        tree = loader.get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}not YAML: {getattr(error, 'problem', None) or error}") from None
    if loader.slips:
        raise ValueError("\n".join(f"line {line}: {why}" for line, why in sorted(loader.slips)))
    return tree
