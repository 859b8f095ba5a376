"""The README's own sweep file is one that works."""

import re
from pathlib import Path

from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from tests.support.paths import TOP

README = TOP / "README.md"


def test_the_sweep_file_in_the_readme_can_be_planned(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    file = tmp_path / "mine.yaml"
    file.write_text(blocks[0])
    assert len(plan(read_spec(str(file)), source="README.md").entries) == 2 * 6 + 2 * 3


def test_every_command_in_the_readme_exists() -> None:
    from jit_sweep.cli.app import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    named = {name.replace("-", "_") for name in re.findall(r"^jit-sweep ([\w-]+)", README.read_text(), re.MULTILINE)}
    assert named <= known
    assert known - named <= {"status"}
