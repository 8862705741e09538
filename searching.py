"""Searching a space under a FLOP budget, and going on with a search."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .core.budget import Budget
from .core.files import read_json, write_atomically
from .core.folder import free_folder
from .core.lookup import lookup
from .core.loop import Report
from .core.precision import find_precision
from .core.run import Run, fresh_run, held, write_json
from .core.skipped import remember_skipped
from .core.space import Space
from .core.standing import Parts
from .endings import last_entropy
from .evaluating import check_evaluator, close_trials, open_pool
from .evaluators.efficiency import peak_memory_bytes
from .evaluators.recipe import check_changes
from .evaluators.tasks import find_data
from .found import Found
from .given import BudgetLike, SpaceLike, budget_text, given_data, given_space, split_options
from .guarding import guarded_call
from .manifests import circumstances, manifest_of
from .naming import check_length, check_numbers, check_recording, find_device
from .nasbench.counted import write_counts
from .nasbench.families import find_space, with_options
from .nasbench.in_memory import is_in_file
from .nasbench.trust import keep_code
from .ops.chain import MEMORY, default_memory
from .planning import announced, planned
from .problems import problem_of
from .progress import shown
from .search_spaces.blocks import MOST_FACTOR
from .strategies import STRATEGIES
from .strategies.supernet_strategy import SupernetStrategy

# Levels of evidence; what they mean stands in `nastk.evidence`.
EVIDENCE = {"quick": "quick", "full": "full"}


@guarded_call()
def search(
    space: SpaceLike = "sandglass",
    flops: BudgetLike | None = "357M",
    *,
    data: Any = "digits-photo",
    strategy: str = "meta_kernel",
    evaluator: str | None = None,
    evaluations: int | None = None,
    finalists: int | None = None,
    supernet: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    processes: int | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    workers: int = 0,
    memory: str | None = None,
    precision: str | None = None,
    cuda_graph: bool = False,
    strict: bool = False,
    target_resolution: int | None = None,
    target_classes: int | None = None,
    proxy_scale: float | None = None,
    proxy_resolution: int | None = None,
    space_options: Mapping[str, Any] | None = None,
    strategy_options: Mapping[str, Any] | None = None,
    evaluator_options: Mapping[str, Any] | None = None,
    evidence: str | None = None,
    quiet: bool = False,
    report: Report | None = None,
) -> Found:
    """Find the best arch of a space within a FLOP budget.

    Args:
        space: name of a space, `FILE.py:CLASS`, a class derived from `nastk.Space`, or an instance,
            whose options are then those whose FLOPs the budget bounds.
        flops: budget such as `357M`, `0.357G`, `60%` or `340M:360M`, a number, or a `Budget`.
        data: embedded data by name, or the user's as `imagefolder:PATH`, `npz:PATH`..., arrays
            (x, y) or (x, y, x_test, y_test), a torch Dataset, or two (train, test); see
            `nastk.evaluators.tasks.held`.
        strategy: name in `nastk.strategies.STRATEGIES`.
        evaluator: how a black-box strategy learns how good an arch is; `train` if None.
        evaluations: archs that `single_path` or a black-box strategy may evaluate, if not its own.
        finalists: archs that are trained behind a supernet, see `nastk.strategies.thompson`.
        supernet: folder of the search whose supernet the evaluator `inherit` takes.
        seed: of everything random.
        steps: updates of the supernet, or of each training of a black-box strategy. If None, a
            training is as long as its recipe, and a supernet trains as long as its space says on
            embedded data, on the user's about as long as one training of the found network costs.
        epochs: passes over the training images, of the supernet or of each training.
        batch_size: images an update, of the supernet or of each training.
        lr: peak learning rate, of the supernet's weights or of each training.
        processes: evaluations at a time, which does not change the result; one for each core if
            None, one on CUDA.
        out: the run folder, `runs/SPACE-STRATEGY-SEED` if None.
        device: `cpu` or `cuda`.
        workers: processes that decode images.
        memory: what the supernet keeps for its backward pass: `high`, `low` or `lowest`, the
            best of the device if None; see `nastk.ops.chain.MEMORY`.
        precision: in which networks compute: `float32`, `bfloat16` or `float16` (CUDA only);
            bfloat16 on CUDA and float32 on the CPU if None. Params and updates stay float32.
        cuda_graph: record the training step once and replay it, for small batches on CUDA.
        strict: refuse unreadable images instead of skipping them.
        target_resolution: pixels at which FLOPs are counted, the space's default if None.
        target_classes: classes with which FLOPs are counted.
        proxy_scale: channel factor of the trained proxy, where the space has `scale`.
        proxy_resolution: pixels of the trained proxy.
        space_options: fields of the space, `{"width": 0.75}` for example; not its sizes.
        strategy_options: fields of the strategy.
        evaluator_options: fields of the evaluator, `num_batches` of a proxy for example.
        evidence: `quick` or `full`: train random archs of the band too, see `nastk.evidence`.
        quiet: show no progress.
        report: receives progress events instead of showing them.

    Returns:
        A `Found`, which is a mapping too: `run arch_id flops params budget_flops evaluations
        entropy` (of the logits at the end, 1 where nothing is decided; None where there are none)
        `num_skipped seconds cpu_seconds peak_memory_bytes` (of the largest process), and
        `evidence` where asked for.

    Raises:
        ValueError: if an argument is wrong; nothing has been written then.
        InfeasibleBudgetError: if no arch can meet the budget.
    """
    check_numbers(seed=seed, steps=steps, workers=workers, processes=processes)
    data, keep = given_data(data)
    space, own_options = given_space(space)
    family = find_space(space)
    if own_options is not None:
        if space_options:
            raise ValueError("give the options of a space to its instance, without space_options")
        target_resolution, target_classes, space_options = split_options(
            family, own_options, target_resolution, target_classes
        )
    chosen = lookup("strategy", strategy, STRATEGIES)
    given = {"steps": steps, "evaluations": evaluations, "finalists": finalists}
    check_length(steps, epochs)
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    check_changes(**changes)
    changes = {key: value for key, value in changes.items() if value is not None}
    if issubclass(chosen, SupernetStrategy):
        given |= {"batch_size": batch_size, "weights_lr": lr}
    options = dict(strategy_options or {}) | {k: v for k, v in given.items() if v is not None}
    _check_options(chosen, options)
    made = chosen(**options)
    evaluation = check_evaluator(made, evaluator, supernet, evaluator_options)
    _check_finite(options | dict(evaluator_options or {}))
    extra = {} if evidence is None else {"evidence": lookup("evidence", evidence, EVIDENCE)}
    place = find_device(device)
    precision = find_precision(precision, place)
    memory = default_memory(place) if memory is None else memory
    lookup("memory", memory, MEMORY)
    if cuda_graph:
        check_recording(place, precision=precision, memory=memory)
    sizes = {"resolution": target_resolution, "num_classes": target_classes}
    target = dataclasses.replace(
        with_options(family, space_options or {}),
        **{key: value for key, value in sizes.items() if value is not None},
    )
    flops = budget_text(flops)
    Budget.parse(flops, largest=10**9)  # the grammar, before anything slow
    proxy = _proxy(target, data, proxy_scale, proxy_resolution)
    find_data(data)
    folder = Path(out) if out else free_folder(Path("runs", f"{target.name}-{strategy}-{seed}"))
    manifest = {
        **manifest_of(space=space, target=target, proxy=proxy, data=data),
        "strategy": strategy,
        "strategy_options": options,
        **({"recipe_changes": changes} if changes else {}),
        **evaluation,
        "processes": processes,
        "memory": memory,
        "precision": precision,
        "cuda_graph": cuda_graph,
        "flops": flops,
        "target_classes": target_classes,
        **extra,
        **circumstances(seed=seed, device=device, workers=workers, strict=strict),
    }
    with shown(report, quiet) as report:
        with fresh_run(folder, manifest) as run:
            if is_in_file(space):
                run.update_manifest({"code": {"space": keep_code(space, run.path)}})
            result = _search_in(run, report, processes)
        return Found(_with_evidence(folder, result, evidence, report), keep)


@guarded_call()
def resume(
    path: str | Path,
    report: Report | None = None,
    *,
    space: SpaceLike | None = None,
    data: Any = None,
    processes: int | None = None,
    evidence: str | None = None,
    quiet: bool = False,
) -> Found:
    """Go on with a search that was killed; a finished one returns its result at once.

    Args:
        path: the run folder.
        report: receives progress events instead of showing them.
        space: the class again, where the search was given one that is in no file.
        data: the arrays or Datasets again, where the search was given such.
        processes: evaluations at a time; as the search was begun if None.
        evidence: as for search; what the search was begun with if None.
        quiet: show no progress.

    Raises:
        ValueError: if the folder holds no run, or a live process uses it; or if the space or the
            data are not those of the search.
    """
    check_numbers(processes=processes)
    run = Run.open(Path(path))
    manifest = run.manifest
    if "strategy" not in manifest:
        raise ValueError(
            f"{path} holds a retraining of {manifest['space']}, no search; a retraining goes on "
            "when the same command is given again"
        )
    lookup("evidence", evidence or "quick", EVIDENCE)
    keep = _again(run, space, data)
    file = run.path / "result.json"
    with shown(report, quiet) as report:
        if file.exists():
            result = read_json(file) | {"run": str(run.path)}  # not where it once stood
        else:
            with held(run):
                torch.set_num_threads(manifest["threads"])
                result = _search_in(run, report, processes or manifest.get("processes"))
        level = evidence or manifest.get("evidence")
        return Found(_with_evidence(run.path, result, level, report), keep)


def _again(run: Run, space: SpaceLike | None, data: Any) -> object:
    """Take the space and the data again that a run was given in Python; return what to keep."""
    names, keep = {}, None
    if space is not None:
        names["space"] = given_space(space)[0]
    if data is not None:
        names["data"], keep = given_data(data)
    for what, name in names.items():
        if name != (begun := run.manifest[what]):
            raise ValueError(
                f"this {what} ({name}) is not that of {run.path}, which has {begun}; give that, or "
                "begin another search"
            )
    return keep


def _with_evidence(
    folder: Path, result: dict[str, Any], level: str | None, report: Report
) -> dict[str, Any]:
    from .evidence import add_evidence

    return result if level is None else add_evidence(folder, result, level, report)


def _search_in(run: Run, report: Report, processes: int | None) -> dict[str, Any]:
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
        pool = partial(open_pool, run, problem, at_a_time, processes, parts.part)
        problem = dataclasses.replace(problem, pool=pool)
    target = problem.space
    arch = strategy.search(problem, run, parts)
    counted = target.cost.count(target.indices(arch))
    assert counted["flops"] <= problem.budget.high
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
        "budget_flops": problem.budget.high,
        "evaluations": sum("trial" in event for event in events),
        "entropy": last_entropy(events),
        "num_skipped": task.num_skipped,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_memory_bytes": peak,
    }
    write_json(run.path / "result.json", result)
    return result


def _check_options(strategy: type, options: Mapping[str, Any]) -> None:
    fields = {field.name: field for field in dataclasses.fields(strategy)}
    for name in options:
        lookup(f"option of {strategy.name}", name, fields)  # type: ignore[attr-defined]


def _check_finite(options: Mapping[str, Any]) -> None:
    """Refuse what the manifest could not hold."""
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} takes a finite number; got {value}")


def _proxy(target: Space, data: str, scale: float | None, resolution: int | None) -> Space:
    """Return the space to train: the space's own proxy on embedded data, else the target."""
    proxy = target if ":" in data else target.proxy()
    if scale is not None:
        if not 0 < scale <= MOST_FACTOR:
            raise ValueError(
                f"--proxy-scale takes a factor above 0 and at most {MOST_FACTOR:,}, for example "
                f"0.35; got {scale}"
            )
        if "scale" not in proxy.options:
            raise ValueError(f"space {target.name!r} has no channel scale; leave out --proxy-scale")
        proxy = dataclasses.replace(proxy, **{"scale": scale})
    return proxy if resolution is None else dataclasses.replace(proxy, resolution=resolution)
