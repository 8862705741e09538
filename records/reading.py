"""What a run folder says about a search becomes the problem that its strategy works on."""

from __future__ import annotations

import dataclasses

from ..core.budget import parse_budget, recorded_budget
from ..core.resolution import ResolutionLike, resolution_of
from ..core.run import Run
from ..core.space import Space
from ..search_spaces.blocks import MOST_FACTOR
from ..tasks.named import is_embedded, make_task
from ..training.strategy import Problem
from ..training.task import Task, fitted
from .execution import Execution
from .manifest import check_same_data, manifest_of
from .naming import space_for, spaces_of


def problem_of(run: Run) -> Problem:
    """Return the problem of a run; the first call reads budget and data into the manifest.

    Raises:
        InfeasibleBudgetError: if no arch can meet the budget.
        ValueError: if the data have changed since the first call.
    """
    if run.manifest.limits is not None:
        task = _task_of(run)
        check_same_data(run, task)
    else:
        task = _begun(run)
    manifest = run.manifest
    target, proxy = spaces_of(run)
    how = Execution.of_run(manifest)
    return Problem(
        space=target,
        proxy=proxy,
        task=task,
        budget=recorded_budget(manifest),
        seed=how.seed,
        device=how.place,
        memory=how.memory,
        precision=how.precision,
        cuda_graph=how.cuda_graph,
        recipe=manifest.recipe_changes.given if manifest.recipe_changes else {},
    )


def _task_of(run: Run) -> Task:
    manifest, resolution = run.manifest, spaces_of(run)[1].resolution
    return make_task(manifest.data, resolution, workers=manifest.workers, strict=manifest.strict)


def _begun(run: Run) -> Task:
    """Complete the manifest of a run by its budget and what its data say, and return its task."""
    manifest = run.manifest
    target, proxy = spaces_of(run)
    takes_classes = not is_embedded(manifest.data) and manifest.target_classes is None
    if not manifest.asked:
        raise ValueError(f"{run.manifest_path} says no budget: it is of no search")
    # Where the data do not decide it, an infeasible budget is refused before they are read.
    budget = None if takes_classes else parse_budget(manifest.asked, target)
    task = _task_of(run)
    if budget is None:
        target = fitted(target, task)
        budget = parse_budget(manifest.asked, target)
    proxy = fitted(proxy, task)
    entries = manifest_of(space=manifest.space, target=target, proxy=proxy, data=manifest.data)
    bounds = {"budgets": budget.to_json(), "data_record": task.describe()}
    run.update_manifest(entries | bounds)
    return task


def proxy_of(
    target: Space, data: str, scale: float | None, resolution: ResolutionLike | None
) -> Space:
    """Return the space to train: the space's own proxy on embedded data, else the target.

    Args:
        target: the space whose cost is counted.
        data: name of the data, `KIND:...` if they are the user's.
        scale: channel factor of the proxy; its own if None.
        resolution: pixels of the proxy; its own if None.

    Raises:
        ValueError: if the space has no such factor.
    """
    proxy = space_for(data, target)
    if scale is not None:
        if not 0 < scale <= MOST_FACTOR:
            raise ValueError(
                f"--proxy-scale takes a factor above 0 and at most {MOST_FACTOR:,}, for example "
                f"0.35; got {scale}"
            )
        if "scale" not in proxy.options:
            raise ValueError(f"space {target.name!r} has no channel scale; leave out --proxy-scale")
        proxy = dataclasses.replace(proxy, **{"scale": scale})
    if resolution is None:
        return proxy
    return dataclasses.replace(proxy, resolution=resolution_of(resolution, "--proxy-resolution"))
