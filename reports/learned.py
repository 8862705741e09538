"""What a search by mixtures has learned, from its run folder: facts, words and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..records.results import Learned
from .markup import Markup, tag
from .story import Story
from .tables import table

Facts = Mapping[str, Any]


def learned_facts(story: Story) -> dict[str, Any] | None:
    """Return what was learned of candidates and of tested archs, None where nothing was recorded.

    Returns:
        `sentence warnings explained num_tied more_tied figures` as the run has them, `choices` (of
        each its `candidates effects errors` and what was `taken`, None before the end), `tested`
        (`scores` of the archs that were tested and their `losses`, means over supernets) and
        `found_score`, None where it is not known.
    """
    learned = story.learned
    if learned is None:
        return None
    return {
        **{key: learned[key] for key in _COPIED},
        "choices": _choices(story, learned),
        "tested": _tested(story, learned),
        "found_score": learned.found_score,
    }


_COPIED = ("sentence", "warnings", "explained", "num_tied", "more_tied", "figures")


def _choices(story: Story, learned: Learned) -> dict[str, dict[str, Any]]:
    """Return the effects of candidates with the names of these."""
    choices = {} if story.space is None else story.space.choices()
    taken = {} if story.arch is None else story.arch.choices
    result = {}
    for name, row in learned.choices.items():
        labels = [f"candidate {number + 1}" for number in range(len(row.effects))]
        if name in choices:
            labels = [str(candidate) for candidate in choices[name].candidates]
        result[name] = {
            "candidates": labels,
            "effects": row.effects,
            "errors": row.errors,
            "taken": str(taken[name]) if name in taken else None,
        }
    return result


def _tested(story: Story, learned: Learned) -> dict[str, list[float]]:
    """Return scores and losses of the tested archs, those left out whose loss was not finite."""
    losses: dict[int, list[float]] = {}
    for event in story.events:
        if "tested" in event:
            loss = event.get("inherited_loss")
            losses.setdefault(event["tested"], []).append(math.nan if loss is None else float(loss))
    scores, means = [], []
    for score, number in zip(learned.tested_scores, sorted(losses), strict=False):
        mean = sum(losses[number]) / len(losses[number])
        if math.isfinite(mean):
            scores.append(score)
            means.append(mean)
    return {"scores": scores, "losses": means}


def sources(learned: Facts) -> Markup:
    """Return the table of what the score was learned from."""
    numbers = {figures["name"].rpartition(" ")[2] for figures in learned["figures"]}
    is_one = len(numbers - {"untrained"}) < 2
    rows = [
        (
            "",
            [
                _in_words(figures["name"], is_one),
                f"{figures['number']:,}",
                f"{figures['weight']:.2f}",
                f"{100 * figures['explained']:.0f} %",
            ],
        )
        for figures in learned["figures"]
    ]
    words = (
        "Weight: the share of each in the score; the better it tells the losses of networks with "
        "the supernet's weights that it has not seen, the more it counts. Explained: how much of "
        "the differences between figures the candidates tell that were learned from the other "
        "figures alone."
    )
    heads = ["learned from", "number", "weight", "explained"]
    return tag("div", table(heads, rows, 1), tag("p", words, class_="soft"))


_KINDS = {
    "training": "losses of the updates, under random mixtures of the candidates",
    "inherited": "losses of random networks with the weights of the supernet",
    "untrained": "how well random untrained networks tell images apart (naswot)",
}


def _in_words(name: str, is_one: bool) -> str:
    """Say in words what kind of figure this is."""
    kind, _, number = name.partition(" ")
    words = _KINDS.get(kind, name)
    return words if is_one or not number.isdecimal() else f"{words}, supernet {int(number) + 1}"


def names_that_matter(rows: Sequence[tuple[str, float, float]]) -> list[str]:
    """Return the names of up to three rows, (name, spread, error), that stand out most.

    Example:
        >>> names_that_matter([("width", 0.4, 0.1), ("kernel", 0.9, 0.2), ("depth", 0.3, 0.3)])
        ['kernel', 'width']
    """
    known = [(spread, name) for name, spread, error in rows if spread > 2 * error]
    return [name for _, name in sorted(known, key=lambda row: -row[0])[:3]]
