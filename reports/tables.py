"""The tables and lists of a report's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.bounds import WORDS
from ..core.resolution import as_typed
from ..tasks.named import metrics_of
from ..training.task import Metric, gaining
from .markup import Markup, join, tag
from .trained import STARTS
from .wording import day, duration, heading, in_front, openness, percent, size

Facts = Mapping[str, Any]


def table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Any]]], num_left: int) -> Markup:
    """Return a table that scrolls in a frame of its own where the screen is narrow.

    Args:
        heads: of the columns.
        rows: CSS class and cells of each row.
        num_left: columns of words; the others are figures.
    """

    def line(name: str, cells: Sequence[Any], style: str | None = None) -> Markup:
        sides = ["words" if number < num_left else "right" for number in range(len(cells))]
        columns = [tag(name, cell, class_=side) for cell, side in zip(cells, sides, strict=True)]
        return tag("tr", *columns, class_=style)

    head = tag("thead", line("th", heads))
    body = tag("tbody", *(line("td", cells, style or None) for style, cells in rows))
    return tag("div", tag("table", head, body), class_="scroll", tabindex="0")


def pairs(entries: Sequence[tuple[str, Any]]) -> Markup:
    """Return a list of names and values; those that are None are left out."""
    known = [(name, value) for name, value in entries if value is not None]
    return tag("dl", *(tag("dt", name) + tag("dd", value) for name, value in known))


def figure(value: float | None, digits: int = 3, unit: str = "") -> str | None:
    """Return a figure, a dash where it is not finite, None where there is none."""
    if value is None:
        return None
    return f"{value:,.{digits}f}{unit}" if math.isfinite(value) else "-"


def plus_minus(value: float, spread: float | None, digits: int) -> str:
    """Return a mean and its spread over seeds."""
    mean = figure(value, digits) or "-"
    return mean if spread is None else f"{mean} ± {spread:.{digits}f}"


def _over_seeds(metric: Metric, row: Facts) -> str:
    return plus_minus(row[metric.name], row[metric.spread], metric.digits)


def _figure_of(metric: Metric, value: float | None) -> str:
    if metric.unit == "percent":
        return percent(value, metric.digits)
    return figure(value, metric.digits) or "-"


def overview(names: Sequence[str], facts: Sequence[Facts]) -> Markup:
    """Return one row a run."""
    rows = []
    datas = [(fact["training"] or {}).get("data") or fact["data"] for fact in facts]
    known = {m.name: m for data in datas for m in metrics_of(data)}
    metrics = in_front(list(known.values()))
    for name, fact in zip(names, facts, strict=True):
        arch, compared, made = fact["arch"] or {}, fact["comparison"] or {}, fact["training"] or {}
        first = metrics_of(compared.get("data") or fact["data"])[0]
        rival = {row["kind"]: row for row in compared.get("rows", ())}.get("found")
        cells = [
            name,
            str(fact["space"]).rsplit("/", 1)[-1],
            fact["strategy"] or "training",
            fact["status"],
            *(_figure_of(m, made.get(f"test_{m.name}")) for m in metrics),
            "-" if rival is None else _over_seeds(first, rival),
            figure(compared.get("improvement_percent"), 2) or "-",
            "-" if "flops" not in arch else f"{arch['flops']:,}",
            "-" if "params" not in arch else f"{arch['params']:,}",
            duration(fact["cost"]["cpu_seconds"]) or "-",
        ]
        rows.append(("", cells))
    heads = ["run", "space", "strategy", "status", *(m.title for m in metrics), "compared"]
    heads += ["% over random", "FLOPs", "params", "search, CPU"]
    words = (
        "First what was measured after the retraining. Compared: the found network in the "
        "comparison, whose trainings are alike; % over random: how much better it is than the "
        "mean of random archs."
    )
    return table(heads, rows, 4) + tag("p", words, class_="soft")


def figures_of_run(fact: Facts) -> Markup:
    """Return what was searched and what was found."""
    arch, search, collapse = fact["arch"] or {}, fact["search"], fact["collapse"]
    budget = "; ".join(map(_budget, fact["budgets"])) or None
    target = ", ".join(f"{key} {value}" for key, value in fact["target"].items())
    skipped = None
    if collapse.get("num_skipped") is not None:
        usual = collapse["share_skipped_random"]
        skipped = f"{collapse['num_skipped']} of {collapse['num_skippable']}"
        skipped += "" if usual is None else f" (random archs of the budget: {100 * usual:.0f}%)"
    return pairs(
        [
            ("arch", arch.get("id")),
            ("FLOPs", None if not arch else f"{arch['flops']:,} (multiply-adds, batch 1)"),
            ("params", None if not arch else f"{arch['params']:,}"),
            ("activations", None if not arch else f"{arch['activations']:,}"),
            ("budget", budget),
            ("looked at", _looked_at(fact["band"])),
            ("space", fact["space"]),
            ("target", target),
            ("strategy", fact["strategy"]),
            ("evaluator", fact["evaluator"]),
            ("lowest loss of an evaluation in the search", figure(search["best_trial_loss"])),
            ("expected FLOPs at the end", figure(search["expected_flops"], 0)),
            ("entropy at the end", _entropy(search["entropy"])),
            ("skipped", skipped),
        ]
    )


def _looked_at(band: Mapping[str, Any] | None) -> str | None:
    """Say between which costs a search looked, and at how many archs."""
    if band is None:
        return None
    ends = " and ".join(map(_ends, band["bounds"]))
    count = band["num_archs"]
    if not isinstance(count, int | float) or count < 1:
        return f"archs {ends}"
    if band["is_exact"] or count < 10_000:
        return f"archs {ends}, {'' if band['is_exact'] else 'about '}{count:,.0f} of them"
    return f"archs {ends}, about 10^{math.log10(count):.0f} of them"


def _ends(bound: Mapping[str, Any]) -> str:
    """Say between which ends one cost lies."""
    low, high, word = bound["low"], bound["high"], WORDS[bound["metric"]]
    return f"up to {high:,} {word}" if not low else f"of {low:,} to {high:,} {word}"


def _budget(limit: Mapping[str, Any]) -> str:
    """Say how one cost is bounded."""
    least = "" if limit["low"] is None else f", {limit['low']:,} at least"
    return f"{limit['high']:,} {WORDS[limit['metric']]} at most{least}"


def _entropy(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} of 1: {openness(value)}"


def training_figures(fact: Facts) -> Markup:
    """Return by which training the network was made."""
    made = fact["training"]
    done, total, epochs = made["num_updates_done"], made["num_updates"], made["epochs"]
    length = None if total is None else f"{total:,}"
    if total is not None and done is not None and done < total:
        length = f"{done:,} of {total:,}"
    px = made["resolution"]
    return pairs(
        [
            ("recipe", made["recipe"]),
            ("updates", length),
            ("epochs", None if epochs is None else f"{epochs:.3g}"),
            ("start", STARTS.get(str(made["start"]))),
            ("seed", made["seed"]),
            ("data", made["data"]),
            ("resolution", None if px is None else f"{as_typed(px)} px"),
            ("CPU time", duration(made["cpu_seconds"])),
            ("wall time", duration(made["seconds"])),
            ("weights in float32", size(made["weight_bytes"])),
            ("ended", day(made["date"])),
        ]
    )


def comparison(fact: Facts) -> Markup:
    """Return the networks that were trained alike, with seeds and spread."""
    compared = fact["comparison"]
    metrics = metrics_of(compared["data"])
    rows = []
    for row in compared["rows"]:
        cells = [
            row["name"] + ("" if row["inside_budget"] else " ^"),
            f"{row['flops']:,}",
            f"{row['params']:,}",
            str(row["seeds"]),
            *(_over_seeds(metric, row) for metric in metrics),
        ]
        rows.append((row["kind"], cells))
    heads = ["network", "FLOPs", "params", "seeds", *map(heading, metrics)]
    shown = table(heads, rows, 1)
    steps = compared.get("steps")
    length = "" if steps is None else f", {steps} updates"
    words = f"All trained by the recipe {compared['recipe']}{length} on {compared['data']}; mean ± "
    words += f"standard deviation over seeds. From {fact['comparison_source']}."
    if not all(row["inside_budget"] for row in compared["rows"]):
        words += " ^: above the budget."
    parts = [shown, tag("p", words, class_="soft")]
    improvement, rank = compared.get("improvement_percent"), compared.get("rank")
    if improvement is not None and rank is not None:
        count = sum(row["kind"] == "random" for row in compared["rows"])
        parts.append(
            tag(
                "p",
                f"Relative improvement over the mean of {count} random archs of the budget, "
                f"100 (a - r) / r in {gaining(metrics).title.removesuffix(' %')}: "
                f"{improvement:+.2f}%. By {metrics[0].title} "
                f"the found arch ranks {rank} of {count + 1}.",
            )
        )
    return join(parts)


_SCORES = {
    "inherited": "inherited: loss with the supernet's weights",
    "learned": "learned: probability at the end of the search",
    "params": "params (costs nothing)",
    "flops": "FLOPs (costs nothing)",
}


def ranking(fact: Facts) -> Markup | None:
    """Return Kendall's tau of every score with the losses after training."""
    ranked = fact["ranking"]
    if ranked is None:
        return None
    rows = []
    order = [*_SCORES, *sorted(set(ranked["taus"]) - set(_SCORES))]
    for name in [name for name in order if name in ranked["taus"]]:
        values = ranked["taus"][name]
        cells = [_SCORES.get(name, name), *(figure(values[k], 2) or "-" for k in _TAUS)]
        rows.append(("", cells))
    if ranked["ceiling"] is not None:
        ceiling = figure(ranked["ceiling"], 2)
        rows.append(("", ["the ceiling: one whole training against the others", ceiling, "-"]))
    words = (
        f"Kendall's tau over {ranked['num_archs']} random archs of the budget, 1 being the order "
        f"after training. A score that knows nothing stays below {ranked['chance']:.2f} in 19 of "
        "20 cases. A dash: too few archs (the best fifth needs 16)."
    )
    shown = table(["score", "all archs", "best fifth"], rows, 1)
    return join([shown, tag("p", words, class_="soft")])


_TAUS = ("all", "best_fifth")


def cost(fact: Facts) -> Markup | None:
    """Return what the search and its evidence cost."""
    spent, made = fact["cost"], fact["training"] or {}
    memory, share = spent["peak_memory_bytes"], spent["evidence_share_percent"]
    evidence = _of_cpu(spent["evidence_cpu_seconds"])
    if evidence is not None and share is not None:
        evidence += f" ({share:.0f}% of the search)"
    trainings = spent["in_trainings"]
    known = [
        ("search", _of_cpu(spent["cpu_seconds"])),
        ("search on the clock", duration(spent["seconds"])),
        ("that is", None if trainings is None else f"{trainings:.2g} trainings of its network"),
        ("evaluations", spent["num_evaluations"]),
        ("updates of the supernet", spent["num_updates"]),
        ("training of the network", _of_cpu(made.get("cpu_seconds"))),
        ("comparison", _of_cpu(spent["comparison_cpu_seconds"])),
        ("evidence", evidence),
        ("peak memory", None if memory is None else f"{memory / 2**30:.2f} GiB"),
    ]
    return pairs(known) if any(value is not None for _, value in known) else None


def _of_cpu(seconds: float | None) -> str | None:
    spent = duration(seconds)
    return None if spent is None else f"{spent} of CPU time"


def reproduce(fact: Facts) -> Markup:
    """Return commands, versions and hashes."""
    record, recipe, versions = fact["data_record"] or {}, fact["recipe"], fact["versions"] or {}
    hashes = [(key.replace("_", " "), v) for key, v in record.items() if key.endswith("sha256")]
    shown = pairs(
        [
            ("begun", day(fact["date"])),
            ("seed", fact["seed"]),
            ("device", fact["device"]),
            ("threads", fact["threads"]),
            ("versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or None),
            ("git commit", fact["git_commit"]),
            ("data", record.get("origin") or fact["data"]),
            *((f"data {name}", tag("code", value)) for name, value in hashes),
            ("recipe", None if recipe is None else recipe["name"]),
            ("recipe sha256", None if recipe is None else tag("code", recipe["sha256"])),
        ]
    )
    return join([tag("pre", "\n".join(fact["commands"])), shown])
