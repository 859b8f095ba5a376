"""The command lines that the program prints: each runs when it is pasted into a shell."""

import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path

from jit_sweep.redact import redact

TAKES = {
    "run": ("home", "address"),
    "status": ("home", "ledger"),
    "stop": ("home", "ledger"),
    "ui": ("home", "ledger"),
    "leaderboard": ("home", "ledger"),
    "promote": ("home", "ledger"),
    "sample": ("home", "tracking"),
    "export": ("home", "tracking"),
    "export-jit": (),
    "export-neighbour": (),
}
"""The printed commands, with the shared options that each needs: a sweep in a ledger says itself where it is tracked."""


@dataclass(frozen=True)
class SharedOptions:
    """What a further command has to be told to find the same home and addresses; None where it finds them by itself."""

    home: Path | None = None
    ledger: str | None = None
    tracking: str | None = None
    address: str | None = None

    @property
    def of_model(self) -> "SharedOptions":
        """The part that commands about a registered model need."""
        return replace(self, ledger=None)

    def command(self, name: str, /, *words: str | Path, **options: str | Path | None) -> str:
        """`jit-sweep NAME WORDS --OPTION VALUE ...` for a shell; options that are None are left out.

        An address with a password is left out too: what is printed is kept in logs (`hint` says what to do).
        """
        given = {option: value for option in TAKES[name] if (value := getattr(self, option)) is not None and _sayable(value)}
        flags = [part for option, value in {**options, **given}.items() if value is not None for part in (f"--{option}", value)]
        return shell_line("jit-sweep", name, *words, *flags)

    @property
    def hint(self) -> str:
        """What must be set before the commands run, such as ` (with JIT_SWEEP_LEDGER set)`; empty mostly."""
        secret = [field.name for field in fields(self) if not _sayable(getattr(self, field.name) or "")]
        names = " and ".join(f"JIT_SWEEP_{name.upper()}" for name in secret)
        return f" (with {names} set, since its address holds a password)" if secret else ""


def shell_line(program: str, *words: str | Path) -> str:
    """A program and its arguments, quoted for a shell."""
    return shlex.join([program, *(shell_path(word) if isinstance(word, Path) else word for word in words)])


def shell_path(path: Path) -> str:
    """A path that is taken for no option though it begins with a hyphen."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def _sayable(value: str | Path) -> bool:
    return redact(str(value)) == str(value)
