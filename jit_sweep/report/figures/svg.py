"""A drawing in SVG.

Its colours are presentation attributes, which hold on paper; a page's style sheet outranks them by class, and so gives the
same bytes other colours in the dark.
"""

from dataclasses import dataclass, field
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07D00", "#56B4E9", "#7A5195", "#555555")
"""Told apart by colour-blind people (after Okabe and Ito, 2008), each with at least 3:1 against white but the sixth."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")
INK, FAINT, GRID, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
FONT_PX = 12
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
LETTER_PX = 6.6
"""Mean width of a letter at `FONT_PX`."""

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Figure:
    """A finished figure."""

    name: str
    """Of its file, without suffix."""
    title: str
    alt: str
    """What it shows, for those who cannot see it."""
    svg: str


@dataclass
class Drawing:
    """Shapes on a sheet of `width` x `height` px, from the top left."""

    width: float
    height: float
    _parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, *, of: str = "grid", colour: str = GRID, px: float = 1) -> None:
        """A straight line; `of`: its class."""
        self._add("line", of, x1=x1, y1=y1, x2=x2, y2=y2, stroke=colour, stroke_width=px)

    def path(self, points: list[tuple[float, float]], *, series: int, px: float = 2, data: str = "") -> None:
        """A line through points in the colour and dashes of a series."""
        way = "M" + "L".join(f"{_px(x)},{_px(y)}" for x, y in points)
        dash = DASHES[series // len(COLOURS) % len(DASHES)]
        self._add(
            "path",
            _series(series),
            data,
            d=way,
            fill="none",
            stroke=colour_of(series),
            stroke_width=px,
            stroke_linejoin="round",
            **({"stroke_dasharray": dash} if dash else {}),
        )

    def band(self, points: list[tuple[float, float]], *, series: int, data: str = "") -> None:
        """A pale area within a closed line."""
        way = "M" + "L".join(f"{_px(x)},{_px(y)}" for x, y in points) + "Z"
        self._add("path", f"{_fill(series)} band", data, d=way, fill=colour_of(series), fill_opacity=0.15)

    def dot(self, x: float, y: float, *, series: int, radius: float = 3.5, hollow: bool = False, data: str = "") -> None:
        """A point; hollow ones are outlined."""
        if hollow:
            self._add(
                "circle",
                f"{_series(series)} hollow",
                data,
                cx=x,
                cy=y,
                r=radius,
                fill=PAPER,
                stroke=colour_of(series),
                stroke_width=2,
            )
        else:
            self._add("circle", _fill(series), data, cx=x, cy=y, r=radius, fill=colour_of(series))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        anchor: Anchor = "start",
        faint: bool = False,
        bold: bool = False,
        turned: bool = False,
    ) -> None:
        """Words whose base line begins, is centred, or ends at a place; `turned`: reading upwards."""
        attributes: dict[str, str | float] = {"x": x, "y": y, "fill": FAINT if faint else INK, "text_anchor": anchor}
        if bold:
            attributes["font_weight"] = "600"
        if turned:
            attributes["transform"] = f"rotate(-90 {_px(x)} {_px(y)})"
        self._parts.append(f"<text {_attributes('faint' if faint else 'ink', attributes)}>{escape(words)}</text>")

    def finished(self, name: str, *, title: str, alt: str) -> Figure:
        """The figure, which a screen reader reads as its title and `alt`."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" role="img" '
            f'viewBox="0 0 {_px(self.width)} {_px(self.height)}" width="{_px(self.width)}" height="{_px(self.height)}" '
            f'font-family="{FONT}" font-size="{FONT_PX}" '
            f"aria-labelledby={quoteattr(f'{name}-t {name}-d')}>"
        )
        told = (
            f"<title id={quoteattr(f'{name}-t')}>{escape(title)}</title><desc id={quoteattr(f'{name}-d')}>{escape(alt)}</desc>"
        )
        return Figure(name, title, alt, f"{head}{told}{''.join(self._parts)}</svg>")

    def _add(self, tag: str, of: str, data: str = "", **attributes: str | float) -> None:
        self._parts.append(f"<{tag} {_attributes(of, attributes, data)}/>")


def colour_of(series: int) -> str:
    """The colour of a series, for paper."""
    return COLOURS[series % len(COLOURS)]


def text_width(words: str) -> float:
    """About how wide words are, in px."""
    return len(words) * LETTER_PX


def _series(index: int) -> str:
    return f"line s{index % len(COLOURS)}"


def _fill(index: int) -> str:
    return f"fill s{index % len(COLOURS)}"


def _attributes(of: str, values: dict[str, str | float], data: str = "") -> str:
    shown = [f"class={quoteattr(of)}", *([f"data-arm={quoteattr(data)}"] if data else [])]
    for name, value in values.items():
        shown.append(f"{name.replace('_', '-')}={quoteattr(value if isinstance(value, str) else _px(value))}")
    return " ".join(shown)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
