"""What pydantic finds wrong with a value, in the words of the file that it stands in: rule, value, and what was meant."""

import re
from typing import Any

from trainables.config.spelling import or_meant

_RULES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_attributes_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be a text",
    "tuple_type": "must be a list",
    "union_tag_not_found": "must be a mapping with a `kind`",
}
"""By pydantic's type of error, where its message has Python's words."""
_SUBJECTS = ("Input should", "String should", "Tuple should", "Dictionary should", "List should")


def rule_of(item: Any) -> str:
    """One of a ValidationError's `errors()` as rule and value, such as `must be above 0, got -1`."""
    message: str = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("value_error", "assertion_error"):
        return message
    rule = f"{_RULES.get(item['type'], _as_rule(message))}, got {shown(item['input'])}"
    return or_meant(rule, item["input"], expected=item["ctx"]["expected"]) if item["type"] == "literal_error" else rule


def shown(value: Any) -> str:
    """A value as a file's reader knows it: `nothing`, `a mapping`, `true`, 'text'."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return "a mapping"


def _as_rule(message: str) -> str:
    for subject in _SUBJECTS:
        if message.startswith(subject):
            rule = f"must{message.removeprefix(subject)}".replace(" after validation", "")
            return re.sub(r"\b(True|False)\b", lambda word: word[0].lower(), rule)
    return f"{message[:1].lower()}{message[1:]}"
