"""What each candidate adds to the score of a network: one row a choice, as wide as the page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .learned import names_that_matter
from .markup import Markup, join, tag

_SHOWN = 24  # choices; the others are folded away
_LARGEST = 1e300  # that is drawn to scale


@dataclass(frozen=True, kw_only=True)
class Row:
    """The candidates of one choice, or of a group of choices.

    Attributes:
        name: of the choice.
        candidates: their names.
        effects: on the score of a network.
        errors: standard errors of the effects.
        taken: the candidates that were taken, none before the end.
    """

    name: str
    candidates: Sequence[str]
    effects: Sequence[float]
    errors: Sequence[float]
    taken: Sequence[str]

    @property
    def spread(self) -> float:
        """How far the best candidate is above the worst."""
        return max(self.effects, default=0.0) - min(self.effects, default=0.0)

    @property
    def error(self) -> float:
        """The standard error of the spread, as large as it can be."""
        return math.sqrt(2) * max(self.errors, default=0.0)


def candidate_effects(choices: Mapping[str, Mapping[str, Any]]) -> Markup | None:
    """Return the rows of all choices on one scale, those that matter most if there are many.

    Args:
        choices: for each `candidates effects errors taken`, see `nastk.reports.learned`.
    """
    rows = _rows(choices)
    if not any(row.candidates for row in rows):
        return None
    pairs = [pair for row in rows for pair in zip(row.effects, row.errors, strict=True)]
    most = max(abs(effect) + error for effect, error in pairs)
    most = min(most, _LARGEST) or 1.0
    largest = sorted(rows, key=lambda row: -row.spread)[:_SHOWN]
    shown = [row for row in rows if row in largest]
    rest = [row for row in rows if row not in largest]
    axis = tag(
        "div",
        tag("span", "choice", class_="what"),
        tag(
            "span",
            tag("span", f"lowers the score: {-most:+.2g}"),
            tag("span", f"raises it: {most:+.2g}"),
            class_="ends",
        ),
        tag("span", "taken", class_="taken"),
        class_="strip soft",
    )
    parts = [tag("p", _what_matters(rows)), axis, *(_drawn(row, most) for row in shown)]
    if rest:
        words = f"The other {len(rest)} choices, whose candidates differ less"
        parts.append(tag("details", tag("summary", words), *(_drawn(row, most) for row in rest)))
    return tag("div", *parts, class_="choices")


def _what_matters(rows: Sequence[Row]) -> str:
    """Say which choices matter most, and which candidates are best there."""
    names = names_that_matter([(row.name, row.spread, row.error) for row in rows])
    if not names:
        return "No choice stands out: the candidates of each differ by less than twice the error."
    by_name = {row.name: row for row in rows}
    told = [
        f"{name} (best {_at(by_name[name], max)}, worst {_at(by_name[name], min)})"
        for name in names
    ]
    return f"What matters most, beyond its error: {', '.join(told)}."


def _at(row: Row, which: Any) -> str:
    return row.candidates[row.effects.index(which(row.effects))]


def _drawn(row: Row, most: float) -> Markup:
    """Return one choice: its name, a line for each candidate, and what was taken."""
    candidates = zip(row.candidates, row.effects, row.errors, strict=True)
    lines = [_line(row, *candidate, most) for candidate in candidates]
    return tag(
        "div",
        tag("span", row.name, class_="what"),
        tag("div", *lines, class_="lanes"),
        tag("span", ", ".join(row.taken), class_="taken"),
        class_="strip",
    )


def _line(row: Row, name: str, effect: float, error: float, most: float) -> Markup:
    """Return a candidate: its error bar, a dot at its effect, and its name beside it."""
    is_taken = name in row.taken
    words = f"{row.name}, {name}: {effect:+.2g} ± {error:.2g}" + (", taken" if is_taken else "")
    left, middle, right = (_place(v, most) for v in (effect - error, effect, effect + error))
    is_inside = right < 80
    style = "taken" if is_taken else None
    label = tag(
        "text",
        name,
        x=f"{right if is_inside else left:.2f}%",
        y="50%",
        dx=9 if is_inside else -9,
        dy=3.5,
        class_=" ".join(filter(None, (style, "start" if is_inside else "end"))),
    )
    return tag(
        "svg",
        tag("title", words),
        tag("line", x1="50%", y1="0%", x2="50%", y2="100%", class_="axis"),
        tag("line", x1=f"{left:.2f}%", y1="50%", x2=f"{right:.2f}%", y2="50%", class_="whisker"),
        tag("circle", cx=f"{middle:.2f}%", cy="50%", r=5.0 if is_taken else 3.5, class_=style),
        label,
        role="img",
        aria_label=words,
    )


def _place(value: float, most: float) -> float:
    """Return where an effect stands, in percent of the width."""
    return 50 + 47 * min(max(value / most, -1.0), 1.0)


def _rows(choices: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return one row a choice; choices of channel groups are averaged into one.

    The error of such a mean is the mean of the errors, which is the most that it can be.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for name, choice in choices.items():
        groups.setdefault(re.sub(r"\.\d+$", "", name), []).append(choice)
    rows = []
    for group, members in groups.items():
        labels = list(dict.fromkeys(name for member in members for name in member["candidates"]))
        known = [
            {
                name: (float(effect), float(error))
                for name, effect, error in zip(
                    member["candidates"], member["effects"], member["errors"], strict=True
                )
            }
            for member in members
        ]
        pairs = [[one[label] for one in known if label in one] for label in labels]
        taken = dict.fromkeys(m["taken"] for m in members if m["taken"] is not None)
        rows.append(
            Row(
                name=group if len(members) == 1 else f"{group} (mean of {len(members)})",
                candidates=labels,
                effects=[sum(effect for effect, _ in pair) / len(pair) for pair in pairs],
                errors=[sum(error for _, error in pair) / len(pair) for pair in pairs],
                taken=list(taken),
            )
        )
    return rows


def explanation() -> Markup:
    """Return how to read the rows."""
    words = (
        "A row is one choice of the space, and a dot is one of its candidates: the further to the "
        "right, the more it raises the score by which networks are ranked. The line in the middle "
        "is no effect at all, and 1 is about as much as random networks differ by in one of the "
        "figures above. The bar is the error: candidates whose bars overlap could not be told "
        "apart. The large dot was taken. It need not be the best one: the network as a whole has "
        "the highest score that its budget allows, so that what costs much has to give way. The "
        "candidates of a block that is left out count for nothing."
    )
    return join([tag("p", words, class_="soft")])
