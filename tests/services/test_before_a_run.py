"""What is answered at once: addresses that are away before Ray starts, groups by two axes, a trial without a name."""

import socket
import sys
from pathlib import Path

import pytest

from jit_sweep.cli import main
from jit_sweep.cli.plan import planned
from jit_sweep.cli.run import check_before
from jit_sweep.errors import UserError
from jit_sweep.home import home_at
from tests.support.played import PlayedHome
from tests.support.sweep_files import few_images, tiny_sweep, write_sweep


def closed() -> str:
    """An address of this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize(
    ("key", "address"),
    [
        ("tracking", "http://{}"),
        ("ledger", "postgresql+psycopg://u@{}/sweeps"),
        ("storage", "{file}/below"),
        ("--address", "{}"),
    ],
)
def test_an_address_that_is_away_ends_a_run_before_anything_is_made(tmp_path: Path, key: str, address: str) -> None:
    (tmp_path / "file").touch()
    given = address.format(closed(), file=tmp_path / "file")
    keys = {} if key == "--address" else {key: given}
    home = home_at(tmp_path / "home")
    spec = planned(write_sweep(tmp_path, **keys), home).spec
    with pytest.raises(UserError, match=r"127\.0\.0\.1|file"):
        check_before("tiny", home.locations(spec), home, address=given if key == "--address" else None)
    assert not home.path.exists()


def test_a_second_by_groups_by_both_and_an_empty_why_names_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stages = [{"grid": {"axes": {"prediction": ["x", "v"], "patch_size": [16, 32]}, "seeds": 1}}]
    (tmp_path / ".jit-sweep").mkdir()
    PlayedHome(tmp_path / ".jit-sweep").run(tiny_sweep(data=few_images(tmp_path), stages=stages))
    monkeypatch.chdir(tmp_path)

    def printed(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["jit-sweep", *arguments])
        try:
            code = main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, "".join(capfd.readouterr())

    _, by_two = printed("leaderboard", "tiny", "--by", "prediction", "--by", "patch_size")
    assert by_two.count("sweep tiny: ") == 4
    _, by_one = printed("leaderboard", "tiny", "--by", "prediction")
    assert by_one.count("sweep tiny: ") == 2
    code, unnamed = printed("status", "tiny", "--why", "")
    assert (code, "`--why` must name a trial of the sweep, got ''" in unnamed) == (2, True)
