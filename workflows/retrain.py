"""Retraining what a search found."""

from __future__ import annotations

import glob
import hashlib
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..comparison.jobs import TrainingJob, job_of, keep_training
from ..core.arch import Arch
from ..core.arguments import known_arguments, typed_arguments
from ..core.checkpoint import load_checkpoint
from ..core.files import write_atomically
from ..core.loop import Report, are_seconds
from ..core.run import Run, fresh_run, held, write_json
from ..core.space import Space
from ..evaluators.best import LOWER, check_finite
from ..evaluators.inherit import load_supernet
from ..evaluators.train import Training
from ..records.data import chosen_data
from ..records.execution import Execution, executed
from ..records.manifest import check_same_data, circumstances, manifest_of
from ..records.naming import (
    check_length,
    check_numbers,
    found_in,
    resolve,
    spaces_of,
    trained_space,
    training_folder,
)
from ..records.trust import keep_code
from ..records.weights import save_weights
from ..tasks.named import DATA, family_of, find_data, make_task
from ..tasks.own import is_own, record_of
from ..training.changes import asked_changes
from ..training.inherit import inherit as inherit_weights
from ..training.recipe import ANY, recipe_hash
from ..training.recipes import asked_recipe, check_amounts, default_recipe
from ..training.skipped import remember_skipped
from ..training.task import Task, aimed, first_cost, fitted
from .evaluate import answers_file, by_class, test_answers, test_baselines, write_answers
from .guarding import guarded_call
from .moved import MOVED
from .pictures import IN_REPORT, drawn, keep
from .planning import trainings_told
from .progress import following


@known_arguments(MOVED)
@typed_arguments
@guarded_call()
def retrain(
    what: str | Path,
    *,
    data: Any = None,
    task: Any = None,
    inherit: bool = False,
    hold_out: bool = False,
    recipe: str | Path | Mapping[str, Any] | None = None,
    steps: int | None = None,
    execution: Execution | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    progress: bool | Report = True,
) -> dict[str, Any]:
    """Train an arch from scratch and test it once, at the end.

    On embedded data the proxy is trained, on the user's data the target. A killed training goes
    on when the same command is given again.

    Args:
        what: run folder of a finished search, arch.json or published name.
        data: as for search; the run's own, or digits-photo, if None.
        task: as for search.
        inherit: start from the supernet's weights instead of from scratch.
        hold_out: train on three quarters, and keep the weights that do best on the last one.
        recipe: as for search; the short one on embedded data, else the space's, with what is
            asked for.
        steps: number of updates; the recipe's epochs if None.
        execution: on which device, in which precision... The network is tested in float32.
        seed: of initialisation and batches, the execution's if None.
        out: folder of an arch.json or a published name, `runs/NAME` if None.
        progress: whether to show it, or what receives its events instead.

    Returns:
        `run`, `weights` (a .safetensors file), `network` (options trained), `data`,
        `num_skipped`, `metrics`, `baselines` as of `evaluate`, `classes` and in their order
        `class_top1_percents`, as `weakest_classes` a line about these, and as `record` what else
        decided them.
    """
    check_numbers(steps=steps)
    execution = executed(execution, seed)
    recipe = str(recipe) if isinstance(recipe, Path) else recipe
    _, changes = asked_changes(recipe)
    asked_recipe(recipe, ANY)  # refused before anything is read
    check_length(steps, changes.get("epochs"))
    is_run = task is not None and Path(what).is_dir()
    usual = Run.open(Path(what)).manifest.data if is_run else None
    data, _alive = chosen_data(data, task, usual)
    how = circumstances(execution)
    with _run_of(what, data, out, how) as run:
        _, arch = found_in(run)
        data = data or run.manifest["data"]
        find_data(data)
        space = trained_space(run, data)
        task = make_task(data, space.resolution, workers=execution.workers, strict=execution.strict)
        space = fitted(space, task)
        about = task.describe()
        if inherit and data == run.manifest["data"]:
            check_same_data(run, task)
        check_amounts(recipe, type(task))
        chosen = asked_recipe(recipe, default_recipe(space, task))
        start = "inherit" if inherit else "held-out" if hold_out else "scratch"
        length = "full" if steps is None else steps
        way = execution.memory
        way += "" if execution.precision == "float32" else f"-{execution.precision}"
        way += "-graph" * execution.cuda_graph
        about_it = (_short(data, task, about), execution.seed, start, chosen.slug, length, way)
        name = "-".join(map(str, ("retrain", *about_it)))
        if "data_record" not in run.manifest:
            run.update_manifest({"data_record": about})
        with _threads_of(run, name):
            training = Training(
                network=_start(run, space, arch, task, inherit, execution.seed),
                task=task,
                recipe=chosen,
                seed=execution.seed,
                steps=steps,
                device=execution.place,
                memory=execution.memory,
                precision=execution.precision,
                cuda_graph=execution.cuda_graph,
                run=run,
                name=name,
                split="weights" if hold_out else "train",
            )
            record = how | {
                "threads": torch.get_num_threads(),
                "recipe": chosen.name,
                "recipe_sha256": recipe_hash(chosen),
                "steps": steps,
                "start": start,
                **execution.numerics,
                "data_record": about,
            }
            job = None
            if start == "scratch":  # as `compare` trains it too
                job = job_of(run, training, space, arch, data, execution)
                _note(run, job)
            with following(progress) as report:
                result = _train(run, training, space, arch, data, record, report)
            if job is not None and run.manifest.jobs_of_trainings.get(name) == job.key:
                keep_training(run, job, result["metrics"], task.skipped, _spent(run, name))
            return result


@contextmanager
def _threads_of(run: Run, name: str) -> Iterator[None]:
    """Compute on as many threads as the training of that name began with, so that it rounds alike.

    They are in the manifest of the run, as those of a search are.
    """
    before = torch.get_num_threads()
    begun = run.manifest.get("threads_of_trainings", {})
    if name not in begun:
        run.update_manifest({"threads_of_trainings": begun | {name: before}})
    torch.set_num_threads(begun.get(name, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _note(run: Run, job: TrainingJob) -> None:
    """Note as which job the training of that name begins; what has a checkpoint has begun.

    Weights that another version or other code has trained are not those of the job of today.
    """
    if not any((run.path / "checkpoints").glob(f"{glob.escape(job.title)}-last*")):
        begun = run.manifest.jobs_of_trainings | {job.title: job.key}
        run.update_manifest({"jobs_of_trainings": begun})


def _short(data: str, task: Task, about: dict[str, Any]) -> str:
    """Return a name for data that tells two paths of the same kind apart, and their contents."""
    kind, colon, path = data.partition(":")
    content = " ".join([path, about["train_sha256"], *map(str, task.sizes.values())])
    return f"{kind}-{hashlib.sha256(os.fsencode(content)).hexdigest()[:8]}" if colon else kind


def _train(
    run: Run,
    training: Training,
    space: Space,
    arch: Arch,
    data: str,
    record: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Train, test and write what came out."""
    task = training.task
    skipped = run.path / f"{training.name}-skipped.json"
    size = task.size(training.split)
    what = f"training a network of {space.name}"
    report = trainings_told(report, task, what, training.recipe, size, training.steps)
    trained = training.fit(remember_skipped(task, skipped, report))
    check_finite(training.diverged_at, training.restored_from, report)
    metrics, answers = test_answers(trained, task, training.device)
    if not math.isfinite(first_cost(task, metrics, "test")):
        first = task.metrics[0].title
        raise RuntimeError(f"the trained network has no finite test {first}: {LOWER}")
    tested = dict(metrics)
    metrics["weight_bytes"] = float(sum(p.numel() * 4 for p in trained.parameters()))
    metrics["train_seconds"], metrics["train_cpu_seconds"] = _spent(run, training.name)
    weights = run.path / f"{training.name}.safetensors"
    save_weights(
        trained,
        weights,
        space,
        arch,
        {"space": space.name, "data": data},
        preprocessing=task.preprocessing,
        classes=task.class_names,
    )
    keep(weights, drawn(trained, task, IN_REPORT, training.device))
    if answers is not None:
        write_answers(answers_file(weights), answers, data, tested)
    result = {
        "run": str(run.path),
        "weights": str(weights),
        "network": space.options,
        "data": data,
        **({"task_record": record_of(type(task))} if is_own(data) else {}),
        "preprocessing": None if task.preprocessing is None else task.preprocessing.to_json(),
        "classes": task.class_names,
        "num_skipped": task.num_skipped,
        "metrics": metrics,
        "baselines": test_baselines(task),
        **by_class(answers),
        "record": record,
    }
    write_json(run.path / "retrain.json", result)
    return result


def _spent(run: Run, name: str) -> tuple[float, float]:
    """Return wall and CPU seconds up to the last step, which no repeated command adds to."""
    folder = run.path / "checkpoints"
    saved = load_checkpoint(folder, f"{name}-last")
    if saved is None or not are_seconds(saved[1].get("spent")):
        raise ValueError(f"{folder / name}-last is gone or damaged: remove {folder} and retrain")
    wall, cpu = saved[1]["spent"]
    return wall, cpu


@contextmanager
def _run_of(
    what: str | Path, data: str | None, out: str | Path | None, how: dict[str, Any]
) -> Iterator[Run]:
    """Hold the run of a folder, or the one that holds an arch.json or published network."""
    if Path(what).is_dir():
        if out is not None:
            raise ValueError(f"{what} is a run, which is trained in its own folder: no --out")
        with held(Run.open(Path(what))) as run:
            yield run
        return
    space, arch = resolve(what)
    folder = Path(out) if out else training_folder(what)
    about: dict[str, Any] = {}
    if (folder / "manifest.json").is_file():
        holding = held(Run.open(folder))
    else:
        data = data or DATA
        find_data(data)  # refused before anything is written
        target = aimed(space, family_of(data))
        about = manifest_of(space=space.name, target=target, proxy=target.proxy(), data=data)
        holding = fresh_run(folder, about | how)
    with holding as run:
        if code := keep_code(about, run.path):
            run.update_manifest({"code": code})
        if not run.arch_path.is_file() and "strategy" not in run.manifest:
            write_atomically(run.arch_path, arch.to_json().encode())
        if run.arch.to_json() != arch.to_json():  # tuples among the options are lists in JSON
            raise ValueError(
                f"{folder} is the run of another arch; choose another folder with --out"
            )
        yield run


def _start(run: Run, space: Space, arch: Arch, task: Task, inherit: bool, seed: int) -> nn.Module:
    if not inherit:
        return space.build(arch.choices, seed=seed)
    if space.options != spaces_of(run)[1].options:
        raise ValueError("inherited weights fit the proxy only: retrain on the search's own data")
    supernet = load_supernet(run.path, space)
    return inherit_weights(supernet, arch.choices, task, seed=seed)
