"""The probabilities of all choices over a search: one bar a choice, as wide as the page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .markup import Markup, join, tag
from .story import Story

_SNAPSHOTS = 60  # of a bar; more cannot be seen
_RAMP = 12  # colours from the smallest number to the largest


@dataclass(frozen=True, kw_only=True)
class Strip:
    """The probabilities of one choice over a search.

    Attributes:
        name: of the choice.
        candidates: their names.
        history: for each snapshot the probability of every candidate.
        chosen: what was taken, and how probable it is at the end; empty before the end.
    """

    name: str
    candidates: tuple[str, ...]
    history: Sequence[Sequence[float]]
    chosen: str


def probabilities(story: Story) -> Markup | None:
    """Return the bars of all choices, those of the same candidates under one key of colours."""
    history = story.history
    if not history:
        return None
    every = max(1, math.ceil((len(history) - 1) / (_SNAPSHOTS - 1)))
    kept = history[::every] if (len(history) - 1) % every == 0 else [*history[::every], history[-1]]
    groups: dict[tuple[str, ...], list[Strip]] = {}
    for strip in _strips(story, kept):
        groups.setdefault(strip.candidates, []).append(strip)
    last = max(event.get("step", 0) for event in story.snapshots) + 1
    axis = tag(
        "div",
        tag("span", "choice", class_="what"),
        tag("span", tag("span", "first update"), tag("span", f"update {last:,}"), class_="ends"),
        tag("span", "taken", class_="taken"),
        class_="strip soft",
    )
    shown = [part for names, strips in groups.items() for part in _group(names, strips)]
    return tag("div", axis, *shown, class_="choices")


def _group(names: Sequence[str], strips: Sequence[Strip]) -> list[Markup]:
    """Return the key of some candidates' colours, and the bars that are divided among them."""
    styles = _styles(names)
    keys = [
        tag("span", tag("span", class_=f"key {style}"), name, class_="together")
        for name, style in zip(names, styles, strict=True)
    ]
    key = tag("p", "Candidates:", *(join((" ", entry)) for entry in keys), class_="candidates")
    return [key] + [
        tag(
            "div",
            tag("span", strip.name, class_="what"),
            _filled(strip, styles),
            tag("span", strip.chosen, class_="taken"),
            class_="strip",
        )
        for strip in strips
    ]


def _styles(names: Sequence[str]) -> list[str]:
    """Return colours: a ramp from the smallest number to the largest, else distinct ones."""
    if not all(map(_is_number, names)):
        return [f"c{number % 8}" for number in range(len(names))]
    steps = max(len(names) - 1, 1)
    return [f"q{round(number * (_RAMP - 1) / steps)}" for number in range(len(names))]


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _filled(strip: Strip, styles: Sequence[str]) -> Markup:
    """Return one area a candidate, stacked from the top of a bar that is stretched to its place."""
    history = strip.history if len(strip.history) > 1 else [*strip.history] * 2
    xs = [100 * step / (len(history) - 1) for step in range(len(history))]
    upper, areas = [0.0] * len(xs), []
    for candidate, name in enumerate(strip.candidates):
        lower = [10 * min(sum(probs[: candidate + 1]), 1.0) for probs in history]
        edge = [*zip(xs, upper, strict=True), *reversed([*zip(xs, lower, strict=True)])]
        path = " ".join(f"{x:.4g},{y:.3g}" for x, y in edge)
        words = f"{name}: {history[0][candidate]:.2f} to {history[-1][candidate]:.2f}"
        areas.append(tag("polygon", tag("title", words), points=path, class_=styles[candidate]))
        upper = lower
    return tag(
        "svg",
        *areas,
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"Probabilities of {strip.name} over the search",
    )


def _strips(story: Story, history: Sequence[Mapping[str, Sequence[float]]]) -> list[Strip]:
    """Return one strip a choice; choices of channel groups are averaged into one."""
    groups: dict[str, list[str]] = {}
    for name in history[-1]:
        groups.setdefault(re.sub(r"\.\d+$", "", name), []).append(name)
    choices = {} if story.space is None else story.space.choices()
    taken = {} if story.arch is None else story.arch.choices
    strips = []
    for group, members in groups.items():
        candidates = {
            name: [str(c) for c in choices[name].candidates]
            if name in choices and len(choices[name].candidates) == len(history[-1][name])
            else [f"candidate {n + 1}" for n in range(len(history[-1][name]))]
            for name in members
        }
        labels = list(dict.fromkeys(label for name in members for label in candidates[name]))
        if all(map(_is_number, labels)):
            labels.sort(key=float)
        means = [_mean_probs(probs, candidates, labels) for probs in history]
        strips.append(
            Strip(
                name=group if len(members) == 1 else f"{group} (mean of {len(members)})",
                candidates=tuple(labels),
                history=means,
                chosen=_taken(taken, members, labels, means[-1]),
            )
        )
    return strips


def _taken(
    taken: Mapping[str, Any], members: Sequence[str], labels: Sequence[str], last: Sequence[float]
) -> str:
    """Return what was taken, and how probable it was at the end where that is one candidate."""
    values = list(dict.fromkeys(str(taken[name]) for name in members if name in taken))
    if len(values) == 1 and values[0] in labels:
        return f"{values[0]} ({100 * last[labels.index(values[0])]:.0f} %)"
    return ", ".join(values)


def _mean_probs(
    probs: Mapping[str, Sequence[float]],
    candidates: Mapping[str, Sequence[str]],
    labels: Sequence[str],
) -> list[float]:
    """Return the mean over the choices of a group of the probability of each candidate."""
    sums = dict.fromkeys(labels, 0.0)
    for name, known in candidates.items():
        for label, value in zip(known, probs[name], strict=True):
            sums[label] += value / len(candidates)
    return list(sums.values())
