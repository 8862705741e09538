"""Whether a proxy (space, budget, data and recipe) can rank archs, before a search relies on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..comparison.contestants import Contestant
from ..comparison.jobs import train_all, trainings
from ..comparison.ranking import FEWEST
from ..comparison.signal import signal
from ..core.band import band_of
from ..core.budget import Budget, parse_budget
from ..core.files import hash_of
from ..core.job import Result
from ..core.loop import Report, silent
from ..core.run import write_json
from ..core.sampler import sample
from ..core.space import Space
from ..nasbench.families import find_space
from ..records.data import chosen_data
from ..records.execution import Execution
from ..records.manifest import absolute_space, circumstances
from ..records.naming import check_numbers, space_for
from ..tasks.named import DATA, family_of, find_data, make_task
from ..training.recipe import ANY
from ..training.recipes import asked_recipe, check_amounts, default_recipe
from ..training.task import Metric, aimed, fitted, gaining

# Below this share of variance one training says more about its seed than about its arch.
ENOUGH = 0.5
# What tells one result in a folder from the others.
_ASKED = ("space", "flops", "data", "recipe", "steps", "archs", "seeds")


def bench_proxy(
    *,
    space: str,
    flops: str,
    data: str | None = None,
    task: Any = None,
    recipe: str | None = None,
    archs: int = 12,
    seeds: int = 3,
    steps: int | None = None,
    seed: int = 0,
    processes: int | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    workers: int = 0,
    precision: str | None = None,
    cuda_graph: bool = False,
    strict: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Train random archs of a budget's band with several seeds and say how much the arch matters.

    Archs are trained on the weights split and measured on the architecture split, as searches do;
    the test split stays unread. Given again, the command goes on with what is not trained yet.

    Args:
        space: name of a space, or `FILE.py:CLASS`.
        flops: budget, counted on the target as searches count it.
        data: embedded data by name, or the user's; embedded ones of the task if None.
        task: as for search.
        recipe: as for search; the short one on embedded data, else the space's.
        archs: number of different random archs.
        seeds: trainings of each.
        steps: number of updates; the recipe's epochs if None.
        seed: of the random archs.
        processes: trainings at a time; one for each core if None, one on CUDA.
        out: folder of the trainings, `runs/proxy` if None; it may serve several proxies.
        device: `cpu` or `cuda`.
        workers: processes of each training that decode images.
        precision: in which networks compute, as for search; tested in float32.
        cuda_graph: record the update once and replay it, as for search.
        strict: refuse unreadable images instead of skipping them.
        report: receives progress events.

    Returns:
        `icc_loss icc_accuracy ceiling_tau params_tau` of `nastk.comparison.signal` (None where
        undefined; of the task's first metric and of the first that grows), `warning` (None if the
        first has an ICC of at least 0.5), what was trained, and means and spreads.

    Raises:
        ValueError: if an argument is wrong, or the band has too few archs.
        InfeasibleBudgetError: if no arch can meet the budget.
    """
    start = time.perf_counter()
    if archs < FEWEST or seeds < 2:
        raise ValueError(f"needs at least {FEWEST} archs and 2 seeds, got {archs} and {seeds}")
    check_numbers(archs=archs, seeds=seeds)
    check_numbers(steps=steps)
    execution = Execution.asked(
        device=device,
        precision=precision,
        cuda_graph=cuda_graph,
        workers=workers,
        processes=processes,
        strict=strict,
        seed=seed,
    )
    named, _alive = chosen_data(data, task, DATA)
    data = str(named)
    asked_recipe(recipe, ANY)  # refused before anything is read
    Budget.parse(flops, largest=10**9)  # the grammar, before anything slow
    find_data(data)
    target = aimed(find_space(space)(), family_of(data))
    trained = space_for(data, target)
    learned = make_task(data, trained.resolution, strict=strict)
    if not learned.is_demonstration:
        target = fitted(target, learned)
    trained = fitted(trained, learned)
    check_amounts(recipe, type(learned))
    chosen = asked_recipe(recipe, default_recipe(target, learned))
    entrants = random_archs(absolute_space(space), target, trained, flops, archs, seed)
    folder = Path(out) if out else Path("runs", "proxy")
    about = learned.describe()
    entries = trainings(
        entrants,
        seeds,
        data=data,
        task=learned,
        recipe=chosen,
        steps=steps,
        execution=execution,
        split="weights",
    )
    jobs = [job for _, job in entries]
    results = train_all(jobs, folder, report)
    result = {
        "space": target.name,
        "flops": flops,
        "data": data,
        "recipe": chosen.name,
        "steps": steps,
        "archs": archs,
        "seeds": seeds,
        **_figures(entrants, [results[job.key] for job in jobs], learned.metrics),
        "seconds": time.perf_counter() - start,
        "out": str(folder),
        "record": circumstances(execution) | execution.numerics | {"data_record": about},
    }
    asked = {name: result[name] for name in _ASKED} | {"seed": seed, "options": trained.options}
    digest = hash_of(str(asked | execution.numerics))
    write_json(folder / f"{target.name}-{chosen.name}-{digest}.json", result)
    return result


def random_archs(
    family: str, target: Space, trained: Space, flops: str, count: int, seed: int
) -> list[Contestant]:
    """Return so many different archs, uniform over the band of the budget."""
    band = band_of(target, parse_budget(flops, target)).bounds
    drawn = sample(target, 20 * count, seed, band)
    rows = np.stack(list(drawn.values()), 1).tolist()
    different = list(dict.fromkeys(map(tuple, rows)))[:count]
    if len(different) < count:
        raise ValueError(
            f"met only {len(different)} different archs of {target.name} with {band}; "
            "take fewer --archs or a wider budget"
        )
    result = []
    for number, row in enumerate(different, 1):
        arch = target.arch_at(dict(zip(drawn, row, strict=True)))
        counts = target.cost.count(target.indices(arch))
        result.append(
            Contestant(
                name=f"random-{number}",
                kind="random",
                family=family,
                options=trained.options,
                choices=dict(arch.choices),
                flops=counts["flops"],
                params=counts["params"],
            )
        )
    return result


def _figures(
    entrants: Sequence[Contestant], results: Sequence[Result], metrics: Sequence[Metric]
) -> dict[str, Any]:
    """Return the statistics of finished trainings, which come seed by seed."""
    first, other = metrics[0], gaining(metrics)

    def table(metric: Metric) -> Any:
        values = [result.metrics[f"architecture_{metric.name}"] for result in results]
        return np.array(values).reshape(-1, len(entrants)).T

    values_AS, others_AS = table(first), table(other)
    if not np.isfinite(values_AS).all():
        raise RuntimeError("a training diverged; take a recipe with a lower learning rate")
    params_A = [float(entrant.params) for entrant in entrants]
    figures = signal(first.cost(values_AS), others_AS, params_A)
    icc = figures["icc_loss"]
    warning = None
    if icc is None or icc < ENOUGH:
        share = "no share" if icc is None else f"{icc:.2f}"
        warning = (
            f"{share} of the variance of the {first.word} is due to the arch, less than {ENOUGH}: "
            "one training can hardly rank archs here; train longer or shorter, widen the space, or "
            "average over seeds"
        )
    return {
        **figures,
        "warning": warning,
        first.key("mean"): float(values_AS.mean()),
        first.key("between_archs"): float(values_AS.mean(1).std(ddof=1)),
        first.key("between_seeds"): float(np.sqrt(values_AS.var(1, ddof=1).mean())),
        other.key("mean"): float(others_AS.mean()),
        "cpu_seconds": sum(result.cpu_seconds for result in results),
    }
