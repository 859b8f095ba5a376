"""Every command is documented, and every command line that a page shows is one that the program takes."""

import re
import shlex
from pathlib import Path

import pytest
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from jit_sweep.cli.app import app
from tests.support.documents import DOCS, PAGES, rows_of

GROUP = get_command(app)
LINES = [
    (page, line)
    for page in PAGES
    for block in re.findall(r"```\n(.*?)```", page.read_text(), re.DOTALL)
    for line in re.findall(r"^jit-sweep .*$", block, re.MULTILINE)
]


def commands(group: object = GROUP, before: str = "") -> dict[str, TyperCommand]:
    """Every command by its words, those below another's name too."""
    assert isinstance(group, TyperGroup)
    found: dict[str, TyperCommand] = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{before}{name} ") if isinstance(command, TyperGroup) else {}
        found |= {f"{before}{name}": command} if isinstance(command, TyperCommand) else {}
    return found


def test_the_page_of_commands_has_a_row_for_each() -> None:
    rows = {row[0].strip("`"): row[1] for row in rows_of(DOCS / "commands.md", heading="# Commands")}
    assert rows.keys() == commands().keys()
    assert all(rows.values())


def test_every_command_and_option_says_what_it_does() -> None:
    silent = [name for name, command in commands().items() if not command.help]
    options = [parameter for command in commands().values() for parameter in command.params]
    silent += [str(option.name) for option in options if isinstance(option, TyperOption) and not option.help]
    assert silent == []


def test_the_pages_show_command_lines() -> None:
    assert len(LINES) > 20
    assert {page.name for page, _ in LINES} >= {"README.md", "commands.md"}


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda part: part.name if isinstance(part, Path) else part.split("#")[0])
def test_a_command_line_on_a_page_is_one_that_the_program_takes(page: Path, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    name = next(name for name in (" ".join(words[:2]), words[0]) if name in commands())
    command, arguments = commands()[name], words[len(name.split()) :]
    command.make_context(name, arguments)  # parses, and runs nothing


def test_a_command_line_that_the_program_does_not_take_is_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        commands()["run"].make_context("run", ["mine.yaml", "--nosuch"])
