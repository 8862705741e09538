"""What commands show at their end: tables and the plain last lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.table import Table

from ..core.bounds import WORDS
from ..core.observe import observable
from ..core.preprocessing import Preprocessing
from ..core.run import Run
from ..records.front import in_words
from ..search_spaces import Sandglass
from ..tasks.named import form_of, is_embedded, metrics_of
from ..training.task import gaining
from .console import new_table, say
from .endings import after_comparison, after_retrain, after_search, entropy_in_words


def print_search(result: dict[str, Any]) -> None:
    """Print the table at the end of a search and where its results are."""
    from ..records.naming import spaces_of

    run = Run.open(Path(result["run"]))
    manifest = run.manifest
    table = Table(title=f"arch {result['arch_id']}")
    highs = {limit.metric: limit.high for limit in manifest.limits or ()}
    metrics = [m for m in WORDS if m != "activations" or m in highs]
    for heading in ("", *(WORDS[metric] for metric in metrics)):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("budget", *(f"{highs[m]:,}" if m in highs else "" for m in metrics))
    table.add_row("found", *(f"{result[metric]:,}" for metric in metrics))
    if manifest["space"] == "sandglass":
        target = spaces_of(run)[0]
        space = Sandglass(resolution=target.resolution, num_classes=target.num_classes)
        published = space.cost.count(space.indices(space.uniform()))
        table.add_row("MobileNeXt-1.0", *(f"{published[metric]:,}" for metric in metrics))
    say(table)
    if front := result.get("front"):
        _print_front(front, result["run"])
    say(
        f"{_effort(run.events())}, {result['seconds']:.0f} s wall, "
        f"{result['cpu_seconds']:.0f} CPU s, peak "
        f"{result['peak_memory_bytes'] / 2**30:.2f} GiB; results in {result['run']}",
    )
    _print_skipped(result)
    if result.get("entropy") is not None:
        say(entropy_in_words(result["entropy"]))
    if blind := observable(spaces_of(run)[1]):
        named = [name for name in blind if name in spaces_of(run)[1].choices()]
        if named:
            say(f"the proxy could not see {len(named)} choices: {', '.join(named)}")
    if is_embedded(manifest["data"]):
        say(
            f"{manifest['data']} is embedded demonstration data; --data "
            f"{form_of(manifest['data'])} is the real thing.",
        )
    say(after_search(result["run"]))


def _print_front(rows: list[dict[str, Any]], run: str) -> None:
    """Print the best arch of each budget, and how they are trained beside each other."""
    table = new_table("budget", "arch", "FLOPs", "params", "score", num_left=2)
    for row in rows:
        counts = (f"{row[metric]:,}" for metric in ("flops", "params"))
        table.add_row(in_words(row["budgets"]), row["arch_id"], *counts, f"{row['score']:.2f}")
    say(table)
    say(f"their archs are in {run}/front; nastk compare {run} trains all of them alike")


def _effort(events: list[dict[str, Any]]) -> str:
    """Say how much a search did: archs evaluated, updates of supernets and what stood behind."""
    trials = [event for event in events if "trial" in event]
    updates = [event for event in events if "loss" in event and "trial" not in event]
    done = [f"{len(updates):,} updates"] if updates else []
    if (supernets := len({event.get("supernet") for event in updates})) > 1:
        done = [f"{len(updates):,} updates of {supernets} supernets"]
    if tested := {event["tested"] for event in events if "tested" in event}:
        done.append(f"{len(tested):,} archs tested with inherited weights")
    if untrained := sum("untrained" in event for event in events):
        done.append(f"{untrained:,} untrained ones looked at")
    if trials:
        full = sum(event.get("share", 1) == 1 for event in trials)
        part = f" ({full} in full)" if full < len(trials) else ""
        done.append(f"{len(trials)} evaluations{part}")
    *first, last = done or ["nothing trained"]
    return f"{', '.join(first)} and {last}" if first else last


def print_metrics(result: dict[str, Any]) -> None:
    """Print the metrics of a training or an evaluation."""
    for name, value in result["metrics"].items():
        say(
            f"{name:24} {value:,.4g}" if value < 1e4 else f"{name:24} {value:,.0f}", highlight=False
        )
    for name, metrics in result.get("baselines", {}).items():
        figures = (f"{key.removeprefix('test_')} {value:.3f}" for key, value in metrics.items())
        say(f"baseline {name}: {', '.join(figures)}")
    if result["weakest_classes"]:
        say(result["weakest_classes"])
    if "network" in result:
        network = ", ".join(f"{key} {value}" for key, value in result["network"].items())
        say(f"trained network: {network}")
    say(f"weights: {result['weights']}")
    if result.get("pictures"):
        say(f"pictures: {result['pictures']}")
    for change in result.get("changes", []):
        say(change)
    _print_skipped(result)


def print_retrained(result: dict[str, Any]) -> None:
    """Print the metrics of a training and what comes next."""
    print_metrics(result)
    say(after_retrain(result["run"]))


def _print_skipped(result: dict[str, Any]) -> None:
    if count := result.get("num_skipped", 0):
        what, were, them = ("image", "was", "it") if count == 1 else ("images", "were", "them")
        say(
            f"{count} {what} could not be read and {were} left out (--strict refuses {them})",
        )


def print_count(result: dict[str, Any]) -> None:
    """Print exact counts, for each layer where they were asked for."""
    metrics = ("flops", "params", "activations")
    table = new_table("layer", *metrics)
    for layer in result.get("layers", ()):
        table.add_row(layer["layer"], *(f"{layer[m]:,}" for m in metrics))
    table.add_row(result["name"], *(f"{result[m]:,}" for m in metrics))
    say(table)
    for counter in ("fvcore", "torch"):
        if (counted := result.get(f"{counter}_flops")) is not None:
            say(
                f"{counter} counts the same {counted:,} FLOPs, "
                f"the built module has the same {result['module_params']:,} params",
            )


def print_comparison(result: dict[str, Any]) -> None:
    """Print where every network of a comparison stands."""
    title = f"{result['data']}, recipe {result['recipe']}: mean ± spread over seeds"
    metrics = metrics_of(result["data"])
    first = metrics[0]
    is_held_out = result.get("split") == "architecture"
    heads = ("", "FLOPs", "params", *(metric.title for metric in metrics))
    if is_held_out:
        title += ", on a quarter of the training data that was held out"
        heads = tuple(head.replace("test ", "held-out ") for head in heads)
    say(title)  # beside the table it would be broken at the table's width
    table = new_table(*heads, gap=1)
    rows = result["rows"]
    for row in rows:
        table.add_row(
            row["name"] + ("" if row["inside_budget"] else " ^"),
            f"{row['flops']:,}",
            f"{row['params']:,}",
            *(
                "diverged"
                if metric is first and row.get("num_diverged")
                else _plus_minus(row[metric.name], row[metric.spread], metric.digits)
                for metric in metrics
            ),
        )
    say(table)
    if not all(row["inside_budget"] for row in rows):
        say("^: above the budget")
    kinds = {row["kind"] for row in rows}
    if "found" in kinds and "reference" not in kinds:
        say("no reference that nastk can build lies within 15 % of the budget")
    if "rank" in result:
        gain = result["improvement_percent"]
        count = sum(row["kind"] == "random" for row in rows)
        mean, own = (result[f"random_{what}_{first.name}"] for what in ("mean", "spread"))
        spread = _plus_minus(mean, own, first.digits)
        told = gaining(metrics).title.removesuffix(" %")
        beside = f"% (relative) to the random mean in {told}"
        say(
            f"random mean {spread}; the found arch ranks {result['rank']} of {count + 1} by "
            + first.title.removeprefix("test ")
            + ("" if gain is None or math.isnan(gain) else f", {gain:+.2f} {beside}"),
        )
    say(
        f"{result['num_trainings']} trainings, {result['cpu_seconds']:.0f} CPU s in all, "
        f"{result['seconds']:.0f} s wall now; results in {result['file']}",
    )
    _print_skipped(result)
    if not is_held_out and (following := after_comparison(result.get("run"))) is not None:
        say(following)


def print_proxy(result: dict[str, Any]) -> None:
    """Print what a proxy can rank, and a warning where that is little."""
    table = new_table("", "value", "")
    metrics = metrics_of(result["data"])
    first, way = metrics[0], "higher" if metrics[0].maximises else "lower"
    for name, meaning in (
        ("icc_loss", f"share of the {first.word}'s variance that is due to the arch"),
        ("icc_accuracy", f"the same of the {gaining(metrics).word}"),
        ("ceiling_tau", "Kendall tau of one training and the mean of the others"),
        ("params_tau", f"Kendall tau of more params and {way} {first.word}"),
    ):
        value = result[name]
        table.add_row(name, "-" if value is None else f"{value:.2f}", meaning)
    say(table)
    say(
        f"{result['archs']} random archs x {result['seeds']} seeds of {result['space']} at "
        f"{result['flops']} on {result['data']}, recipe {result['recipe']}: "
        f"{first.word} {result[first.key('mean')]:.3f}, spread "
        f"{result[first.key('between_archs')]:.3f} between archs, "
        f"{result[first.key('between_seeds')]:.3f} between seeds; "
        f"{result['cpu_seconds']:.0f} CPU s; trainings in {result['out']}",
    )
    if result["warning"]:
        say(f"warning: {result['warning']}")


def _plus_minus(value: float | None, spread: float | None, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def print_export(result: dict[str, Any]) -> None:
    """Print what was written, how it is fed, and how far it is from the module."""
    if result["is_trained"]:
        print(f"weights: {result['weights']}")
    else:
        print("the exported weights are untrained")
    print(f"input: {result['input']}, output: {result['output']}")
    if result["preprocessing"] is not None:
        print(f"nastk.preprocessing: {Preprocessing.from_json(result['preprocessing'])}")
    if classes := result["classes"]:
        more = f" and {len(classes) - 20} more" if len(classes) > 20 else ""
        print(f"nastk.classes: {', '.join(classes[:20])}{more}")
    print(f"{result['file']}: run again, differs by {result['max_difference']:.1e} at most")


def print_evidence(evidence: dict[str, Any]) -> None:
    """Print whether the search was worth it, what ranks archs, and what it cost to know."""
    if evidence["verdict"]:
        print(evidence["verdict"]["sentence"])
    if ranked := evidence["ranking"]:
        known = {name: taus["all"] for name, taus in ranked["taus"].items()}
        if ranked["ceiling"] is not None:
            known["one training"] = ranked["ceiling"]
        figures = ", ".join(f"{k} {v:.2f}" for k, v in known.items() if v is not None)
        print(
            f"Kendall tau with the trained order of {ranked['num_archs']} random archs: {figures} "
            f"(by chance below {ranked['chance']:.2f})"
        )
    share = evidence["share_percent"]
    cost = "" if share is None else f", together {share:.0f} % of the search's cost"
    inherited = evidence["inherited_seconds"]
    scored = f", inherited scores in {inherited:.0f} CPU s" if inherited else ""
    print(
        f"evidence: {evidence['num_trainings']} trainings of {evidence['steps']} updates in "
        f"{evidence['cpu_seconds']:.0f} CPU s{scored}{cost}"
    )


def print_report(result: dict[str, Any]) -> None:
    """Print where the report is and the sentence of each run."""
    for run in result["runs"]:
        if run["status"] == "unfinished":
            print(f"{run['run']} has not ended: the report is partial")
        if run["verdict"]:
            print(f"{run['run']}: {run['verdict']['sentence']}")
        for text in (*run["notes"], *run["collapse"]["warnings"]):
            print(f"{run['run']}: warning: {text}")
    print(f"report in {result['html']} and {result['json']}")
