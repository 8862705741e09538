"""Searches against random archs and most-params at equal total cost: curves over trainings.

python -m nastk.benchmarks.curves --folder curves

Searches spend their cost on a supernet and on finalists, random search on trained candidates, of
which the loss on the architecture split chooses one; most-params costs nothing. What they choose
after so many trainings is trained anew by the same recipe and measured on the test split. Given
again, the command goes on with what its folder lacks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nastk
import torch
from nastk.benchmarks.equal_cost import chosen, difference, random_curve
from nastk.benchmarks.tables import table
from nastk.comparison.jobs import TrainingJob, train_all
from nastk.comparison.ranking import ceiling, tau
from nastk.core.arch import Arch
from nastk.core.band import band_of
from nastk.core.best import most_params
from nastk.core.budget import parse_budget
from nastk.core.job import Result
from nastk.core.run import write_json
from nastk.core.sampler import sample_archs
from nastk.evaluators.train import Training
from nastk.records.execution import Execution
from nastk.search_spaces import SPACES
from nastk.tasks.named import make_task
from nastk.training.recipes import RECIPES
from nastk.training.task import Task
from nastk.training.task import measure as measured_on

# A archs, S seeds

POINTS = (2, 4, 8, 16)
POOL_SEED = 1234  # of the random archs
CHOOSING_SEED = 100  # of the trainings by which random search chooses
# By strategy: what its trained archs are called, and how many more there are for the price of no
# supernet.
CONTENDERS = {
    "meta_kernel": ("finalists", 0),
    "gumbel": ("finalists", 0),
    "thompson": ("evaluations", 4),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is compared on.

    Attributes:
        space: name of a space that is its own proxy.
        flops: the budget.
        data: embedded data by name.
        folder: where trainings and searches are kept.
        processes: trainings at a time, of what is no search.
    """

    space: str
    flops: str
    data: str
    folder: Path
    processes: int = 1

    @property
    def name(self) -> str:
        """What tells the results of settings in one folder apart."""
        return f"{self.space}-{self.flops}-{self.data}"

    def job(self, arch: Arch, seed: int, split: str = "train") -> TrainingJob:
        """Return one training of an arch."""
        space, task = SPACES[self.space](), self.task
        recipe = RECIPES[space.short_recipe]
        return TrainingJob(
            title=f"the training of {arch.id} with seed {seed}",
            space=self.space,
            options=space.options,
            choices=dict(arch.choices),
            data=self.data,
            data_sha256=task.describe()["train_sha256"],
            recipe=recipe,
            steps=recipe.num_steps(task.size(split)),
            execution=Execution(processes=self.processes, seed=seed),
            split=split,
        )

    @cached_property
    def task(self) -> Task:
        """The data."""
        return make_task(self.data, SPACES[self.space]().resolution)

    def results(self, archs: Sequence[Arch], seeds: int, split: str) -> list[list[Result]]:
        """Return [A, S] results of archs, trained where they have not been."""
        first = 0 if split == "train" else CHOOSING_SEED
        jobs = [[self.job(a, first + s, split) for s in range(seeds)] for a in archs]
        folder = self.folder / "trainings"
        results = train_all([job for row in jobs for job in row], folder, _show)
        return [[results[job.key] for job in row] for row in jobs]

    def train(self, archs: Sequence[Arch], seeds: int, split: str = "train") -> list[list[float]]:
        """Return [A, S] losses of archs, trained where they have not been."""
        name = self.job(archs[0], 0, split).needs[0]
        return [[r.metrics[name] for r in row] for row in self.results(archs, seeds, split)]

    def seconds(self, archs: Sequence[Arch], split: str) -> float:
        """Return the median CPU seconds of the trainings of archs."""
        return statistics.median(row[0].cpu_seconds for row in self.results(archs, 1, split))


def _show(event: Mapping[str, Any]) -> None:
    print(
        {key: event[key] for key in ("phase", "step", "total", "loss") if key in event}, flush=True
    )


def history(setting: Setting, contender: str, seed: int, most: int) -> list[dict[str, Any]]:
    """Return what a search has spent and would choose, after its supernet and after each trial.

    The cost is counted in trainings of most-params, one of which is timed beside the search.

    Args:
        setting: what is searched.
        contender: name in `CONTENDERS`.
        seed: of the search.
        most: finalists or evaluations of the longest search.
    """
    file = setting.folder / "searches" / f"{setting.name}-{contender}-{seed}-{most}.json"
    if file.is_file():
        found: list[dict[str, Any]] = json.loads(file.read_text())
        return found
    count, more = CONTENDERS[contender]
    points: list[dict[str, Any]] = []
    one = time_training(setting)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")

        def note(event: Mapping[str, Any]) -> None:
            if event.get("choice") is not None:
                spent = json.loads((run / "spent.json").read_text())[1]
                cost = {"trainings": spent / one, "cpu_seconds": spent}
                points.append(cost | {"choices": dict(event["choice"].choices)})

        nastk.search(
            setting.space,
            setting.flops,
            data=setting.data,
            strategy=nastk.Named(contender, {count: most + more}),
            seed=seed,
            execution=Execution(processes=1),
            out=run,
            progress=note,
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, points)
    return points


def time_training(setting: Setting) -> float:
    """Return the CPU seconds of one training of most-params, its data in memory."""
    space = SPACES[setting.space]()
    task = make_task(setting.data, space.resolution)
    task.size("test")
    top = most_params(space, parse_budget(setting.flops, space))
    start = time.process_time()
    training = Training(
        network=space.build(top.choices),
        task=task,
        recipe=RECIPES[space.short_recipe],
    )
    measured_on(training.fit(), task)
    return time.process_time() - start


def rows_of(
    curves: Mapping[str, Mapping[int, Sequence[float]]],
    drawn: Mapping[int, tuple[float, float]],
    most: tuple[float, float],
) -> list[dict[str, Any]]:
    """Return one row a contender and cost: mean loss, and what it is less than its rivals'."""
    rows = []
    for name, by_cost in curves.items():
        for cost, losses in by_cost.items():
            row = {"search": name, "trainings": cost, "loss": statistics.mean(losses)}
            for rival, (loss, error) in (("random", drawn[cost]), ("most-params", most)):
                middle, low, high = difference(losses, loss, error)
                row[rival] = loss
                row[f"minus {rival}"] = f"{middle:+.3f} ({low:+.3f} to {high:+.3f})"
            rows.append(row)
    return rows


def measure(setting: Setting, options: argparse.Namespace) -> dict[str, Any]:
    """Train and search what is missing, and return the curves."""
    space = SPACES[setting.space]()
    budget = parse_budget(setting.flops, space)
    archs = sample_archs(space, options.random, POOL_SEED, band_of(space, budget).bounds)
    top = most_params(space, budget)
    losses_AS = setting.train(archs, options.retrainings)
    told_A = [row[0] for row in setting.train(archs, 1, "weights")]
    one, choosing = setting.seconds(archs, "train"), setting.seconds(archs, "weights")
    means_A = [statistics.mean(row) for row in losses_AS]
    counts = [max(1, int(point * one / choosing)) for point in POINTS]
    params = [space.cost.count(space.indices(arch))["params"] for arch in archs]
    (top_S,) = setting.train([top], options.most_params_seeds)
    curves: dict[str, dict[int, list[float]]] = {}
    for name in options.searches:
        points = [history(setting, name, s, options.finalists) for s in range(options.seeds)]
        curves[name] = {
            cost: _retrained(setting, [chosen(p, cost) for p in points], options.retrainings)
            for cost in POINTS
            if all(chosen(p, cost) for p in points)
        }
    error = statistics.stdev(top_S) / len(top_S) ** 0.5
    random = dict(zip(POINTS, random_curve(told_A, means_A, counts), strict=True))
    most = (statistics.mean(top_S), error)
    return {
        "rows": rows_of(curves, random, most),
        "curves": curves,
        "random": random,
        "most_params": top_S,
        "random_mean": statistics.mean(means_A),
        "training_cpu_seconds": one,
        "choosing_cpu_seconds": choosing,
        "candidates": dict(zip(POINTS, counts, strict=True)),
        "taus": {
            "ceiling": ceiling(losses_AS),
            "params": tau(params, means_A),
            "one training on three quarters": tau([-loss for loss in told_A], means_A),
        },
    }


def _retrained(
    setting: Setting, found: Sequence[Mapping[str, Any] | None], seeds: int
) -> list[float]:
    """Return the mean test loss of what each search has chosen."""
    space = SPACES[setting.space]()
    archs = [space.arch(choices) for choices in found if choices is not None]
    return [statistics.mean(row) for row in setting.train(archs, seeds)]


def setting_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser of what `setting_of` needs, seeds and retrainings, for programs as this one.

    Args:
        doc: of the program.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--space", default="sandglass-micro")
    parser.add_argument("--flops", default="0.8M")
    parser.add_argument("--data", default="digits-photo")
    parser.add_argument("--folder", type=Path, required=True, help="of trainings and searches")
    parser.add_argument("--seeds", type=int, default=5, help="searches of each, seeds from 0")
    parser.add_argument("--retrainings", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="trainings at a time")
    return parser


def setting_of(options: argparse.Namespace) -> Setting:
    """Return what is compared on, by the options of `setting_parser`."""
    names = ("space", "flops", "data", "folder", "processes")
    return Setting(**{name: getattr(options, name) for name in names})


def main() -> None:
    """Measure and print."""
    parser = setting_parser(__doc__)
    parser.add_argument(
        "--searches", nargs="+", choices=CONTENDERS, default=["meta_kernel", "thompson"]
    )
    parser.add_argument("--finalists", type=int, default=16)
    parser.add_argument("--random", type=int, default=32, help="random archs that are trained")
    parser.add_argument("--most-params-seeds", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = setting_of(options)
    result = measure(setting, options)
    write_json(options.folder / f"{setting.name}.json", result)
    print("\n".join(table(result["rows"])))
    for key in ("random", "random_mean", "most_params", "training_cpu_seconds", "taus"):
        print(key, result[key])


if __name__ == "__main__":
    main()
