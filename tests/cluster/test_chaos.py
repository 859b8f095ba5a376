"""One sweep on a real cluster, and one kill -9 of each kind of process on its way. `make chaos` does it a hundred times."""

import sys
from pathlib import Path

import pytest

from tests.chaos.checks import all_wrong
from tests.chaos.disturb import Disturbed
from tests.chaos.kills import deck
from tests.chaos.leftovers import left_behind
from tests.chaos.reference import Reference
from tests.chaos.second_node import SecondNode
from tests.chaos.victims import KINDS
from tests.chaos.world import whole_world
from tests.support.ports import free_ports
from tests.support.ray_head import Head

SEED = 7
"""Of the order, the points and the victims of the kills."""


@pytest.mark.timeout(1200)
def test_a_sweep_under_one_kill_of_each_kind_comes_to_what_it_comes_to_undisturbed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with whole_world(tmp_path) as world, Disturbed(world, home, SEED) as sweep:
        sweep.suffer(deck(KINDS, seed=SEED))
        assert sorted(each.kill.kind for each in sweep.struck) == sorted(KINDS)
        assert all_wrong(sweep, Reference.of(sweep.file, tmp_path / "reference")) == {}
        assert left_behind(world.head) == []


def test_a_second_node_whose_process_ends_is_not_waited_for(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    head = Head(url=f"http://127.0.0.1:{port}", address=f"127.0.0.1:{port}", token="", home=tmp_path)  # nobody is there
    node = SecondNode(head, {}, within=(sys.executable, "-c", "raise SystemExit('no place here')"))
    node.start()
    with pytest.raises(RuntimeError, match=r"its process ended with 1\nno place here"):
        node.wait()
