"""From a sweep file to a `SweepSpec`, or to one message that names every mistake in it."""

from importlib import resources
from pathlib import Path

from jit_sweep.errors import UserError
from jit_sweep.spec.sifted import Sifted, sifted
from jit_sweep.spec.sweep import OWN_KEYS, SweepSpec
from trainables.config.spelling import did_you_mean
from trainables.config.wording import shown
from trainables.config.yaml import parsed


class UnsoundFile(UserError):
    """What is wrong with a sweep file by itself."""

    def __init__(self, found: Sifted) -> None:
        super().__init__("\n".join(found.faults))
        self.found = found


def shipped_sweeps() -> list[str]:
    """Names of the sweep files that come with the program."""
    folder = resources.files("search_spaces") / "sweeps"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def read_spec(file: str) -> SweepSpec:
    """The sweep in a file, or in a shipped file given by its bare name. UserError: all mistakes at once."""
    try:
        tree = parsed(_text(file))
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{file}: a sweep file must be a YAML mapping, got {shown(tree)}")
    found = sifted({key: value for key, value in tree.items() if not str(key).startswith(OWN_KEYS)}, source=file)
    if found.faults:
        raise UnsoundFile(found)
    assert found.rest is not None, "what has no faults is a sweep"
    return found.rest


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
