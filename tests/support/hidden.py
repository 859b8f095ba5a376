"""A pytest plugin under which chosen libraries are not installed: `-p tests.support.hidden`, named in `HIDDEN_LIBRARIES`."""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class Hidden(MetaPathFinder):
    """Refuses to find some libraries, as where they are not installed."""

    def __init__(self, libraries: frozenset[str]) -> None:
        self.libraries = libraries

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """ModuleNotFoundError: the name is in one of them."""
        if fullname.partition(".")[0] in self.libraries:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


sys.meta_path.insert(0, Hidden(frozenset(os.environ["HIDDEN_LIBRARIES"].split(","))))
