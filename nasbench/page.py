"""The page of a report: one HTML file that needs nothing outside of it, for one run or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from . import figures
from .markup import Markup, join, tag
from .story import Story
from .tables import comparison, cost, figures_of_run, overview, ranking, reproduce

Facts = Mapping[str, Any]


def page(stories: Sequence[Story], facts: Sequence[Facts]) -> str:
    """Return the HTML of a report.

    Args:
        stories: the runs.
        facts: of each run, see `nastk.nasbench.report.document`.
    """
    names = _names(stories)
    title = f"nastk report: {', '.join(names)}"
    body = [tag("h1", title if len(stories) == 1 else f"nastk report: {len(stories)} runs")]
    if len(stories) > 1:
        body.append(overview(names, facts))
    body += _section("In short", names, facts, _verdict)
    found = [
        beside(figures_of_run(fact), _arch_figure(story))
        for story, fact in zip(stories, facts, strict=True)
    ]
    body += _columns("What was found", names, found)
    body += _search_pictures(names, stories)
    body += _section("Compared with its neighbours", names, facts, _neighbours)
    body += _section("What ranks archs", names, facts, ranking)
    body += _section("Cost", names, facts, cost)
    body += _section("How to make it again", names, facts, reproduce)
    return _document(title, body)


def _document(title: str, body: Sequence[Markup]) -> str:
    style = files(__package__).joinpath("page.css")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style.read_text())),
    )
    return (
        "<!DOCTYPE html>\n" + tag("html", head, tag("body", tag("main", *body)), lang="en") + "\n"
    )


def _names(stories: Sequence[Story]) -> list[str]:
    """Return the names of the folders, or their whole paths where two are alike."""
    names = [story.path.resolve().name for story in stories]
    return names if len(set(names)) == len(names) else [str(story.path) for story in stories]


def _section(
    heading: str, names: Sequence[str], facts: Sequence[Facts], part: Callable[[Facts], Any]
) -> list[Markup]:
    """Return a section with one column a run, nothing where no run has that part."""
    parts = [part(fact) for fact in facts]
    return _columns(heading, names, parts)


def _columns(heading: str, names: Sequence[str], parts: Sequence[Any]) -> list[Markup]:
    if not any(parts):
        return []
    if len(names) == 1:
        return [tag("h2", heading), parts[0]]
    cells = [
        tag("div", tag("h3", name), part or tag("p", "Nothing here.", class_="soft"))
        for name, part in zip(names, parts, strict=True)
    ]
    return [tag("h2", heading), tag("div", *cells, class_="grid")]


def beside(*parts: Markup | None) -> Markup | None:
    """Put parts side by side as far as the screen is wide."""
    known = [tag("div", part) for part in parts if part is not None]
    return tag("div", *known, class_="beside") if known else None


def _figure(picture: Markup | None, *words: Any) -> Markup | None:
    return None if picture is None else tag("figure", picture, tag("figcaption", *words))


def _arch_figure(story: Story) -> Markup | None:
    keys = [
        tag("span", tag("span", class_=f"key k{k}"), f"{k}x{k}", class_="together")
        for k in (1, 3, 5, 7)
    ]
    words = "A box is a layer: kernel (dw: depthwise), below it its output channels; +: a shortcut."
    return _figure(figures.arch_picture(story), words, *(join((" ", key)) for key in keys))


def _search_pictures(names: Sequence[str], stories: Sequence[Story]) -> list[Markup]:
    """Return how the searches went: all pictures of one, or each picture for all of them."""
    kinds: list[tuple[str, Callable[[Story], Markup | None], str]] = [
        ("Loss", figures.loss_curve, "Loss of the supernet on training batches."),
        ("Evaluations", figures.trial_curve, "Each point is an arch that was evaluated in full."),
        ("Expected FLOPs", figures.expected_flops, "What the mixtures cost, in the target."),
        ("Entropy", figures.entropy, "1: nothing is decided; 0: all choices are made."),
        (
            "Choices",
            figures.probabilities,
            "From left to right, the search; a strip is divided among the candidates of its "
            "choice, smallest on top; behind it what was chosen. Rest the pointer on it for names.",
        ),
    ]
    made = [(name, [_figure(f(story), words) for story in stories]) for name, f, words in kinds]
    made = [(name, parts) for name, parts in made if any(parts)]
    if len(names) > 1:
        return [part for name, parts in made for part in _columns(name, names, parts)]
    cells = [tag("div", tag("h3", name), parts[0]) for name, parts in made]
    return [tag("h2", "The search"), tag("div", *cells, class_="grid")] if cells else []


def _verdict(facts: Facts) -> Markup | None:
    """Return the plain sentence, warnings, what could not be read, and what is missing."""
    parts = []
    if facts["status"] == "unfinished":
        parts.append(
            tag("p", "This search has not ended: the report is partial.", class_="warning")
        )
    if verdict := facts["verdict"]:
        style = {True: "yes", False: "no", None: "open"}[verdict["is_worth_it"]]
        parts.append(tag("p", verdict["sentence"], class_=f"verdict {style}"))
    parts += [tag("p", text, class_="warning") for text in facts["collapse"]["warnings"]]
    parts += [tag("p", text, class_="warning") for text in facts["notes"]]
    for gap in facts["missing"]:
        command = tag("pre", gap["command"])
        parts.append(tag("p", f"Missing: {gap['part']}. This makes it:", class_="soft"))
        parts.append(command)
    return join(parts) if parts else None


def _neighbours(facts: Facts) -> Markup | None:
    """Return the table of what was trained alike, beside its picture."""
    compared = facts["comparison"]
    if compared is None:
        return None
    picture, outside = figures.pareto(compared["rows"], facts["budget"])
    words = "Below and to the left is better; the dotted line is the front."
    if outside:
        words += f" At the edge, since far above the others: {', '.join(outside)}."
    return beside(comparison(facts), _figure(picture, words))
