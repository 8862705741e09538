"""On which classes the network fails: shares by class, a matrix, pairs, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.answers import Answers, Example
from ..core.pictures import Pictures
from .markup import Markup, join, tag
from .tables import table
from .wording import percent

Facts = Mapping[str, Any]
_WORST = 20  # shown at once where there are many classes
_PAIRS = 10


def classes_table(fact: Facts) -> Markup | None:
    """Return how good the network is on each class, the worst first; the rest can be unfolded."""
    told = fact["by_class"]
    if told is None:
        return None
    rows = [("", _cells(row)) for row in told["classes"]]
    heads = ["class", "right", "", "images", "precision", "most often taken for"]
    first = rows if len(rows) <= 30 else rows[:_WORST]
    words = (
        "Right: share of the test images of a class that the network gave this class (recall). "
        "Precision: share of those that it gave this class which are of it."
    )
    parts = [table(heads, first, 1), tag("p", words, class_="soft")]
    if len(rows) > len(first):
        title = tag("summary", f"All {len(rows)} classes (above: the {len(first)} weakest)")
        parts.append(tag("details", title, table(heads, rows, 1)))
    return join(parts)


def _cells(row: Mapping[str, Any]) -> list[Any]:
    share = row["top1_percent"]
    bar = None
    if share is not None:
        filled = tag("rect", x=0.0, y=0.0, width=float(share), height=8.0, class_="right-share")
        empty = tag("rect", x=0.0, y=0.0, width=100.0, height=8.0, class_="no-share")
        bar = tag("svg", empty, filled, viewBox="0 0 100 8", class_="bar", aria_hidden="true")
    return [
        row["name"],
        percent(share),
        bar,
        f"{row['num_images']:,}",
        percent(row["precision_percent"]),
        row["most_taken_for"] or "",
    ]


def matrix(fact: Facts) -> Markup | None:
    """Return which class was taken for which as a table of colours; nothing beyond 30 classes."""
    told = (fact["by_class"] or {}).get("matrix")
    if told is None:
        return None
    names = told["classes"]
    heads = [tag("th", tag("span", name), scope="col") for name in names]
    head = tag("tr", tag("th", "true class", class_="corner"), *heads)
    body = []
    for number, row in enumerate(told["rows"]):
        total = sum(row)
        cells = [
            tag(
                "td",
                str(count) if count else "",
                class_=_heat(count, total, place == number),
                title=f"{names[number]}, taken for {names[place]}: {count} of {total}",
            )
            for place, count in enumerate(row)
        ]
        body.append(tag("tr", tag("th", names[number], scope="row"), *cells))
    shown = tag("table", tag("thead", head), tag("tbody", *body), class_="matrix")
    words = (
        "A row is a true class, a column what the network said: test images in each case. Green "
        "is right, red is wrong, the stronger the larger the share of the row."
    )
    return tag(
        "div", tag("div", shown, class_="scroll", tabindex="0"), tag("p", words, class_="soft")
    )


def _heat(count: int, total: int, is_right: bool) -> str | None:
    if not count:
        return None
    return f"{'g' if is_right else 'r'}{min(10, max(1, round(10 * count / total)))}"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def pairs(fact: Facts) -> Markup | None:
    """Return the pairs of classes that are confused most."""
    told = fact["by_class"]
    if told is None:
        return None
    items = [
        tag(
            "li",
            tag("b", pair["true"]),
            " taken for ",
            tag("b", pair["predicted"]),
            f": {_images(pair['num_images'])}, {percent(pair['percent'])} of the class",
        )
        for pair in told["confused"][:_PAIRS]
    ]
    return tag("ol", *items) if items else tag("p", "No test image was taken for another class.")


def examples(answers: Answers | None) -> Markup | None:
    """Return pictures of the test split with what the network took them for."""
    if answers is None:
        return None
    groups = (
        ("drawn", "Drawn evenly from the test images"),
        ("mistake", "The mistakes that the network is most sure of"),
    )
    parts = []
    for kind, title in groups:
        shown = [e for e in answers.examples if e.kind == kind]
        if shown:
            pictures = [_example(example, answers.classes) for example in shown]
            parts += [tag("h3", title), tag("div", *pictures, class_="examples")]
    return join(parts) if parts else None


def drawn(pictures: Pictures | None) -> Markup | None:
    """Return pictures that a task has drawn of test images."""
    if pictures is None or not pictures.files:
        return None
    shown = [
        tag(
            "img",
            src=f"data:image/png;base64,{base64.b64encode(file).decode()}",
            alt="a test image, what was wanted and what the network answered",
        )
        for file in pictures.files
    ]
    words = "Each: a test image, what was wanted, and what the network answered."
    return join([tag("div", *shown, class_="drawn"), tag("p", words, class_="soft")])


def _example(example: Example, names: Sequence[str]) -> Markup:
    true, said = names[example.true], names[example.predicted]
    sure = "" if example.probability is None else f" ({percent(100 * example.probability)})"
    is_right = example.true == example.predicted
    picture = tag(
        "img",
        src=f"data:image/{example.type};base64,{base64.b64encode(example.picture).decode()}",
        alt=f"a test image of the class {true}",
        class_="small" if example.type == "png" else None,
    )
    words = [tag("b", "right"), f": {said}{sure}"]
    if not is_right:
        words = [tag("b", "wrong"), f": {said}{sure}, is {true}"]
    caption = tag("figcaption", *words)
    return tag("figure", picture, caption, class_="good" if is_right else "bad")
