"""Frames, scales and texts of pictures: SVG whose colours are those of the page, light or dark.

They are drawn here and not by matplotlib, whose SVG has fixed colours and ids that clash in one
page: these follow the page's theme, are a tenth of the size, and need no package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .markup import Markup, tag

# Every picture is 360 units wide: the texts keep their size on a phone.
WIDTH = 360
_LEFT, _RIGHT, _TOP = 46, 10, 8
_BOTTOM = 34


def short(value: float) -> str:
    """Return a number in about six characters.

    Example:
        >>> short(354_200_000), short(0.25), short(12_345), short(0), short(1280)
        ('354.2M', '0.25', '12.35K', '0', '1280')
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "K")):
        if abs(value) >= unit:
            return f"{value / (1e3 if name == 'K' else unit):.4g}{name}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


@dataclass(frozen=True, kw_only=True)
class Axes:
    """The frame of a picture: what it shows and between which bounds.

    Attributes:
        title: for people who cannot see it.
        x_name: below the axis.
        y_name: above the axis.
        x: smallest and largest value.
        y: smallest and largest value.
        height: of the picture.
        levels: dashed horizontal lines, (value, name).
        columns: dashed vertical lines, (value, name).
        shaded: a range of x that is set apart, and what it is.
    """

    title: str
    x_name: str
    y_name: str
    x: tuple[float, float]
    y: tuple[float, float]
    height: int = 220
    levels: Sequence[tuple[float, str]] = ()
    columns: Sequence[tuple[float, str]] = ()
    shaded: tuple[float, float, str] | None = None

    def at_x(self, value: float) -> float:
        """Return the abscissa in the picture."""
        low, high = self.x
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    def at_y(self, value: float) -> float:
        """Return the ordinate in the picture, which counts from its top."""
        low, high = self.y
        span = self.height - _TOP - 14 - _BOTTOM
        return self.height - _BOTTOM - (value - low) / (high - low) * span

    def draw(self, content: Sequence[Markup], legend: Sequence[tuple[str, str]]) -> Markup:
        """Return the whole picture.

        Args:
            content: what stands within the frame.
            legend: names and CSS classes of what is drawn.
        """
        rows = _legend(legend, self.height + 4)
        height = self.height + (14 * (1 + rows[1]) if legend else 0)
        return picture(self.title, height, [*self._frame(), *content, *rows[0]])

    def _frame(self) -> list[Markup]:
        bottom, right = self.height - _BOTTOM, WIDTH - _RIGHT
        parts = []
        if self.shaded is not None:
            start, end = self.at_x(self.shaded[0]), self.at_x(self.shaded[1])
            top = _TOP + 14
            parts.append(box("shade", start, top, end - start, bottom - top))
            parts.append(text(self.shaded[2], start + 3, top + 10, "small"))
        for value in ticks(*self.y):
            y = self.at_y(value)
            parts.append(stroke("grid", _LEFT, y, right, y))
            parts.append(text(short(value), _LEFT - 5, y + 3.5, "tick end"))
        for value in ticks(*self.x):
            x = self.at_x(value)
            parts.append(stroke("grid", x, bottom, x, bottom + 4))
            parts.append(text(short(value), x, bottom + 14, "tick middle"))
        for value, name in self.levels:
            y = self.at_y(value)
            parts.append(stroke("level", _LEFT, y, right, y))
            parts.append(text(name, right - 2, y - 3, "small end"))
        for value, name in self.columns:
            x = self.at_x(value)
            parts.append(stroke("level", x, _TOP + 14, x, bottom))
            parts.append(text(name, x - 3, _TOP + 24, "small end"))
        parts.append(stroke("axis", _LEFT, bottom, right, bottom))
        parts.append(text(self.y_name, 0, _TOP + 4, "small"))
        parts.append(text(self.x_name, right, self.height - 5, "small end"))
        return parts


def picture(title: str, height: float, content: Sequence[Markup]) -> Markup:
    """Return one SVG of the common width."""
    view = f"0 0 {WIDTH} {math.ceil(height)}"
    return tag("svg", tag("title", title), *content, viewBox=view, role="img", aria_label=title)


def text(words: str, x: float, y: float, style: str) -> Markup:
    """Return a text that begins at x, unless its style says `middle` or `end`."""
    return tag("text", words, x=float(x), y=float(y), class_=style)


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return about `count` round numbers within bounds.

    Example:
        >>> ticks(0, 450), ticks(0.28, 0.5)
        ([0.0, 100.0, 200.0, 300.0, 400.0], [0.3, 0.35, 0.4, 0.45, 0.5])
    """
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(math.log(s / raw)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def bounds(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    """Return bounds around the finite values, never of length zero.

    Example:
        >>> bounds([1.0, 2.0, math.nan], margin=0.5), bounds([3.0]), bounds([])
        ((0.5, 2.5), (2.85, 3.15), (0.0, 1.0))
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = 0.05 * abs(low) or 0.5
        return low - pad, high + pad
    pad = margin * (high - low)
    return low - pad, high + pad


def _legend(entries: Sequence[tuple[str, str]], y: float) -> tuple[list[Markup], int]:
    """Return swatches with names, and how often they went to the next line."""
    parts, x, line = [], float(_LEFT), 0
    for name, style in entries:
        width = 20 + 6.6 * len(name)
        if x + width > WIDTH and x > _LEFT:
            x, line = float(_LEFT), line + 1
        middle = y + 14 * line
        parts.append(tag("circle", cx=x + 4, cy=middle, r=4.0, class_=f"dot {style}"))
        parts.append(text(name, x + 12, middle + 3.5, "small"))
        x += width
    return parts, line


def stroke(style: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """Return a straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=style)


def box(style: str, x: float, y: float, width: float, height: float) -> Markup:
    """Return a rectangle."""
    return tag(
        "rect", x=float(x), y=float(y), width=float(width), height=float(height), class_=style
    )
