"""The front of a search on a report's page: a table, and scores against FLOPs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .axes import Axes, bounds
from .charts import Mark, scatter_chart
from .markup import Markup, tag
from .tables import table


def front_table(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the best archs of several budgets."""
    heads = ["budget", "arch", "FLOPs", "params", "score"]
    cells = [
        (
            "",
            [
                row["budget"],
                tag("code", row["arch_id"]),
                f"{row['flops']:,}",
                f"{row['params']:,}",
                f"{row['score']:+.2f}",
            ],
        )
        for row in rows
    ]
    return table(heads, cells, 2)


def front_chart(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Return the scores of the best archs of several budgets against their FLOPs.

    Args:
        rows: `budget flops score` of each.
    """
    shown = sorted(
        (row for row in rows if math.isfinite(row["score"])), key=lambda row: float(row["flops"])
    )
    if len(shown) < 2:
        return None
    points = [(float(row["flops"]), row["score"]) for row in shown]
    marks = [
        Mark(kind="front", label=f"{row['budget']}: score {y:+.2f}, {x:,.0f} FLOPs", x=x, y=y)
        for row, (x, y) in zip(shown, points, strict=True)
    ]
    axes = Axes(
        title="Score against FLOPs",
        x_name="FLOPs of the target",
        y_name="score, higher is better",
        x=bounds([x for x, _ in points], 0.1),
        y=bounds([y for _, y in points]),
    )
    return scatter_chart(axes, marks, points)
