"""What a search or a training is going to do: decided and said before it starts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..core.clock import in_words
from ..core.loop import Report
from ..core.run import Run
from ..core.space import Space
from ..records.plugins import recorded_strategy
from ..strategies import BlackBox
from ..strategies.length import LEAST_UPDATES, LONG_STEPS, plain_flops
from ..strategies.supernet_strategy import OF_RECIPE, SupernetStrategy
from ..training.recipe import Recipe
from ..training.recipes import asked_recipe, default_recipe
from ..training.strategy import Problem, Strategy
from ..training.task import Task, sizes_of_kind

# The first updates are slow, so that the expected time is told after so long.
_SECONDS_TIMED = 2.0


def recipe_of(run: Run, space: Space, task: Task) -> Recipe:
    """Return the recipe by which a search trains single networks.

    What is asked for where a supernet learns is the supernet's; finalists learn as a retraining
    does, for so many epochs in such batches.
    """
    changes = run.manifest.recipe_changes
    given = changes.given if changes else {}
    if given and isinstance(recorded_strategy(run), SupernetStrategy):
        given = {name: given[name] for name in ("epochs", "batch_size") if name in given}
    return asked_recipe(given, default_recipe(space, task))


def check_followed(
    strategy: Strategy,
    evaluator: str | None,
    changes: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:
    """Refuse changes of a recipe that nothing follows, or that an option of the strategy repeats.

    Args:
        strategy: with all of its options.
        evaluator: of a black-box strategy.
        changes: what is asked for of a recipe, `name` and settings.
        options: fields of the strategy that are given besides.

    Raises:
        ValueError: naming the flag.
    """
    for name in changes:
        is_flag = name in ("epochs", "batch_size", "lr")
        flag = f"--{name.replace('_', '-')}" if is_flag else "--recipe"
        same = OF_RECIPE.get(name)
        if isinstance(strategy, SupernetStrategy):
            if same in options:
                raise ValueError(f"{flag} and --set {same} are one setting: leave one out")
        elif evaluator not in (None, "train"):
            raise ValueError(f"evaluator {evaluator!r} follows no recipe; leave out {flag}")
        elif not isinstance(strategy, BlackBox):
            raise ValueError(f"{strategy.name} follows no recipe; leave out {flag}")
        elif not _trains(strategy):
            raise ValueError(f"random draws a single arch and trains none; leave out {flag}")


def _trains(strategy: BlackBox) -> bool:
    return strategy.name != "random" or len(strategy.shares()) > 1


# Updates of version 0.1 where they are others today, so that its runs go on as they were begun.
_STEPS_OF_0_1 = {"sandglass": 300, "mbconv": 200, "nasbench201": 300}


def planned(run: Run, problem: Problem) -> Strategy:
    """Return the strategy of a run, its length decided; the first call puts that on record.

    On embedded data the space says how long a supernet trains. On the user's it trains at about
    the price of one training of the found network, see `nastk.strategies.length`.
    """
    strategy = recorded_strategy(run)
    fields = {field.name for field in dataclasses.fields(strategy)}
    if run.manifest.length is None:
        run.update_manifest({"length": _length(strategy, run, problem)})
    length = run.manifest.length
    assert length is not None
    decided = {name: value for name, value in length.settings.items() if name in fields}
    return dataclasses.replace(strategy, **decided)


def _length(strategy: Strategy, run: Run, problem: Problem) -> dict[str, int]:
    """Return the settings of a strategy that decide how long it takes, as far as nobody did."""
    if not isinstance(strategy, SupernetStrategy) or strategy.steps is not None:
        return {}
    manifest = run.manifest
    if manifest.versions.get("nastk") == "0.1.0":  # which put no length on record
        space = problem.space
        return {"steps": strategy.share(_STEPS_OF_0_1.get(space.name, space.search_steps))}
    task, changes = problem.task, manifest.recipe_changes
    size, least = task.size("train"), (changes.least_steps if changes else None) or 0
    if changes and changes.epochs:
        steps = changes.epochs * max(1, size // strategy.items_an_update(problem))
    elif task.is_demonstration:
        steps = strategy.num_steps(problem.space)
    else:
        recipe = recipe_of(run, problem.space, task)
        steps = updates_for(strategy, problem, recipe.num_images(size))
    return {"steps": max(least, steps)}


def updates_for(strategy: SupernetStrategy, problem: Problem, images: int) -> int:
    """Return the updates of a supernet that cost about as much as one training.

    It follows from counts alone, so that it is the same on every machine.

    Args:
        strategy: which may ask for several passes a step, also depending on their number.
        problem: what is searched.
        images: that one training of the found network processes.
    """
    ratio = strategy.image_flops(problem) / plain_flops(problem)
    passes = images / (ratio * strategy.items_an_update(problem))
    single = max(LEAST_UPDATES, round(passes))
    factor = strategy.work_left(0, single) / single
    updates = max(LEAST_UPDATES, round(passes / factor))
    is_alike = strategy.work_left(0, updates) / updates > 0.99 * factor
    return updates if is_alike else LONG_STEPS  # the fewest of so many passes


def announced(run: Run, problem: Problem, strategy: Strategy, report: Report) -> Report:
    """Say what was read and what a search will do; the report returned says how long it takes."""
    recipe = recipe_of(run, problem.space, problem.task)
    size = problem.task.size("train")
    shorter = "--steps or --epochs shorten it"
    lines = [what_was_read(problem.task)]
    if isinstance(strategy, SupernetStrategy):
        steps = strategy.num_steps(problem.space)
        batch = strategy.items_an_update(problem)
        lines.append(
            f"{strategy.name} {strategy.work_in_words(steps, batch)}; one training of the found "
            f"network is {what_it_does(recipe, size)}"
        )
        if strategy.finalists:
            lines[-1] += f", and as many follow as finalists: {strategy.finalists}"
        return told(report, lines, partial(_supernet_left, strategy, steps), shorter)
    lines.append(_trials_line(run, strategy, recipe, problem))
    return told(report, lines, left_of, shorter)


def _supernet_left(strategy: SupernetStrategy, steps: int, event: Mapping[str, Any]) -> float:
    """Return the passes of a supernet that are left; what comes behind it does not count."""
    return strategy.work_left(min(event["step"], steps), steps)


def _trials_line(run: Run, strategy: Strategy, recipe: Recipe, problem: Problem) -> str:
    """Say how many archs are evaluated, and by what."""
    if not isinstance(strategy, BlackBox):
        return f"{strategy.name} searches in its own way"
    shares, evaluator = strategy.shares(), run.manifest.evaluator or "train"
    if not _trains(strategy):
        return "random draws one arch of the budget and trains none"
    if evaluator != "train":
        by = evaluator.rpartition("/")[2]
        return f"{strategy.name} evaluates {len(shares)} archs, each by {by}"
    size = problem.task.size("weights")
    one = what_it_does(recipe, size, strategy.steps)
    parts = "" if min(shares) == 1 else ", most for a part of its updates"
    return f"{strategy.name} trains {len(shares)} archs{parts}, each by itself: {one}"


def trainings_told(
    report: Report, task: Task, what: str, recipe: Recipe, size: int, steps: int | None
) -> Report:
    """Say what was read and what trains by which recipe, and soon after for how long.

    Args:
        report: gets every event.
        task: the data.
        what: trains; the recipe follows.
        recipe: by which.
        size: images of an epoch.
        steps: updates of each training; the recipe's epochs if None.
    """
    lines = [what_was_read(task), f"{what}: {what_it_does(recipe, size, steps)}"]
    return told(report, lines, left_of, "--steps or --epochs shorten it")


def what_was_read(task: Task) -> str:
    """Say what the data hold: images, classes, grey or in colour, and what was left out."""
    about = task.describe()
    is_grey = about.get("is_grey")
    colour = "" if is_grey is None else ", grey" if is_grey else ", in colour"
    known = sizes_of_kind(type(task))  # which need not be said of each of its data
    decided = {name: size for name, size in task.sizes.items() if name not in known}
    sizes = "".join(f", {size} {name.removeprefix('num_')}" for name, size in decided.items())
    line = (
        f"{about['name']}: {task.size('train'):,} images to train on, {task.size('test'):,} to "
        f"test{sizes}{colour}"
    )
    if left_out := about.get("left_out"):
        line += "; left out: " + ", ".join(f"{n:,} {reason}" for reason, n in left_out.items())
    if double := about.get("num_test_in_train"):
        looked = about.get("num_test_looked_at", task.size("test"))
        some = "the" if looked == task.size("test") else f"{looked:,}"
        line += f"; {double:,} of {some} test images are among those to train on too"
    return line


def what_it_does(recipe: Recipe, size: int, steps: int | None = None) -> str:
    """Say how long a recipe trains on so many images, unless it is told how long."""
    if steps is not None:
        return f"{steps:,} updates of {recipe.items_an_update} (recipe {recipe.name})"
    steps = recipe.num_steps(size)
    epochs = max(recipe.epochs, round(steps / recipe.steps_an_epoch(size)))
    told = f"{epochs} epoch{'s' * (epochs > 1)}"
    return f"{steps:,} updates of {recipe.items_an_update} (recipe {recipe.name}, {told})"


def left_of(event: Mapping[str, Any]) -> float:
    """Return the steps that are left, parts of those under way taken off where they are known."""
    return float(event["total"] - event.get("done", event["step"]))


def told(
    report: Report,
    lines: list[str],
    left: Callable[[Mapping[str, Any]], float],
    hint: str,
) -> Report:
    """Return a report that says lines before the first event, and the expected time soon after.

    Args:
        report: gets every event, and each line as `say` of one more.
        lines: what is said first.
        left: from an event to the work that is left.
        hint: how it would take less time.
    """
    phase: dict[str, Any] = {"phase": "start", "step": 0, "total": 0}
    for line in lines:
        report(phase | {"say": line})
    start: tuple[float, float] | None = None
    first: float | None = None
    under_way: tuple[str, int] | None = None
    is_said = False

    def tell(event: dict[str, Any]) -> None:
        nonlocal start, first, under_way, is_said
        if "say" in event:
            report(event)
            return
        now, work = time.monotonic(), left(event)
        if under_way != (event["phase"], event["total"]):  # its work is counted anew
            under_way, first, start = (event["phase"], event["total"]), work, None
        if start is None or start[1] == first:  # what comes before the first progress is no measure
            start = now, work
        elapsed, done = now - start[0], start[1] - work
        if not is_said and work > 0 < done and elapsed >= _SECONDS_TIMED:
            is_said = True
            line = f"expected to take {in_words(elapsed / done * work)} from here on; {hint}"
            report(event | {"say": line})
        report(event)

    return tell
