"""How many lanes nodes hold."""

from typing import Any

import pytest

from jit_sweep.plan.lanes import NodeSize, lanes_held
from jit_sweep.spec.sweep import Resources


@pytest.mark.parametrize(
    ("resources", "nodes", "lanes"),
    [
        ({"cpus": 1}, [(4, 0)], 4),
        ({"cpus": 3}, [(4, 0), (2, 0)], 1),
        ({"cpus": 0.1}, [(0.3, 0)], 3),
        ({"cpus": 1, "workers": 2}, [(1, 0), (1, 0)], 1),
        ({"cpus": 1, "gpus": 1}, [(8, 2), (8, 0)], 2),
        ({"cpus": 4, "gpus": 1}, [(8, 8)], 2),
        ({"cpus": 1}, [], 0),
    ],
)
def test_a_worker_has_its_devices_on_one_node(resources: dict[str, Any], nodes: list[tuple[float, float]], lanes: int) -> None:
    assert lanes_held(Resources.model_validate(resources), [NodeSize(*node) for node in nodes]) == lanes


@pytest.mark.parametrize(
    ("evaluators", "nodes", "lanes"),
    [
        ({}, [(4, 0)], 3),
        ({"count": 2}, [(4, 0)], 2),
        ({"count": 2, "cpus": 2}, [(4, 0)], 0),
        ({"count": 2, "cpus": 2}, [(2, 0), (4, 0)], 2),
        ({"cpus": 3}, [(2, 0), (3, 0)], 2),
        ({"cpus": 3}, [(2, 0), (2, 0)], 0),
    ],
)
def test_evaluators_have_their_place_beside_the_lanes(
    evaluators: dict[str, Any], nodes: list[tuple[float, float]], lanes: int
) -> None:
    resources = Resources.model_validate({"cpus": 1, "evaluators": evaluators})
    assert lanes_held(resources, [NodeSize(*node) for node in nodes], evaluator=resources.of_evaluator) == lanes
