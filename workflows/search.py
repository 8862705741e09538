"""Searching a space under a budget, and going on with a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.arguments import typed_arguments
from ..core.folder import free_folder
from ..core.lookup import lookup
from ..core.loop import Report
from ..core.record import read_record
from ..core.run import Run, fresh_run, held
from ..evaluators.recipe import check_changes
from ..nasbench.families import find_space, with_options
from ..records.execution import Execution
from ..records.given import (
    BudgetLike,
    SpaceLike,
    budget_texts,
    check_recordable,
    given_data,
    given_space,
    split_options,
)
from ..records.manifest import circumstances, manifest_of
from ..records.naming import check_length, check_numbers
from ..records.plugins import (
    EvaluatorLike,
    StrategyLike,
    find_strategy,
    given_again,
    given_evaluator,
    given_strategy,
    make_strategy,
)
from ..records.reading import problem_of, proxy_of
from ..records.results import SearchResult
from ..records.trust import keep_code, recorded_space
from ..strategies.supernet_strategy import SupernetStrategy
from ..tasks.named import family_of, find_data
from ..training.task import aimed
from .appointing import check_evaluator
from .finding import search_in
from .found import Found
from .fronts import HIGHEST, add_to_front, check_front, every_budget, split_budgets
from .guarding import guarded_call
from .planning import check_followed
from .progress import shown

# Levels of evidence; what they mean stands in `nastk.workflows.evidence`.
EVIDENCE = {"quick": "quick", "full": "full"}


@typed_arguments
@guarded_call()
def search(
    space: SpaceLike = "sandglass",
    flops: BudgetLike | None = None,
    *,
    params: BudgetLike | None = None,
    activations: BudgetLike | None = None,
    data: Any = "digits-photo",
    strategy: StrategyLike = "meta_kernel",
    evaluator: EvaluatorLike | None = None,
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
    front: int | None = None,
    quiet: bool = False,
    report: Report | None = None,
) -> Found:
    """Find the best arch of a space within a budget of FLOPs, params, activations or several.

    Args:
        space: name of a space, `FILE.py:CLASS`, a class derived from `nastk.Space`, or an instance,
            whose options are then those whose costs the budget bounds.
        flops: budget such as `357M`, `0.357G`, `60%`, `340M:360M` or `0:357M`, a number, or a
            `Budget`, or several in a list (or `100M,200M`): the largest is the run's own, and of
            each the best arch is found, see `nastk.records.front`. A plain one means at most so
            many, looked for in [90 %, 100 %] of it, widened downward until that holds 200 archs; a
            range is taken as it is. None where they are free, but one of the three costs has to
            have a budget.
        params: budget of params, in the same way. The arch keeps all budgets that are given. A
            plain one beside a budget of FLOPs means at most so many, however few.
        activations: budget of activations, in the same way, behind those of FLOPs and params.
        data: embedded data by name, or the user's as `imagefolder:PATH`, `npz:PATH`..., arrays
            (x, y) or (x, y, x_test, y_test), a torch Dataset, or two (train, test); see
            `nastk.tasks.images.held`.
        strategy: name in `nastk.strategies.STRATEGIES`, `FILE.py:CLASS`, a class derived from
            `nastk.Strategy`, or an instance, whose options are then those of the strategy.
        evaluator: how a black-box strategy learns how good an arch is: name in
            `nastk.evaluators.EVALUATORS`, `FILE.py:CLASS`, or a class derived from
            `nastk.Evaluator`; `train` if None.
        evaluations: archs that `single_path` or a black-box strategy may evaluate, if not its own.
        finalists: archs that are trained behind a supernet, see `nastk.strategies.thompson`.
        supernet: folder of the search whose supernet the evaluator `inherit` takes.
        seed: of everything random.
        steps: updates of the supernet, or of each training of a black-box strategy. If None, a
            training is as long as its recipe, and a supernet trains as long as its space says on
            embedded data, on the user's about as long as one training of the found network costs.
        epochs: passes over the training images, of the supernet or of each training.
        batch_size: images an update, of the supernet or of each training.
        lr: peak learning rate, of the supernet's weights or of each training where there is none.
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
        evidence: `quick` or `full`: train random archs of the band too, see
            `nastk.workflows.evidence`.
        front: so many budgets spread from the smallest arch to the budget, of each of which the
            best arch is found too; the budget is 90 % of the largest arch if none is given.
        quiet: show no progress.
        report: receives progress events instead of showing them.

    Returns:
        A `Found`, which is a mapping too: `run arch_id flops params activations budget_flops (the
        upper end of FLOPs, None where they are free) budgets band bands band_archs band_is_exact
        evaluations all_evaluated entropy` (of the logits at the end, 1 where nothing
        is decided; None where there are none) `num_skipped seconds cpu_seconds peak_memory_bytes`
        (of the largest process), and `evidence` where asked for. Archs were looked for in the
        `bands` (a list of `metric low high`, see `nastk.core.band`; `band` are the smallest and the
        largest FLOPs, None where they are free), which have `band_archs` archs,
        counted or estimated; `all_evaluated` tells that there was no other to evaluate. What
        `meta_kernel` has learned of every candidate is in the file `ranking.json` of the run.

    Raises:
        ValueError: if an argument is wrong; nothing has been written then.
        InfeasibleBudgetError: if no arch can meet the budget.
    """
    check_numbers(steps=steps)
    execution = Execution.asked(
        device=device,
        memory=memory,
        precision=precision,
        cuda_graph=cuda_graph,
        workers=workers,
        processes=processes,
        strict=strict,
        seed=seed,
    )
    data, keep = given_data(data)
    space, own_options = given_space(space)
    family = find_space(space)
    if own_options is not None:
        if space_options:
            raise ValueError("give the options of a space to its instance, without space_options")
        target_resolution, target_classes, space_options = split_options(
            family, own_options, target_resolution, target_classes
        )
    strategy, own_options = given_strategy(strategy)
    chosen = find_strategy(strategy)
    given = {"steps": steps, "evaluations": evaluations, "finalists": finalists}
    check_length(steps, epochs)
    changes = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    check_changes(**changes)
    changes = {key: value for key, value in changes.items() if value is not None}
    if issubclass(chosen, SupernetStrategy):
        given |= {"batch_size": batch_size, "weights_lr": lr}
    options = dict(strategy_options or {}) | {k: v for k, v in given.items() if v is not None}
    if own_options is not None:
        if options:
            raise ValueError(f"give {', '.join(options)} to the instance that is the strategy")
        options = own_options
    made = make_strategy(chosen, options)
    check_recordable(made.name, options)
    evaluator = None if evaluator is None else given_evaluator(evaluator)
    evaluation = check_evaluator(made, evaluator, supernet, evaluator_options)
    check_followed(made, evaluator, changes, strategy_options or {})
    if isinstance(made, SupernetStrategy):
        changes.pop("lr", None)  # the supernet's, not that of single networks
    extra = {} if evidence is None else {"evidence": lookup("evidence", evidence, EVIDENCE)}
    sizes = {"resolution": target_resolution, "num_classes": target_classes}
    target = dataclasses.replace(
        aimed(with_options(family, space_options or {}), family_of(data)),
        **{key: value for key, value in sizes.items() if value is not None},
    )
    # The grammar, before anything slow.
    asked = {"flops": flops, "params": params, "activations": activations}
    if front is not None and not any(asked.values()):
        asked["flops"] = HIGHEST
    budgets, several = split_budgets(budget_texts(asked), target)
    check_front(front, several, made.name, made.ranks_all)
    proxy = proxy_of(target, data, proxy_scale, proxy_resolution)
    find_data(data)
    folder = Path(out) if out else free_folder(Path("runs", f"{target.name}-{made.name}-{seed}"))
    manifest = {
        **manifest_of(space=space, target=target, proxy=proxy, data=data),
        "strategy": strategy,
        "strategy_options": options,
        **({"recipe_changes": changes} if changes else {}),
        **evaluation,
        "processes": processes,
        **execution.numerics,
        **budgets,
        "front": front,
        "front_budgets": several,
        "target_classes": target_classes,
        **extra,
        **circumstances(execution),
    }
    with shown(report, quiet) as report:
        with fresh_run(folder, manifest) as run:
            if code := keep_code(manifest, run.path):
                run.update_manifest({"code": code})
            result = search_in(run, execution, report)
        return Found(_with_evidence(folder, result, evidence, report), keep)


@typed_arguments
@guarded_call()
def resume(
    path: str | Path,
    report: Report | None = None,
    *,
    space: SpaceLike | None = None,
    strategy: StrategyLike | None = None,
    evaluator: EvaluatorLike | None = None,
    data: Any = None,
    processes: int | None = None,
    evidence: str | None = None,
    flops: BudgetLike | None = None,
    params: BudgetLike | None = None,
    activations: BudgetLike | None = None,
    quiet: bool = False,
) -> Found:
    """Go on with a search that was killed; a finished one returns its result at once.

    Args:
        path: the run folder.
        report: receives progress events instead of showing them.
        space: the class again, where the search was given one that is in no file.
        strategy: so as well.
        evaluator: so as well.
        data: the arrays or Datasets again, where the search was given such.
        processes: evaluations at a time; as the search was begun if None.
        evidence: as for search; what the search was begun with if None.
        flops: a further budget, or several, of which the best arch is found by what the search
            has learned; it joins the front of the run.
        params: so as well.
        activations: so as well.
        quiet: show no progress.

    Raises:
        ValueError: if the folder holds no run, or a live process uses it; or if the space or the
            data are not those of the search.
    """
    check_numbers(processes=processes)
    run = Run.open(Path(path))
    manifest = run.manifest
    if manifest.strategy is None:
        raise ValueError(
            f"{path} holds a retraining of {manifest['space']}, no search; a retraining goes on "
            "when the same command is given again"
        )
    lookup("evidence", evidence or "quick", EVIDENCE)
    asked = {"flops": flops, "params": params, "activations": activations}
    further = budget_texts(asked) if any(asked.values()) else {}
    keep = given_again(run, space, strategy, evaluator, data)
    recorded_space(manifest, run.path)  # also of a finished search, whose end is told by its space
    file = run.path / "result.json"
    with shown(report, quiet) as report:
        if file.exists():
            result = dict(read_record(file, SearchResult))
            result["run"] = str(run.path)  # not where it once stood
        else:
            with held(run):
                execution = Execution.of_run(manifest)
                if processes is not None:
                    execution = dataclasses.replace(execution, processes=processes)
                torch.set_num_threads(execution.threads)
                result = search_in(run, execution, report)
        if further:
            with held(run):
                result["front"] = _further(run, further, report)
        level = evidence or manifest.evidence
        return Found(_with_evidence(run.path, result, level, report), keep)


def _further(run: Run, texts: Mapping[str, str], report: Report) -> list[dict[str, Any]]:
    """Find the best arch of further budgets, and return the front of the run."""
    problem = problem_of(run)
    budgets = every_budget(*split_budgets(texts, problem.space), problem.space)
    return add_to_front(run, problem, budgets, report)


def _with_evidence(
    folder: Path, result: dict[str, Any], level: str | None, report: Report
) -> dict[str, Any]:
    from .evidence import add_evidence

    return result if level is None else add_evidence(folder, result, level, report)
