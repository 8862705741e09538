"""The pictures of one run: how its search went, and where what it found stands."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.best import FREE
from ..core.manifest import Limit
from ..tasks.named import family_of
from ..training.task import Metric
from .arch_picture import blocks_of, draw_arch
from .axes import Axes, bounds, short
from .charts import Line, Mark, line_chart, scatter_chart
from .markup import Markup
from .story import Story
from .wording import named, with_unit

# A curve of more points than this is no finer on a screen.
_POINTS = 240

Points = list[tuple[float, float]]


def arch_picture(story: Story) -> Markup | None:
    """Return the drawn arch, None before the end of the search."""
    if story.space is None or story.arch is None:
        return None
    return draw_arch(blocks_of(story.space, story.arch), f"Blocks of arch {story.arch.id}")


def loss_curve(story: Story) -> Markup | None:
    """Return the training loss of the supernet or of each, None for a black-box search."""
    curves = _losses_of_supernets(story)
    points = [point for curve in curves for point in curve]
    if len(points) < 2:
        return None
    smooth = [_thinned(_smoothed(curve)) for curve in curves]
    last = max(x for x, _ in points)
    levels = _guessing(story)
    if len(curves) > 1:
        points = [point for curve in smooth for point in curve]
    axes = Axes(
        title="Training loss of the supernet" if len(curves) == 1 else "Training loss by supernet",
        x_name="update",
        y_name="training loss, nats",
        x=(0, last or 1),
        y=bounds([*(y for _, y in points), *(level for level, _ in levels)]),
        levels=levels,
        shaded=_warmup(story, last),
    )
    if len(curves) > 1:
        names = [f"supernet {number + 1}" for number in range(len(curves))]
        lines = [
            Line(name=name, points=curve, style=f"c{number % 8}")
            for number, (name, curve) in enumerate(zip(names, smooth, strict=True))
        ]
        return line_chart(axes, lines)
    raw = Line(name="every update", points=_thinned(points), style="faint")
    return line_chart(axes, [raw, Line(name="running mean", points=smooth[0], style="one")])


def _losses_of_supernets(story: Story) -> list[Points]:
    """Return for each supernet its losses by the number of its update."""
    curves: dict[int, Points] = {}
    for event in story.updates:
        curve = curves.setdefault(event.get("supernet", 0), [])
        x = event["step"] if "supernet" not in event else len(curve)
        curve.append((float(x + 1), float(event["loss"])))
    return [curves[number] for number in sorted(curves)]


def _guessing(story: Story) -> list[tuple[float, str]]:
    """Return the loss of one who knows nothing, where mixtures are trained and it is known."""
    options = story.manifest.proxy or {}
    loss = family_of(story.manifest.data).loss_of_guessing(options)
    if loss is None or "supernet" not in (story.updates or [{}])[-1]:
        return []
    return [(loss, f"guessing {loss:.2f}")]


def predicted(tested: Mapping[str, Sequence[float]], found: float | None) -> Markup | None:
    """Return the losses of archs with the supernet's weights against their scores.

    Args:
        tested: `scores` and `losses` of these archs.
        found: score of the arch that was taken, None where there is none.
    """
    pairs = zip(tested["scores"], tested["losses"], strict=True)
    points = [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]
    if len(points) < 2:
        return None
    columns = [] if found is None or not math.isfinite(found) else [(found, "found")]
    axes = Axes(
        title="Loss with the supernet's weights against the score",
        x_name="score, higher is better",
        y_name="loss with the supernet's weights, nats",
        x=bounds([*(x for x, _ in points), *(x for x, _ in columns)]),
        y=bounds([y for _, y in points]),
        columns=columns,
    )
    marks = [
        Mark(kind="random", label=f"score {x:+.2f}, loss {y:.3f} nats", x=x, y=y) for x, y in points
    ]
    return scatter_chart(axes, marks, [])


def _flops_limit(story: Story) -> Limit | None:
    """Return the bounds of FLOPs, None where these are free."""
    limits = story.manifest.limits or ()
    return next((limit for limit in limits if limit.metric == "flops"), None)


def expected_flops(story: Story) -> Markup | None:
    """Return the expected FLOPs over the search, beside the budget."""
    points, budget = _points(story, "expected_flops"), _flops_limit(story)
    if len(points) < 2 or budget is None:
        return None
    levels = [(float(budget.high), f"budget {short(budget.high)}")]
    if budget.low is not None:
        levels.append((float(budget.low), f"at least {short(budget.low)}"))
    axes = Axes(
        title="Expected FLOPs against the budget",
        x_name="step",
        y_name="expected FLOPs of the target",
        x=(0, points[-1][0] or 1),
        y=bounds([*(y for _, y in points), *(level for level, _ in levels)]),
        levels=levels,
    )
    return line_chart(axes, [Line(name="", points=_thinned(points), style="one")])


def entropy(story: Story) -> Markup | None:
    """Return how open the choices are over the search, as a share of the maximum."""
    points = _points(story, "entropy")
    if len(points) < 2:
        return None
    axes = Axes(
        title="Mean entropy of the choices",
        x_name="step",
        y_name="entropy, share of its maximum",
        x=(0, points[-1][0] or 1),
        y=(0, 1.03),
    )
    return line_chart(axes, [Line(name="", points=_thinned(points), style="one")])


def learning_curve(story: Story) -> Markup | None:
    """Return the losses of the network's training, None where none were recorded."""
    curve = story.curve
    if curve is None:
        return None
    trained = [(float(x), y) for x, y in zip(curve.steps, curve.train_loss_nats, strict=True)]
    held = zip(curve.held_out_steps, curve.held_out.get("loss_nats", ()), strict=False)
    lines = [Line(name="training batches", points=trained, style="one")]
    if held_out := [(float(x), y) for x, y in held]:
        lines.append(Line(name="images held out", points=held_out, style="two"))
    tested = (story.files.get("retrain", {}).get("metrics") or {}).get("test_loss_nats")
    if isinstance(tested, int | float) and math.isfinite(tested):
        end = [(float(curve.total), float(tested))]
        lines.append(Line(name=f"test loss at the end: {tested:.3f}", points=end, style="found"))
    values = [y for line in lines for _, y in line.points]
    if not any(map(math.isfinite, values)):
        return None
    axes = Axes(
        title="Losses over the training of the network",
        x_name="update",
        y_name="loss, nats",
        x=(0, curve.total),
        y=bounds(values),
    )
    return line_chart(axes, lines)


def trial_curve(story: Story) -> Markup | None:
    """Return the losses of the evaluated archs and the best so far, None without trials."""
    trials = story.full_trials
    points = [(float(n + 1), _loss(trial)) for n, trial in enumerate(trials)]
    finite = [y for _, y in points if math.isfinite(y)]
    if not finite:
        return None
    best, lowest = [], math.inf
    for x, y in points:
        lowest = min(lowest, y) if math.isfinite(y) else lowest
        best.append((x, lowest))
    axes = Axes(
        title="Losses of the evaluated archs",
        x_name="evaluation",
        y_name="loss that is minimised",
        x=(0.5, len(points) + 0.5),
        y=bounds(finite),
    )
    single = [Line(name="", points=[point], style="trial") for point in points]
    return line_chart(axes, [*single, Line(name="best so far", points=best, style="two")])


def pareto(
    rows: Sequence[Mapping[str, Any]], budget: Sequence[float] | None, metric: Metric
) -> tuple[Markup | None, list[str]]:
    """Return a metric against FLOPs of all networks of a comparison, the front as a line.

    Published networks that are far above all others are drawn at the upper edge where less is
    better.

    Returns:
        The picture, and what lies outside of its frame.
    """
    key = metric.name
    shown = [row for row in rows if math.isfinite(row[key])]
    if not shown:
        return None, []
    own = [row for row in shown if row["kind"] != "reference" or metric.maximises] or shown
    spreads = {row["name"]: row.get(metric.spread) or 0.0 for row in shown}
    y = bounds([row[key] + sign * spreads[row["name"]] for row in own for sign in (-1, 1)])
    if (worst := max(row[key] + spreads[row["name"]] for row in shown)) < 2 * y[1] - y[0]:
        y = (y[0], max(y[1], worst))
    marks = [
        Mark(
            kind=row["kind"],
            label=f"{row['name']}: {with_unit(metric, row[key])}, {row['flops']:,} FLOPs",
            x=float(row["flops"]),
            y=min(row[key], y[1]),
            spread=spreads[row["name"]] if row[key] <= y[1] else 0.0,
        )
        for row in sorted(shown, key=lambda row: row["kind"] in ("found", *FREE))
    ]
    outside = [f"{row['name']} ({row[key]:.2f})" for row in shown if row[key] > y[1]]
    columns = [] if not budget else [(float(budget[1]), "budget")]
    axes = Axes(
        title=f"{metric.title.capitalize()} against FLOPs",
        x_name="FLOPs of the target",
        y_name=f"{named(metric)} (bars: spread over seeds)",
        x=bounds([*(mark.x for mark in marks), *(value for value, _ in columns)], 0.1),
        y=y,
        height=260,
        columns=columns,
    )
    inside = [mark for mark in marks if mark.y < y[1]]
    return scatter_chart(axes, marks, _front(inside, metric)), outside


def _front(marks: Sequence[Mark], metric: Metric) -> Points:
    """Return the networks than which none has both fewer FLOPs and a better value."""
    front: Points = []
    for mark in sorted(marks, key=lambda mark: (mark.x, metric.cost(mark.y))):
        if not front or metric.cost(mark.y) < metric.cost(front[-1][1]):
            front.append((mark.x, mark.y))
    return front


def _loss(trial: Mapping[str, Any]) -> float:
    value = trial.get("loss")
    return math.nan if value is None else float(value)


def _points(story: Story, key: str) -> Points:
    return [(float(e["step"] + 1), float(e[key])) for e in story.updates if e.get(key) is not None]


def _warmup(story: Story, last: float) -> tuple[float, float, str] | None:
    """Return the steps in which the probabilities of all choices rested."""
    history = story.snapshots
    if not history:
        return None
    still = [event["step"] for event in history if event["probs"] == history[0]["probs"]]
    end = min(float(max(still) + 1), last)
    return (0.0, end, "warm-up") if len(still) > 1 else None


def _smoothed(points: Points) -> Points:
    """Return the running mean over the steps before, up to a twentieth of all."""
    width = max(1, len(points) // 20)
    result, total, window = [], 0.0, []
    for x, y in points:
        if not math.isfinite(y):
            continue
        window.append(y)
        total += y
        if len(window) > width:
            total -= window.pop(0)
        result.append((x, total / len(window)))
    return result


def _thinned(points: Points) -> Points:
    every = math.ceil(len(points) / _POINTS)
    return [*points[:-1:every], points[-1]] if points else []
