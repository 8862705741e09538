"""The page of a report: one HTML file that needs nothing outside of it, for one run or several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from ..tasks.named import metrics_of
from . import figures
from .by_class import classes_table, drawn, examples, matrix, pairs
from .choices import probabilities
from .effects import candidate_effects, explanation
from .front_page import front_chart, front_table
from .headline import about, losses, tiles, training_in_words, verdict
from .learned import sources
from .markup import Markup, join, tag
from .story import Story
from .tables import (
    comparison,
    cost,
    figures_of_run,
    overview,
    ranking,
    reproduce,
    training_figures,
)
from .wording import openness, sentence_of

Facts = Mapping[str, Any]

# Whatever a run folder may hold: the page runs nothing and asks no other machine.
_ALLOWED = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(stories: Sequence[Story], facts: Sequence[Facts]) -> str:
    """Return the HTML of a report.

    Args:
        stories: the runs.
        facts: of each run, see `nastk.reports.document.document`.
    """
    names = _names(stories)
    title = f"nastk report: {', '.join(names)}"
    body = [tag("h1", names[0] if len(stories) == 1 else f"nastk report: {len(stories)} runs")]
    if len(stories) > 1:
        body.append(overview(names, facts))
        body += _section("In short", names, facts, _short)
    else:
        body.append(_short(facts[0]))
    pairs = list(zip(stories, facts, strict=True))
    body += _columns("Class by class", names, [_by_class(*pair) for pair in pairs])
    body += _columns("Test images and answers", names, [_examples(s) for s in stories])
    body += _columns("The training of the network", names, [_training(*pair) for pair in pairs])
    found = [beside(figures_of_run(fact), _arch_figure(story)) for story, fact in pairs]
    body += _columns("The network", names, found)
    body += _section("Compared with its neighbours", names, facts, _neighbours)
    body += _section("The best network of every budget", names, facts, _front)
    body += _section("What ranks archs", names, facts, ranking)
    body += _search_pictures(names, stories)
    body += _section("What was learned", names, facts, _learned)
    body += _stacked("What each candidate adds to the score", names, facts, _effects)
    body += _columns("The choices", names, [_choices(story) for story in stories], "stack")
    body += _section("Cost", names, facts, cost)
    body += _section("How to make it again", names, facts, reproduce)
    body += _section("What is not made yet", names, facts, _missing)
    return _document(title, body)


def _document(title: str, body: Sequence[Markup]) -> str:
    style = files(__package__).joinpath("page.css")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_ALLOWED),
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


def _stacked(
    heading: str, names: Sequence[str], facts: Sequence[Facts], part: Callable[[Facts], Any]
) -> list[Markup]:
    """Return a section with the runs below each other, each as wide as the page."""
    return _columns(heading, names, [part(fact) for fact in facts], "stack")


def _columns(
    heading: str, names: Sequence[str], parts: Sequence[Any], style: str = "grid"
) -> list[Markup]:
    if not any(parts):
        return []
    if len(names) == 1:
        return [tag("h2", heading), parts[0]]
    cells = [
        tag("div", tag("h3", name), part or tag("p", "Nothing here.", class_="soft"))
        for name, part in zip(names, parts, strict=True)
    ]
    return [tag("h2", heading), tag("div", *cells, class_=style)]


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


def _short(fact: Facts) -> Markup:
    """Return the figures that everybody asks for, and the sentences about them."""
    parts = (about(fact), tiles(fact), training_in_words(fact), losses(fact), verdict(fact))
    return join(part for part in parts if part is not None)


def _examples(story: Story) -> Markup | None:
    """Return test images with what the network answered."""
    shown = [part for part in (examples(story.answers), drawn(story.pictures)) if part is not None]
    return join(shown) if shown else None


def _by_class(story: Story, fact: Facts) -> Markup | None:
    """Return where the network is right, and which classes it confuses."""
    if story.answers is None:
        return None
    worst = tag("div", tag("h3", "Confused most often"), pairs(fact))
    parts = [beside(classes_table(fact), worst)]
    if (shown := matrix(fact)) is not None:
        parts += [tag("h3", "What was taken for what"), shown]
    return join(part for part in parts if part is not None)


def _training(story: Story, fact: Facts) -> Markup | None:
    """Return the learning curve."""
    if story.curve is None:
        return None
    words = (
        "Mean loss of the training batches, which are augmented as the recipe says: it need not "
        "end where the test loss does."
    )
    if story.curve.held_out_steps:
        words += " The images held out were never trained on and choose the weights that are kept."
    picture = _figure(figures.learning_curve(story), words)
    if picture is None:
        picture = tag("p", "No loss of this training was a finite number: it diverged.")
    return beside(picture, training_figures(fact))


def _choices(story: Story) -> Markup | None:
    """Return how the choices were decided, and what the colours mean."""
    shown = probabilities(story)
    if shown is None:
        return None
    words = (
        "A bar is one choice of the space. From left to right goes the search, and the height of "
        "a colour is the probability of its candidate at that time. All candidates begin alike; "
        "the colour that fills the right end has won, many colours there mean an open choice. "
        "Numbers go from yellow (smallest) to violet (largest). On the right stands what was taken "
        "and how probable it was at the end: the most probable network within the budget is taken, "
        "which need not have the most probable candidate of each choice; of a block that is left "
        "out the other choices count for nothing."
    )
    return join([tag("p", words, class_="soft"), shown])


def _learned(fact: Facts) -> Markup | None:
    """Return what a search by mixtures has learned, from what, and how well it predicts."""
    learned = fact["search"]["learned"]
    if learned is None:
        return None
    words = (
        "A dot is a random network that was tested with the weights of the supernet. Where the "
        "score is good, the dots fall from the upper left to the lower right."
    )
    if learned["explained"] is not None:
        words += (
            f" They are among those that the score was learned from, so that the picture flatters: "
            f"of networks not seen, {100 * learned['explained']:.0f} % of the differences are told."
        )
    picture = figures.predicted(learned["tested"], learned["found_score"])
    sentence = tag("p", sentence_of(learned["sentence"]))
    shown = beside(sources(learned), _figure(picture, words))
    return join(part for part in (sentence, shown) if part is not None)


def _effects(fact: Facts) -> Markup | None:
    """Return what each candidate adds to the score, and how to read that."""
    learned = fact["search"]["learned"]
    shown = None if learned is None else candidate_effects(learned["choices"])
    return None if shown is None else join([explanation(), shown])


_LOSS = (
    "Loss of the supernet on training batches: of the mixture of candidates that each update has."
)


def _search_pictures(names: Sequence[str], stories: Sequence[Story]) -> list[Markup]:
    """Return how the searches went: all pictures of one, or each picture for all of them."""
    kinds: list[tuple[str, Callable[[Story], Markup | None], str]] = [
        ("Loss", figures.loss_curve, _LOSS),
        ("Evaluations", figures.trial_curve, "Each point is an arch that was evaluated in full."),
        ("Expected FLOPs", figures.expected_flops, "What the mixtures cost, in the target."),
        ("Openness of the choices", figures.entropy, "Entropy: 1 if nothing is decided, 0 if all."),
    ]
    made = []
    for name, draw, words in kinds:
        parts = []
        for story in stories:
            end = _end_of(story) if draw is figures.entropy else ""
            parts.append(_figure(draw(story), words + end))
        if any(parts):
            made.append((name, parts))
    if len(names) > 1:
        return [part for name, parts in made for part in _columns(name, names, parts)]
    cells = [tag("div", tag("h3", name), parts[0]) for name, parts in made]
    return [tag("h2", "The search"), tag("div", *cells, class_="grid")] if cells else []


def _end_of(story: Story) -> str:
    """Say in words how decided a search is at its end."""
    values = [event["entropy"] for event in story.updates if event.get("entropy") is not None]
    return f" At the end {values[-1]:.2f}: {openness(values[-1])}." if values else ""


def _missing(fact: Facts) -> Markup | None:
    """Return what a run lacks, and the command that makes it."""
    if not fact["missing"]:
        return None
    rows = [
        tag("dt", gap["part"]) + tag("dd", tag("code", gap["command"])) for gap in fact["missing"]
    ]
    return tag("dl", *rows, class_="missing")


def _front(facts: Facts) -> Markup | None:
    """Return what one search has found for several budgets, beside its picture."""
    rows = facts["front"]
    if not rows:
        return None
    words = (
        "Found by the score of one search, without further training; nastk compare trains all of "
        "them alike."
    )
    return beside(front_table(rows), _figure(front_chart(rows), words))


def _neighbours(facts: Facts) -> Markup | None:
    """Return the table of what was trained alike, beside its picture."""
    compared = facts["comparison"]
    if compared is None:
        return None
    picture, outside = figures.pareto(
        compared["rows"], facts["budget"], metrics_of(compared["data"])[0]
    )
    words = "Below and to the left is better; the dotted line is the front."
    if outside:
        words += f" At the edge, since far above the others: {', '.join(outside)}."
    return beside(comparison(facts), _figure(picture, words))
