"""What the docstrings under a model's fields say. Its source is read for it, so only where somebody asks."""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


def field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings of the fields that have one, by field; a field that a class declares anew keeps none of its base's."""
    said: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            said |= _own(base)
    return {name: said[name] for name in model.model_fields if said.get(name)}


def _own(model: type[BaseModel]) -> dict[str, str]:
    """Of the fields that a class itself declares; empty of one without."""
    body = next(node.body for node in _classes(model.__module__) if node.name == model.__name__)
    return {
        field.target.id: _text(below)
        for field, below in pairwise([*body, ast.Pass()])
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


@cache
def _classes(module: str) -> list[ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _text(node: ast.stmt) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
    return ""
