"""The command `nastk search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    BatchSize,
    Config,
    CudaGraph,
    Data,
    Device,
    Epochs,
    Json,
    Memory,
    Precision,
    Processes,
    Rate,
    Recipe,
    Seed,
    SpaceSet,
    Strict,
    TaskKind,
    Trust,
    Workers,
    assignment,
    options_of,
    show,
    space_option,
    trust_code,
)
from .words import search_arguments

SEARCH_HELP = """Find the best network of a space under a budget.

Two examples:

  nastk search --space sandglass --flops 357M

  nastk search --space mbconv --flops 60% --data imagefolder:/data/birds --steps 20000

Five strategies train one supernet of all candidates. meta_kernel trains it under
random mixtures, which cost one network as candidates are summed in their weights,
and reads from the losses which archs are good: for one budget or for many. logits
learns by gradient which candidates are probable; its baselines are multi_feature,
which sums candidate features, and gumbel, which runs one or two sampled candidates.
single_path tests archs with the weights of a trained supernet. Behind each,
--finalists are trained by themselves, the learned arch among them, and the best is
found. meta_kernel says at its end how much of what the losses say its ranking
explains, how many archs of the budget differ by less than its error, and warns where
the supernet has learned too little; nastk report RUN shows what each candidate adds.

The others propose archs within the budget and have each evaluated:
evolution, local (search), thompson (draws from a linear model), halving (many
short trainings, the best again longer), random (best of --evaluations; a single
arch costs nothing). Two let others propose: on_optuna a sampler of Optuna, --set
driver=tpe, random, cmaes, nsga2 or MODULE:CLASS; on_nni a strategy of NNI, --set
driver=evolution, random or tpe (not its grid search, and none of its one-shot or
reinforcement-learning strategies; NNI's experiments and web page do not run):

  nastk search --strategy evolution --space sandglass-micro --flops 0.8M

--evaluator says by what: train (a training of --steps on three quarters of the
training data, tested on the rest), inherit (the weights of --supernet RUN),
efficiency (the most params), or a zero-cost proxy, which scores the untrained
network: params, flops, grad_norm, snip, synflow, jacob_cov, naswot or zico.
--evaluator-set num_batches=4 sets an option of it.

Both may be your own: --strategy FILE.py:CLASS, derived from nastk.Strategy (or from
nastk.strategies.BlackBox, which asks only for a sampler), and --evaluator
FILE.py:CLASS, derived from nastk.Evaluator, whose evaluate(arch) returns numbers by
name. The run keeps copies of these files, as of a space of yours.

meta_kernel trains one supernet for all budgets: --flops 100M,200M,357M finds the best
network of each, --front 6 those of six budgets spread over the space, and --resume RUN
--flops 150M one more in seconds. RUN/front/ has them, and every command takes them; the
run itself is of the largest budget.

A budget reads 357M, 0.357G, 357e6, 60% (of the largest) or 340M:360M. One of
--flops, --params and --activations has to be given, and the network keeps all that
are, as in --flops 357M --params 4M. The first of them, in this order, is spent: a
plain one is looked for in its upper tenth, or from as far below as it takes to hold
200 networks that keep the others. Plain ones behind it are upper ends alone.

Kill the search whenever you like: nastk search --resume RUN goes on where it stood.
"""

# What may stand beside --resume.
_BUDGETS = ("flops", "params", "activations")
_CHANGEABLE = {"resume", "processes", "evidence", "trust", "config", "json_", *_BUDGETS}


def search(
    context: typer.Context,
    space: Annotated[str, typer.Option(help="Name of a space, or FILE.py:CLASS.")] = "sandglass",
    flops: Annotated[
        str | None,
        typer.Option(
            help="Budget of multiply-adds: 357M, 0.357G, 357e6 or 60% (of the largest arch). No "
            "arch exceeds it; archs are looked for in 90 to 100 % of it, or from further below "
            "where that holds fewer than 200. A range is taken as it is: 340M:360M, or 0:357M "
            "for all archs below."
        ),
    ] = None,
    params: Annotated[
        str | None,
        typer.Option(
            help="Budget of params, alike: 4M, 60%, 2M:4M. Beside --flops a plain one is an upper "
            "end alone."
        ),
    ] = None,
    activations: Annotated[
        str | None,
        typer.Option(
            help="Budget of activations, the elements that convolutions and linear layers put out "
            "for one image, alike: 6M."
        ),
    ] = None,
    front: Annotated[
        int | None,
        typer.Option(
            help="Find the best network of so many budgets, spread from the smallest network to "
            "the budget (90 % of the largest one unless given)."
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with this run folder; with a budget: find its best network too."),
    ] = None,
    data: Data = None,
    task: TaskKind = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="meta_kernel, logits, multi_feature, gumbel, single_path, evolution, halving, "
            "local, thompson, random, on_nni, on_optuna or FILE.py:CLASS."
        ),
    ] = "meta_kernel",
    evaluator: Annotated[
        str | None,
        typer.Option(help="train, inherit, a proxy (above) or FILE.py:CLASS; train unless given."),
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="Archs to evaluate: 16 unless given, 150 with single_path, 1 with random."
        ),
    ] = None,
    finalists: Annotated[
        int | None,
        typer.Option(
            help="Archs to train behind a supernet, the best of which is found; 0 unless given."
        ),
    ] = None,
    supernet: Annotated[
        Path | None, typer.Option(help="Run whose supernet --evaluator inherit uses.")
    ] = None,
    recipe: Recipe = None,
    seed: Seed = 0,
    steps: Annotated[
        int | None,
        typer.Option(help="Updates of the supernet, or of each training; a default for each."),
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    processes: Processes = None,
    out: Annotated[Path | None, typer.Option(help="The run folder itself.")] = None,
    device: Device = "cpu",
    workers: Workers = 0,
    memory: Memory = None,
    precision: Precision = None,
    cuda_graph: CudaGraph = False,
    strict: Strict = False,
    target_resolution: Annotated[
        str | None,
        typer.Option(help="Pixels of the budget: 224, or height and width as 256x192."),
    ] = None,
    target_classes: Annotated[int | None, typer.Option(help="Classes of the budget.")] = None,
    proxy_scale: Annotated[float | None, typer.Option(help="Channel factor of the proxy.")] = None,
    proxy_resolution: Annotated[
        str | None, typer.Option(help="Pixels of the proxy, likewise.")
    ] = None,
    space_set: SpaceSet = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of the strategy, NAME=VALUE; may be repeated."),
    ] = None,
    evaluator_set: Annotated[
        list[str] | None,
        typer.Option(help="Option of the evaluator, NAME=VALUE; may be repeated."),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(
            help="Was the search worth its cost? quick trains the found arch, those with the most "
            "params, FLOPs and activations and 6 random ones for a quarter of the recipe, at most "
            "the cost of 2.5 trainings; full 16 random ones, whole recipe, 3 seeds: at most 60 "
            "trainings. Also with --resume RUN."
        ),
    ] = None,
    trust: Trust = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Search."""
    trust_code(trust, context)
    if resume is not None:
        _check_resumed(context)
    from ..workflows import search as workflow
    from ..workflows.progress import progress
    from . import screen

    options = options_of(context)
    options["strategy_options"] = dict(assignment(text) for text in options.pop("set_") or ())
    given = options.pop("evaluator_set") or ()
    options["evaluator_options"] = dict(
        assignment(text, "--evaluator-set", "num_batches=4") for text in given
    )
    given = options.pop("space_set") or ()
    options["space_options"] = dict(map(space_option, given))
    path = options.pop("resume")
    with progress(enabled=not json_) as report:
        if path is not None:
            further = {metric: options[metric] for metric in _BUDGETS if options[metric]}
            how = {"processes": processes, "evidence": evidence}
            result = workflow.resume(path, further or None, **how, progress=report)
        else:
            result = workflow.search(**search_arguments(options), progress=report)
    show(dict(result), json_, screen.print_search)
    if "evidence" in result and not json_:
        screen.print_evidence(result["evidence"])


def _check_resumed(context: typer.Context) -> None:
    """Refuse options beside --resume, which goes on with those of the run.

    Raises:
        ValueError: naming them, whether they are flags or stand in the file of --config.
    """
    odd = [
        param.opts[0]
        for param in context.command.params
        if param.name not in _CHANGEABLE
        and getattr(context.get_parameter_source(param.name or ""), "name", "") != "DEFAULT"
    ]
    if odd:
        raise ValueError(
            f"--resume goes on as the run was begun: leave out {', '.join(odd)} (--processes, "
            "--evidence and --trust may change, and a budget asks for one network more), or begin "
            "another run without --resume"
        )
