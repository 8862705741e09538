"""Searching a space under a budget, and going on with a search."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.arguments import known_arguments, typed_arguments
from ..core.folder import free_folder
from ..core.lookup import lookup
from ..core.loop import Report
from ..core.record import read_record
from ..core.run import Run, fresh_run, held
from ..records.data import chosen_data
from ..records.execution import Execution, executed
from ..records.given import Budgets, Front, budget_texts, by_cost
from ..records.named import EvaluatorLike, SpaceLike, StrategyLike
from ..records.naming import check_numbers
from ..records.plugins import given_again
from ..records.reading import problem_of
from ..records.results import SearchResult
from ..records.trust import keep_code, recorded_space
from ..tasks.named import DATA
from .asked import asked_search
from .finding import search_in
from .found import Found
from .fronts import add_to_front, every_budget, split_budgets
from .guarding import guarded_call
from .moved import MOVED, RESUMED
from .progress import following

# Levels of evidence; what they mean stands in `nastk.workflows.evidence`.
EVIDENCE = {"quick": "quick", "full": "full"}


@known_arguments(MOVED)
@typed_arguments
@guarded_call()
def search(
    space: SpaceLike = "sandglass",
    budget: Budgets | Front | None = None,
    *,
    data: Any = None,
    task: Any = None,
    strategy: StrategyLike = "meta_kernel",
    evaluator: EvaluatorLike | None = None,
    recipe: str | Path | Mapping[str, Any] | None = None,
    execution: Execution | None = None,
    evidence: str | None = None,
    out: str | Path | None = None,
    seed: int | None = None,
    progress: bool | Report = True,
) -> Found:
    """Find the best arch of a space within a budget of FLOPs, params, activations or several.

    Args:
        space: name of a space, `FILE.py:CLASS`, a class derived from `nastk.Space`, an instance,
            whose options are then those whose costs the budget bounds, or `nastk.Named`, which also
            takes options of the proxy.
        budget: of FLOPs: `357M`, `0.357G`, `60%`, `340M:360M` or `0:357M`, a number, or a
            `Budget`, or several in a list (or `100M,200M`): the largest is the run's own, and of
            each the best arch is found, see `nastk.records.front`. A plain one means at most so
            many, looked for in [90 %, 100 %] of it, widened downward until that holds 200 archs; a
            range is taken as it is. Of other costs by name: `{"params": "4M"}` or
            `{"flops": "357M", "params": "4M", "activations": "6M"}`; the arch keeps all that are
            given, and a plain one behind the first means at most so many, however few.
            `nastk.Front(6, budget)` spreads so many budgets from the smallest arch to the budget.
        data: embedded data by name, or the user's as `imagefolder:PATH`, `npz:PATH`..., arrays
            (x, y) or (x, y, x_test, y_test), a torch Dataset, or two (train, test); see
            `nastk.tasks.images.held`. If None, embedded ones of the task.
        task: kind of task in `nastk.tasks.named.KINDS`, `FILE.py:CLASS`, a class derived from
            `nastk.Task`, or an instance, which read data of their own. If None, what the data are
            for, or classification.
        strategy: name in `nastk.strategies.STRATEGIES`, `FILE.py:CLASS`, a class derived from
            `nastk.Strategy`, an instance with its settings, `MetaKernel(steps=300, finalists=4)`
            for example, or `nastk.Named`.
        evaluator: how a black-box strategy learns how good an arch is: name in
            `nastk.evaluators.EVALUATORS`, `FILE.py:CLASS`, a class derived from
            `nastk.Evaluator`, or `nastk.Named` with its options, for `inherit` the `supernet`: a
            run folder whose supernet it takes; `train` if None.
        recipe: how weights learn, of the supernet or in each training where there is none: a
            name of `nastk recipes`, also with changes as `small:clip=1`, a TOML file whose keys are
            the fields of `nastk.training.recipe.Recipe`, or a dict of these, `{"epochs": 3}` for
            example; what is not said is as usual. A supernet without `epochs` or `steps` trains as
            long as its space says on embedded data, on the user's about as long as one training of
            the found network costs.
        execution: on which device, in which precision, in how many processes...
        evidence: `quick` or `full`: train random archs of the band too, see
            `nastk.workflows.evidence`.
        out: the run folder, `runs/SPACE-STRATEGY-SEED` if None.
        seed: of everything random, the execution's if None.
        progress: whether to show it, or what receives its events instead.

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
        TypeError: for a keyword that there is not, with what it became.
        ValueError: if an argument is wrong; nothing has been written then.
        InfeasibleBudgetError: if no arch can meet the budget.
    """
    execution = executed(execution, seed)
    recipe = str(recipe) if isinstance(recipe, Path) else recipe
    named, keep = chosen_data(data, task)
    asked = asked_search(space, budget, named or DATA, strategy, evaluator, recipe, execution)
    level = {} if evidence is None else {"evidence": lookup("evidence", evidence, EVIDENCE)}
    folder = Path(out) if out else free_folder(Path("runs", asked.name))
    with following(progress) as report:
        with fresh_run(folder, asked.manifest | level) as run:
            if code := keep_code(asked.manifest, run.path):
                run.update_manifest({"code": code})
            result = search_in(run, execution, report)
        return Found(_with_evidence(folder, result, evidence, report), keep)


@known_arguments(RESUMED)
@typed_arguments
@guarded_call()
def resume(
    path: str | Path,
    budget: Budgets | None = None,
    *,
    space: SpaceLike | None = None,
    strategy: StrategyLike | None = None,
    evaluator: EvaluatorLike | None = None,
    data: Any = None,
    task: Any = None,
    processes: int | None = None,
    evidence: str | None = None,
    progress: bool | Report = True,
) -> Found:
    """Go on with a search that was killed; a finished one returns its result at once.

    Args:
        path: the run folder.
        budget: a further one, or several, as for search, of which the best arch is found by what
            the search has learned; it joins the front of the run.
        space: the class again, where the search was given one that is in no file.
        strategy: so as well.
        evaluator: so as well.
        data: the arrays or Datasets again, where the search was given such.
        task: the class or the object again, where the search was given one that is in no file.
        processes: evaluations at a time; as the search was begun if None.
        evidence: as for search; what the search was begun with if None.
        progress: as for search.

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
    asked = by_cost(budget)
    further = budget_texts(asked) if any(asked.values()) else {}
    keep = given_again(run, space, strategy, evaluator, data, task)
    recorded_space(manifest, run.path)  # also of a finished search, whose end is told by its space
    file = run.path / "result.json"
    with following(progress) as report:
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
