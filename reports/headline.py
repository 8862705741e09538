"""The top of a report: what it is about, how good the network is, and whether it was worth it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.bounds import WORDS
from ..tasks.named import metrics_of
from .axes import short
from .class_facts import doubts
from .markup import Markup, join, tag
from .trained import STARTS
from .wording import day, duration, in_front, named, shown, with_unit

Facts = Mapping[str, Any]


def about(fact: Facts) -> Markup:
    """Return what was done, on which data and when, in one line."""
    space = str(fact["space"]).rsplit("/", 1)[-1]
    done = f"Search of the space {space} by {fact['strategy']}"
    if fact["status"] == "retraining":
        done = f"Training of a network of the space {space}"
    record = fact["data_record"] or {}
    sizes = record.get("split_sizes")
    decided = [name for name in fact["proxy"] or () if name.startswith("num_") and name in record]
    details = [f"{record[name]} {name.removeprefix('num_')}" for name in decided]
    if isinstance(sizes, Mapping):
        counts = [f"{sizes[k]:,} {k}" for k in ("train", "test") if isinstance(sizes.get(k), int)]
        details += [f"{' and '.join(counts)} images"] if counts else []
    inside = ", ".join(details)
    parts = [
        done,
        None if fact["task"] is None else f"task {fact['task']}",
        f"data {fact['data']}" + (f" ({inside})" if inside else ""),
        day(fact["date"]),
    ]
    return tag("p", " · ".join(part for part in parts if part), class_="soft about")


_COSTS = {
    "flops": "multiply-adds of one image",
    "params": "weights of the network",
    "activations": "elements of its features",
}


def tiles(fact: Facts) -> Markup:
    """Return the figures that everybody asks for first, accuracy in front."""
    arch, cost = fact["arch"] or {}, fact["cost"]
    highs = {limit["metric"]: limit["high"] for limit in fact["budgets"]}
    shown = list(_quality(fact))
    if arch:
        for metric, words in _COSTS.items():
            if high := highs.get(metric):
                words = f"{100 * arch[metric] / high:.0f} % of the budget {short(high)}"
            if high or metric != "activations":
                shown.append((short(arch[metric]), WORDS[metric], words))
    if (spent := duration(cost["cpu_seconds"])) is not None:
        trainings = cost["in_trainings"]
        words = "of CPU time"
        words += (
            "" if trainings is None else f", as much as {trainings:.2g} trainings of its network"
        )
        shown.append((spent, "the search", words))
    cells = [
        tag(
            "div",
            tag("div", value, class_="value"),
            tag("div", name, class_="name"),
            tag("div", words, class_="soft"),
            class_="tile first" if number == 0 else "tile",
        )
        for number, (value, name, words) in enumerate(shown)
    ]
    return tag("div", *cells, class_="tiles")


def _quality(fact: Facts) -> list[tuple[str, str, str]]:
    """Return test accuracy and test loss, or what stands in for them."""
    made, by_class = fact["training"], fact["by_class"]
    compared = fact["comparison"] or {}
    is_trained = made is not None and made["is_finished"]
    measured = (made if is_trained else compared) or {}
    first, *others = in_front(metrics_of(measured.get("data") or fact["data"]))
    what = named(first).partition(" (")[0]
    if made is None or not is_trained:
        found = next((row for row in compared.get("rows", ()) if row["kind"] == "found"), None)
        if found is not None:
            words = f"mean of {found['seeds']} trainings for the comparison"
            return [(shown(m, found[m.name]), named(m), words) for m in (first, *others)]
        if made is not None and made["num_updates"]:
            done, total = made["num_updates_done"], made["num_updates"]
            return [("…", what, f"in training: {done:,} of {total:,} updates")]
        return [("?", what, "the network is not trained yet")]
    words = ""
    if by_class is not None and by_class["num_images"]:
        low, high = by_class["interval_percent"]
        words = (
            f"95 % interval {low:.1f} to {high:.1f}, {by_class['num_images']:,} test images; "
            f"always naming the most frequent class: {by_class['guess_percent']:.1f} %"
        )
    return [
        (shown(first, made[f"test_{first.name}"]), named(first), words or first.note),
        *((shown(m, made[f"test_{m.name}"]), named(m), m.note) for m in others),
    ]


def training_in_words(fact: Facts) -> Markup | None:
    """Return by which training the network is as good as the tiles say."""
    made = fact["training"]
    if made is None:
        return None
    updates, epochs = made["num_updates"], made["epochs"]
    length = None if updates is None else f"{updates:,} updates"
    if length is not None and epochs is not None:
        length += f" ({epochs:.3g} epochs)"
    parts = [
        STARTS.get(str(made["start"])),
        None if made["recipe"] is None else f"by the recipe {made['recipe']}",
        length,
        None if made["seed"] is None else f"seed {made['seed']}",
    ]
    known = ", ".join(part for part in parts if part)
    if not made["is_finished"]:
        return tag("p", "The network is being trained, or its training was stopped.")
    words = f"Trained once, {known}" if known else "Trained once"
    if (spent := duration(made["cpu_seconds"])) is not None:
        words += f", in {spent} of CPU time"
    return tag("p", words + ".")


def verdict(fact: Facts) -> Markup | None:
    """Return the plain sentence, warnings, and what could not be read."""
    parts = []
    if fact["status"] == "unfinished":
        words = "This search has not ended: the report is partial."
        parts.append(tag("p", words, class_="warning"))
    if (made := fact["training"]) is not None and made["has_diverged"]:
        words = "The training diverged: its test loss is no finite number. A lower --lr may help."
        parts.append(tag("p", words, class_="warning"))
    parts += [tag("p", text, class_="warning") for text in doubts(fact["by_class"])]
    if judged := fact["verdict"]:
        style = {True: "yes", False: "no", None: "open"}[judged["is_worth_it"]]
        parts.append(tag("p", judged["sentence"], class_=f"verdict {style}"))
    parts += [tag("p", text, class_="warning") for text in fact["collapse"]["warnings"]]
    parts += [tag("p", text, class_="warning") for text in fact["notes"]]
    return join(parts) if parts else None


def losses(fact: Facts) -> Markup | None:
    """Return by which training each loss of the found network is, where it has several."""
    rows = fact["losses"]
    if len(rows) < 2:
        return None
    items = [
        tag(
            "li",
            tag("b", ", ".join(with_unit(m, row[m.name]) for m in metrics_of(row["data"]))),
            f" — {row['training']}, on {row['measured_on'] or 'its test images'}",
        )
        for row in rows
    ]
    words = "The same network has a loss for each way in which it was trained:"
    return tag("div", tag("p", words), tag("ul", *items))
