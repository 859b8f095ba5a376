"""An evaluation as a person changes it on a command line: KEY=VALUE, by the keys and rules of `evaluation`."""

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from jit_sweep.errors import UserError
from jit_sweep.spec.explained import explain
from trainables.config.evaluation import EvaluationConfig
from trainables.config.yaml import parsed

Model = TypeVar("Model", bound=BaseModel)


def changed(evaluation: EvaluationConfig, assignments: Sequence[str]) -> EvaluationConfig:
    """The evaluation with some keys changed. UserError: a key or a value that none takes."""
    return checked(EvaluationConfig, {**evaluation.model_dump(), **read(assignments, option="--set")}, option="--set")


def read(assignments: Sequence[str], *, option: str) -> dict[str, Any]:
    """What KEY=VALUE says, each value as YAML has it. UserError: one has no `=`, or its value is no YAML."""
    values: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UserError(f"`{option}` must be KEY=VALUE, got {text!r}; try {option} steps=25")
        try:
            values[key.strip()] = parsed(value)
        except ValueError as error:
            raise UserError(f"`{option} {text}`: {error}") from None
    return values


def checked(model: type[Model], values: dict[str, Any], *, option: str) -> Model:
    """A record of these values. UserError: every mistake, by key."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, source=option, model=model).replace("\n", "; ")) from None
