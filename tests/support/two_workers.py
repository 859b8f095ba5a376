"""How pytest-xdist gives the files to its workers."""

from xdist.scheduler import LoadFileScheduling

RAY = "tests/cluster"


class OneRayAtATime(LoadFileScheduling):
    """File by file, but all files that start Ray are one piece, and so are run one after the other by one worker.

    Two Ray clusters at once would starve each other's heartbeats on two cores. Give `--no-loadscope-reorder` as well: the
    files then go out in the order of their folders, and that piece, the longest, goes first.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return RAY if file.startswith(f"{RAY}/") else file
