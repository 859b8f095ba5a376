"""Output that is no UTF-8, whose reader has gone or whose disk is full, and early interrupts: never a traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jit_sweep.cli.progress import PlainLines
from jit_sweep.executor.interrupt import Interrupt
from jit_sweep.plan.plan import plan
from jit_sweep.spec.read import read_spec
from tests.support.cli import environment, jit_sweep
from tests.support.ledger import OBJECTIVE, LedgerFixture, planned

ASCII = {"PYTHONIOENCODING": "ascii"}
C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.slow
@pytest.mark.parametrize("locale", [ASCII, C_LOCALE], ids=["ascii", "C"])
def test_a_table_is_spelled_in_the_characters_that_the_output_has(
    ledger: LedgerFixture, tmp_path: Path, locale: dict[str, str]
) -> None:
    for seed, value in enumerate((1.0, 3.0)):
        ledger.train(planned(seed=seed, position=seed), {OBJECTIVE: value})
    done = jit_sweep("leaderboard", "mine", "--ledger", str(ledger.engine.url), cwd=tmp_path, **locale)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 +- 1.4" in done.stdout
    assert done.stdout.isascii()


@pytest.mark.slow
def test_a_file_whose_name_the_output_lacks_is_named_in_ascii(tmp_path: Path) -> None:
    done = jit_sweep("validate", "größe.yaml", cwd=tmp_path, **ASCII)
    assert done.returncode == 2
    assert done.stderr.startswith(r"error: gr\xf6\xdfe.yaml: No such file")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["axes"], ["--version"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_gone_ends_the_command_quietly(arguments: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jit_sweep", *arguments]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(tmp_path), check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "jit_sweep", "axes"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, env=environment(tmp_path), check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the disk that is written to must have room")


def test_a_sweep_goes_on_when_nobody_reads_its_lines_any_more(ledger: LedgerFixture) -> None:
    read, write = os.pipe()
    os.close(read)
    view = PlainLines(plan(read_spec("quickstart"), source="quickstart"), os.fdopen(write, "w"))
    view(ledger.reader, False)
    view(ledger.reader, True)
    view.close()


INTERRUPTED_AT = """
import importlib.abc, os, signal, sys
class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            {interrupted}
class Interrupted:
    def __set_name__(self, owner, name):
        os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
sys.meta_path.insert(0, Interrupting())
sys.argv = ["jit-sweep", "axes"]
from jit_sweep.cli import main
code = main()
print("code", code)
"""


@pytest.mark.parametrize("module", ["jit_sweep.cli.app", "jit_sweep.cli.catalogue"])
@pytest.mark.parametrize(
    "interrupted",
    ["os.kill(os.getpid(), signal.SIGINT)", "type('Made', (), {'part': Interrupted()})"],
    ids=["between two lines", "while a class is made"],
)
def test_an_interrupt_while_the_program_is_imported_is_one_line_and_code_130(
    module: str, interrupted: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", INTERRUPTED_AT.format(module=module, interrupted=interrupted)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment(tmp_path), check=False)
    assert done.stderr == "interrupted\n"
    assert done.stdout in ("code 130\n", "")  # within a command it exits by itself
    assert done.stdout or done.returncode == 130


def test_an_interrupt_that_an_import_swallows_is_not_lost() -> None:
    interrupt = Interrupt()
    with interrupt.raising():
        interrupt.check()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:  # noqa: BLE001 - as a library does that guards its optional imports
            swallowed = type(error)
        assert swallowed is KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
