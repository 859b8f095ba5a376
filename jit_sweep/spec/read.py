"""From a sweep file to a `SweepSpec`, or to one message that names every mistake in it."""

from importlib import resources
from pathlib import Path
from typing import Any

from jit_sweep.errors import UserError
from jit_sweep.spec.sifted import Sifted, sifted
from jit_sweep.spec.sweep import OWN_KEYS, SweepSpec
from trainables.config.spelling import did_you_mean
from trainables.config.wording import shown
from trainables.config.yaml import parsed

SMALL, FULL = "small", "full"
"""The forms of a file: as it stands, and with the keys below `full` put in."""


class UnsoundFile(UserError):
    """What is wrong with a sweep file by itself."""

    def __init__(self, found: Sifted) -> None:
        super().__init__("\n".join(found.faults))
        self.found = found


def shipped_sweeps() -> list[str]:
    """Names of the sweep files that come with the program."""
    folder = resources.files("search_spaces") / "sweeps"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def of_form(file: str, *, full: bool | None) -> str:
    """How `read_spec` is given a form of a file: `heads:full`; the file as it stands where none is asked for."""
    return file if full is None else f"{file}:{FULL if full else SMALL}"


def read_spec(file: str) -> SweepSpec:
    """The sweep in a file, or in a shipped file given by its bare name; `:small` or `:full` behind it picks its form.

    UserError: all mistakes at once.
    """
    name, _, form = file.rpartition(":") if file.endswith((f":{SMALL}", f":{FULL}")) else (file, "", "")
    try:
        tree = parsed(_text(name))
    except ValueError as error:
        raise UserError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from None
    if not isinstance(tree, dict):
        raise UserError(f"{file}: a sweep file must be a YAML mapping, got {shown(tree)}")
    tree = _in_form(tree, form, source=name)
    found = sifted({key: value for key, value in tree.items() if not str(key).startswith(OWN_KEYS)}, source=file)
    if found.faults:
        raise UnsoundFile(found)
    assert found.rest is not None, "what has no faults is a sweep"
    return found.rest


def _in_form(tree: dict[str, Any], form: str, *, source: str) -> dict[str, Any]:
    """The file as it stands, its small form, or with the keys below `full` in the place of its own."""
    full = tree.get(FULL)
    if full is None and form:
        raise UserError(f"{source}: --{form} needs a file with a `{FULL}` form, got none; leave --{form} out")
    if full is not None and not isinstance(full, dict):
        raise UserError(f"{source}: `{FULL}` must be a mapping of the keys that the full form replaces, got {shown(full)}")
    small = {key: value for key, value in tree.items() if key != FULL}
    return {**small, **full} if form == FULL and full is not None else small


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
