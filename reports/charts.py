"""Curves, and points with error bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .axes import Axes, stroke
from .markup import Markup, tag


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve.

    Attributes:
        name: in the legend, none if empty.
        points: (x, y); those that are not finite leave a gap.
        style: CSS class of the stroke.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point of a scatter picture.

    Attributes:
        kind: its CSS class and, once, its entry in the legend.
        label: shown when the pointer rests on it.
        x: abscissa.
        y: ordinate.
        spread: half the length of its error bar.
    """

    kind: str
    label: str
    x: float
    y: float
    spread: float = 0.0


def line_chart(axes: Axes, lines: Sequence[Line]) -> Markup:
    """Return curves over a common axis."""
    content = []
    for line in lines:
        for run in _finite_runs(line.points):
            if len(run) == 1:
                x, y = axes.at_x(run[0][0]), axes.at_y(run[0][1])
                content.append(tag("circle", cx=x, cy=y, r=2.5, class_=f"dot {line.style}"))
                continue
            path = " ".join(f"{axes.at_x(x):.1f},{axes.at_y(y):.1f}" for x, y in run)
            content.append(tag("polyline", points=path, class_=f"line {line.style}"))
    return axes.draw(content, [(line.name, line.style) for line in lines if line.name])


def scatter_chart(
    axes: Axes, marks: Sequence[Mark], front: Sequence[tuple[float, float]]
) -> Markup:
    """Return points with error bars, and the line through the best of them."""
    content = []
    if len(front) > 1:
        steps = [f"{axes.at_x(front[0][0]):.1f},{axes.at_y(front[0][1]):.1f}"]
        for (_, before), (x, y) in pairwise(front):
            steps.append(f"{axes.at_x(x):.1f},{axes.at_y(before):.1f}")
            steps.append(f"{axes.at_x(x):.1f},{axes.at_y(y):.1f}")
        content.append(tag("polyline", points=" ".join(steps), class_="line front"))
    for mark in marks:
        x, y = axes.at_x(mark.x), axes.at_y(mark.y)
        if mark.spread:
            top, bottom = axes.at_y(mark.y + mark.spread), axes.at_y(mark.y - mark.spread)
            content.append(stroke(f"bar {mark.kind}", x, top, x, bottom))
        title = tag("title", mark.label)
        content.append(tag("circle", title, cx=x, cy=y, r=4.5, class_=f"dot {mark.kind}"))
    kinds = dict.fromkeys(mark.kind for mark in marks)
    return axes.draw(content, [(kind, kind) for kind in kinds])


def _finite_runs(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Return the stretches of a curve between its gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y):
            runs[-1].append((x, y))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
