"""Evidence behind a search: random archs of its budget trained alike, and what ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..comparison.contestants import Contestant, contestants
from ..comparison.jobs import TRAININGS, train_all, trainings
from ..comparison.ranking import judge, rank_scores
from ..comparison.summary import summary
from ..core.best import log_probability_of
from ..core.clock import cpu_seconds
from ..core.files import load_json
from ..core.lookup import lookup
from ..core.loop import Report
from ..core.ranked import as_ranked
from ..core.record import checked, read_record
from ..core.run import Run, held, write_json
from ..core.space import Space
from ..evaluators.inherit import Inherit, load_supernet
from ..records.execution import Execution
from ..records.naming import space_for
from ..records.reading import problem_of
from ..records.results import Evidence, Figure, SearchResult
from ..records.trust import code_name
from ..strategies.reading import has_ranking, read_log_probs, read_ranking
from ..training.recipe import recipe_hash
from ..training.strategy import Problem
from ..training.task import first_cost, fitted
from .planning import recipe_of, trainings_told


@dataclass(frozen=True, kw_only=True)
class Level:
    """How much evidence is made.

    Attributes:
        num_random: random archs of the band, trained beside the found one and those of free rules.
        seeds: trainings of each.
        share: of the recipe's updates that each training gets. A quarter ranks nearly as well as
            the whole where the rate falls to zero within it.
    """

    num_random: int
    seeds: int
    share: float


LEVELS = {
    "quick": Level(num_random=6, seeds=1, share=0.25),
    "full": Level(num_random=16, seeds=3, share=1.0),
}


def add_evidence(
    folder: Path, result: dict[str, Any], level: str, report: Report
) -> dict[str, Any]:
    """Return the result of a finished search with its evidence, made where it is missing.

    Args:
        folder: of the run.
        result: of the search.
        level: `quick` or `full`; full evidence is quick evidence too.
        report: receives progress events.

    Raises:
        ValueError: if the level is unknown.
    """
    run = Run.open(folder)
    lookup("evidence", level, LEVELS)
    file = folder / "evidence.json"
    made = dict(read_record(file, Evidence)) if file.is_file() else None
    if made is None or (level == "full" and made["level"] != level):
        with held(run):
            run.update_manifest({"evidence": level})
            made = gather(run, level, report)
            write_json(file, made)
    return result | {"evidence": made}


def gather(run: Run, level: str, report: Report) -> dict[str, Any]:
    """Train the archs and score them; what a killed process had trained is not trained again.

    Returns:
        `level data recipe recipe_sha256 steps steps_of_the_recipe`, what
        `nastk.comparison.summary.summary` says, its `rows` with `scores`, `inherited_seconds`,
        `share_percent` (cost of the evidence as a share of the search's), `ranking` and
        `verdict` (see `nastk.comparison.ranking`).
    """
    problem, wanted = problem_of(run), LEVELS[level]
    first = problem.task.metrics[0]
    data = run.manifest["data"]
    trained = space_for(data, problem.space, problem.proxy)
    trained = fitted(trained, problem.task)
    recipe = recipe_of(run, trained, problem.task)
    entrants = contestants(
        family=code_name("space", run.manifest, run.path),
        target=problem.space,
        proxy=trained,
        arch=run.arch,
        budget=problem.budget,
        num_random=wanted.num_random,
        seed=problem.seed,
        with_references=False,
    )
    whole_size = problem.task.size("train")
    whole = recipe.num_steps(whole_size)
    steps = max(1, int(wanted.share * whole))
    entries = trainings(
        entrants,
        wanted.seeds,
        data=data,
        task=problem.task,
        recipe=recipe,
        steps=steps,
        execution=Execution.of_run(run.manifest),
    )
    jobs = [job for _, job in entries]
    what = f"evidence: {len(jobs)} trainings, each"
    length = None if steps == whole else steps
    told = trainings_told(report, problem.task, what, recipe, whole_size, length)
    results = train_all(jobs, run.path / TRAININGS, told)
    scores, seconds = _scores(run, problem, entrants, report)
    summed = summary(entries, results)
    rows = [row | {"scores": scores[row["name"]]} for row in summed.pop("rows")]
    spent = _seconds_of_search(run)
    paid, one = summed["device_seconds"], summed["training_seconds"] * whole / steps
    return {
        "level": level,
        "data": data,
        "recipe": recipe.name,
        "recipe_sha256": recipe_hash(recipe),
        "steps": steps,
        "steps_of_the_recipe": whole,
        "rows": rows,
        **summed,
        "inherited_seconds": seconds,
        "share_percent": 100 * (paid + seconds) / spent if spent else None,
        "ranking": rank_scores(rows, first),
        "verdict": judge(rows, spent / one, steps / whole, metric=first),
    }


def _scores(
    run: Run, problem: Problem, entrants: Sequence[Contestant], report: Report
) -> tuple[dict[str, dict[str, float]], float]:
    """Return by arch what the search says of it, higher being better, and the seconds it took.

    `learned` is its score in the ranking of a search by mixtures, else the logarithm of its
    probability at the end of the search; `inherited` is minus its
    loss on the architecture split with the supernet's weights. Black-box searches say neither,
    single path only the second.
    """
    scores: dict[str, dict[str, float]] = {entrant.name: {} for entrant in entrants}
    for name, score in _learned(run, problem.space, entrants).items():
        scores[name]["learned"] = score
    if not any((run.path / "checkpoints").glob("last*")):
        return scores, 0.0
    file = run.path / "inherited.json"
    known: dict[str, float | None] = {}
    if file.is_file():
        known = checked(load_json(file), dict[str, Figure], str(file))
    evaluator = None
    start, earlier = cpu_seconds(), known.get("seconds") or 0.0
    for number, entrant in enumerate(entrants):
        arch = problem.proxy.arch(entrant.choices)
        if arch.id not in known:
            if evaluator is None:
                supernet = load_supernet(run.path, problem.proxy)
                evaluator = Inherit(problem=problem, supernet=supernet)
            metrics = evaluator.evaluate(arch)
            known[arch.id] = first_cost(problem.task, metrics, "architecture")
            known["seconds"] = earlier + cpu_seconds() - start
            write_json(file, known)
        scores[entrant.name]["inherited"] = -as_ranked(known[arch.id])
        report({"phase": "inherit", "step": number + 1, "total": len(entrants)})
    return scores, known.get("seconds") or 0.0


def _learned(run: Run, space: Space, entrants: Sequence[Contestant]) -> dict[str, float]:
    """Return by arch what a supernet has taught of it, nothing where there was none."""
    if has_ranking(events := run.events()):
        ranking = read_ranking(space, events, run.manifest.seed)
        rows = [space.indices(entrant.choices) for entrant in entrants]
        archs = {name: np.array([row[name] for row in rows]) for name in space.choices()}
        told = ranking.score(archs).tolist()
        return {entrant.name: score for entrant, score in zip(entrants, told, strict=True)}
    if logs := read_log_probs(space, events):
        return {e.name: log_probability_of(space, e.choices, logs) for e in entrants}
    return {}


def _seconds_of_search(run: Run) -> float:
    """Return the seconds of the search: of the CPU, or wall on a GPU."""
    found = read_record(run.path / "result.json", SearchResult)
    return found.cpu_seconds if run.manifest.device == "cpu" else found.seconds
