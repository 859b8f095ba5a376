"""Tables that fit a terminal: what all rows share stands above them, and columns are left out whole, by importance."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from jit_sweep.results.words import short_label
from search_spaces.axis import AxisValue
from search_spaces.cells import arm_label

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
    words = short_label if len({short_label(arm) for arm in own}) == len({arm_label(arm) for arm in own}) else arm_label
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
    if len(kept) > 1 and _least(kept) > width:
        return Group(_row_by_row(kept, width=width, styles=styles or {}), *_note(columns, kept, width=width))
    stacked = _width(kept, stacked=False) > width
    table = Table(box=None, pad_edge=False)
    for column, given in zip(kept, _given(kept, width=width, stacked=stacked), strict=True):
        table.add_column(column.heading, justify="right" if column.right else "left", width=given)
    for index, row in enumerate(zip(*(column.cells for column in kept), strict=True)):
        table.add_row(*row, style=(styles or {}).get(index))
    return Group(table, *_note(columns, kept, width=width))


def _given(kept: Sequence[Column], *, width: int, stacked: bool) -> list[int]:
    """The width of each column: where there is no room for all, the widest that wraps gives way first."""
    given = [column.width(stacked=stacked) for column in kept]
    for _ in range(_width(kept, stacked=stacked) - max(width, _least(kept))):
        widest = max((own, index) for index, own in enumerate(given) if kept[index].wraps and own > kept[index].least)
        given[widest[1]] -= 1
    return given


def _row_by_row(kept: Sequence[Column], *, width: int, styles: Mapping[int, str]) -> Group:
    """Each row as lines of `heading: cell`, where no table has room: nothing is cut, so that no two rows look alike."""
    rows = []
    for index, row in enumerate(zip(*(column.cells for column in kept), strict=True)):
        told = [f"{column.heading}: {cell}".removeprefix(": ") for column, cell in zip(kept, row, strict=True) if cell]
        first, *rest = (line for text in told for line in lines(text, width=width - GAP))
        block = "\n".join([first, *(f"{' ' * GAP}{line}" for line in rest)])
        rows.append(Text(block, style=styles.get(index, ""), overflow="fold"))
    return Group(*rows)


def _note(columns: Sequence[Column], kept: Sequence[Column], *, width: int) -> list[Text]:
    lacking = ", ".join(column.heading for column in columns if column not in kept)
    return [Text("\n".join(lines(f"no room for: {lacking}", width=width)), style="dim")] if lacking else []


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


def _least(columns: Sequence[Column]) -> int:
    """What columns take at the narrowest."""
    return sum(column.least if column.wraps else column.width(stacked=True) for column in columns) + GAP * (len(columns) - 1)


def _width(columns: Sequence[Column], *, stacked: bool) -> int:
    return sum(column.width(stacked=stacked) for column in columns) + GAP * (len(columns) - 1)
