"""Tables that fit a terminal: what all rows share stands above them, and columns are left out whole, by importance."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from jit_sweep.cli.output import cell_of
from search_spaces.axes import AxisValue, arm_label

GAP = 2
"""Blanks between columns."""
Arm = Mapping[str, AxisValue]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    cells: Sequence[str]
    rank: int = 0
    """Which goes first where there is no room: the highest. 0 never goes, since it tells rows apart."""
    right: bool = False
    wraps: bool = False
    """Its cells may be broken between words where the terminal is narrower than all that must stay."""

    def width(self, *, stacked: bool) -> int:
        """Of its longest cell and its heading, or where headings are stacked, of the heading's longest word."""
        heading = self.heading.split() if stacked else [self.heading]
        return max(map(cell_len, (*self.cells, *heading)), default=0)

    @property
    def least(self) -> int:
        """Of its longest word."""
        return max((cell_len(word) for text in (*self.cells, self.heading) for word in text.split()), default=0)


def cell_column(arms: Sequence[Arm]) -> tuple[Column, str]:
    """The column that tells the arms of the rows apart, `-` for one without a value of its own; and what all share in words."""
    shared = shared_values(arms) if len(arms) > 1 else {}
    own = [{axis: value for axis, value in arm.items() if axis not in shared} for arm in arms]
    words = cell_of if len({cell_of(arm) for arm in own}) == len({arm_label(arm) for arm in own}) else arm_label
    cells = [words(arm) if arm or not shared else "-" for arm in own]
    return Column("cell", cells, wraps=True), f"; all {words(shared)}" if shared else ""


def shared_values(arms: Sequence[Arm]) -> dict[str, AxisValue]:
    """The axis values that all arms have."""
    first = arms[0] if arms else {}
    return {axis: value for axis, value in first.items() if all(axis in arm and arm[axis] == value for arm in arms)}


def fitted(columns: Sequence[Column], *, width: int) -> list[Column]:
    """The columns that stay in a terminal of this width."""
    kept = list(columns)
    while _width(kept, stacked=True) > width and (most := max(column.rank for column in kept)):
        kept.remove(next(column for column in reversed(kept) if column.rank == most))
    return kept


def table_of(columns: Sequence[Column], *, width: int, styles: Mapping[int, str] | None = None) -> Group:
    """A table of the columns that fit, and a line that names those which do not; `styles`: of rows, by index."""
    kept = fitted(columns, width=width)
    stacked = _width(kept, stacked=False) > width
    excess = max(0, _width(kept, stacked=stacked) - width)
    table = Table(box=None, pad_edge=False)
    for column in kept:
        own = column.width(stacked=stacked)
        given = max(column.least, own - excess) if column.wraps else own
        excess -= own - given
        table.add_column(column.heading, justify="right" if column.right else "left", width=given)
    for index, row in enumerate(zip(*(column.cells for column in kept), strict=True)):
        table.add_row(*row, style=(styles or {}).get(index))
    lacking = ", ".join(column.heading for column in columns if column not in kept)
    note = [Text("\n".join(lines(f"no room for: {lacking}", width=width)), style="dim")] if lacking else []
    return Group(table, *note)


def lines(text: str, *, width: int, indent: str = "") -> list[str]:
    """A text in lines of at most this width, broken between words only: an address is never broken."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def say(screen: Console, text: str, *, indent: str = "", style: str | None = None) -> None:
    """Print a text in lines that are broken between words, on a terminal; elsewhere in one."""
    shown = lines(text, width=screen.width, indent=indent) if screen.is_terminal else [f"{indent}{text}"]
    screen.print("\n".join(shown), soft_wrap=True, style=style)


def _width(columns: Sequence[Column], *, stacked: bool) -> int:
    return sum(column.width(stacked=stacked) for column in columns) + GAP * (len(columns) - 1)
