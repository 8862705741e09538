"""What trainings alike say of contestants: means, spreads, ranks and costs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core.job import Result
from ..core.ranked import as_ranked
from ..evaluators.train import measured_on
from ..tasks.named import metrics_of
from ..training.task import gaining
from .jobs import Entry


def summary(entries: Sequence[Entry], results: Mapping[str, Result]) -> dict[str, Any]:
    """Return mean and spread of every contestant, and what all of it cost.

    Args:
        entries: the trainings of contestants.
        results: of these, by key.

    Returns:
        `rows` (one a contestant), `num_trainings`, `num_skipped` (the most unreadable images that a
        training met), `cpu_seconds`, and of the device, that is of the CPU or wall on a GPU,
        `device_seconds` of all trainings and `training_seconds`, the median of one: the first of
        each process reads the data as well. Where random archs stand beside a found one also
        `random_mean_METRIC`, `random_spread_METRIC` of the first, `improvement_percent`
        (100 (a - r)/r with a the found arch and r the random mean in the first metric that grows)
        and `rank` of the found arch among the random ones by the first metric (1 is best). What is
        not finite ranks last; what it goes into is not finite either, or has no spread.
    """
    rows = list(_rows(entries, results))
    found = next((row for row in rows if row["kind"] == "found"), None)
    rivals = [row for row in rows if row["kind"] == "random"]
    job = entries[0][1]
    keys = dict.fromkeys(job.key for _, job in entries)
    done = [results[key] for key in keys]
    is_cpu = job.execution.device == "cpu"
    seconds = [result.cpu_seconds if is_cpu else result.seconds for result in done]
    answer: dict[str, Any] = {
        "rows": rows,
        "num_trainings": len(done),
        "num_skipped": max(len(result.skipped) for result in done),
        "cpu_seconds": sum(result.cpu_seconds for result in done),
        "device_seconds": sum(seconds),
        "training_seconds": statistics.median(seconds),
    }
    if found and rivals:
        metrics = metrics_of(job.data)
        first, told = metrics[0], gaining(metrics)
        for metric in metrics:
            values = [row[metric.name] for row in rivals]
            answer[f"random_mean_{metric.name}"] = statistics.mean(values)
        answer[f"random_spread_{first.name}"] = _spread([row[first.name] for row in rivals])
        mean = answer[f"random_mean_{told.name}"]
        gain = told.cost(mean) - told.cost(found[told.name])
        answer["improvement_percent"] = 100 * gain / mean if mean else math.nan
        own = as_ranked(first.cost(found[first.name]))
        better = [row for row in rivals if as_ranked(first.cost(row[first.name])) < own]
        # One that has diverged is the last, also of many that have.
        answer["rank"] = 1 + len(better if math.isfinite(own) else rivals)
    return answer


def _rows(entries: Sequence[Entry], results: Mapping[str, Result]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys(entrant.name for entrant, _ in entries):
        mine = [entry for entry in entries if entry[0].name == name]
        chosen, job = mine[0]
        done = [results[job.key] for _, job in mine]
        first, *others = metrics_of(job.data)
        split = measured_on(job.split)
        values = {m.name: [r.metrics[f"{split}_{m.name}"] for r in done] for m in (first, *others)}
        yield {
            "name": chosen.name,
            "kind": chosen.kind,
            "flops": chosen.flops,
            "params": chosen.params,
            "inside_budget": chosen.inside_budget,
            "seeds": len(done),
            "num_diverged": sum(not math.isfinite(value) for value in values[first.name]),
            first.values: values[first.name],
            **{
                key: value
                for metric in (first, *others)
                for key, value in (
                    (metric.name, statistics.mean(values[metric.name])),
                    (metric.spread, _spread(values[metric.name])),
                )
            },
            "seconds": sum(result.seconds for result in done),
        }


def _spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation, None for a single value or where one is not finite."""
    known = len(values) > 1 and all(map(math.isfinite, values))
    return statistics.stdev(values) if known else None
