"""One search, from what its run records to what it leaves there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..core.arch import Arch
from ..core.band import band_of, say_band, say_evaluated
from ..core.dead import dead_in_words, dead_operators
from ..core.files import write_atomically
from ..core.loop import Report
from ..core.machine import peak_memory_bytes
from ..core.run import Run, write_json
from ..core.standing import Parts
from ..records.counted import write_counts
from ..records.execution import Execution
from ..records.plugins import check_found
from ..records.reading import problem_of
from ..training.skipped import remember_skipped
from ..training.strategy import Problem
from .fronts import add_to_front, asked_front
from .planning import announced, planned
from .trials import close_trials, open_pool


def search_in(run: Run, execution: Execution, report: Report) -> dict[str, Any]:
    """Begin the search of a run or go on with it, and return its result.

    Args:
        run: held by the caller.
        execution: how it was begun; its evaluations at a time may be others.
        report: receives progress events.

    Raises:
        ValueError: if something that the run records cannot be used, or has changed.
        InfeasibleBudgetError: if no arch can meet the budget.
    """
    problem = problem_of(run)
    strategy = planned(run, problem)
    if problem.cuda_graph and not strategy.can_record(problem.space):
        raise ValueError(
            "this strategy runs other candidates of this space in each step, so that no step can "
            "stand for the others: leave out --cuda-graph"
        )
    task = problem.task
    report = announced(run, problem, strategy, report)
    report = remember_skipped(task, run.path / "skipped.json", report)
    parts = Parts(report)
    if at_a_time := strategy.at_a_time(problem.space):
        pool = partial(open_pool, run, problem, execution, at_a_time, parts.part)
        problem = dataclasses.replace(problem, pool=pool)
    target = problem.space
    about = say_band(run, target, problem.budget, report)
    budgets = asked_front(run, problem)  # one that no arch keeps is refused before the search
    band = band_of(target, problem.budget).bounds
    arch = strategy.search(problem, run, parts)
    counted = check_found(strategy.name, arch, target, problem.budget)
    target.check_count(arch)
    write_counts(run, target, arch)
    write_atomically(run.arch_path, arch.to_json().encode())
    peak = max(peak_memory_bytes(), close_trials(run))
    seconds, cpu_seconds = run.clock.spent
    events = run.events()
    result = {
        "run": str(run.path),
        "arch_id": arch.id,
        "flops": counted["flops"],
        "params": counted["params"],
        "activations": counted["activations"],
        "budget_flops": None if (limit := problem.budget.of("flops")) is None else limit.high,
        "budgets": problem.budget.to_json(),
        "band": None if (flops := band.of_metric("flops")) is None else [flops.low, flops.high],
        **about,
        **say_evaluated(run, report),
        "entropy": last_entropy(events),
        "num_skipped": task.num_skipped,
        "dead": _say_dead(problem, arch, report),
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory_bytes": peak,
    }
    if budgets:
        result["front"] = add_to_front(run, problem, budgets, report)
    write_json(run.path / "result.json", result)
    return result


def last_entropy(events: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the entropy of the logits at the end of a search, None where there are none."""
    entropies = [event["entropy"] for event in events if event.get("entropy") is not None]
    return float(entropies[-1]) if entropies else None


def _say_dead(problem: Problem, arch: Arch, report: Report) -> list[str] | None:
    """Return the dead operators of what was found; say so where there are any.

    None where the network does not run in a probe of them, as only a user's own might not.
    """
    network = problem.proxy.build(arch.choices)
    try:
        dead = dead_operators(network, problem.proxy.inputs())
    except Exception as error:  # of the user's code: the search has its result all the same
        reason = str(error).partition("\n")[0]
        line = f"could not look for dead operators in the found network: {reason:.200}"
        report({"phase": "dead", "step": 1, "total": 1, "say": f"warning: {line}"})
        return None
    if dead:
        way_out = "; --space-set alive=true excludes such archs"
        line = dead_in_words(dead) + (way_out if "alive" in problem.space.options else "")
        report({"phase": "dead", "step": 1, "total": 1, "say": f"warning: {line}"})
    return dead
