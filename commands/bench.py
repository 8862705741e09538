"""The commands below `nastk bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import (
    CudaGraph,
    Data,
    Device,
    Json,
    Precision,
    Processes,
    Recipe,
    Seed,
    Steps,
    Strict,
    TaskKind,
    Workers,
    options_of,
    show,
)
from .public import PUBLIC_HELP, bench_public

STRATEGIES_HELP = """Run every black-box strategy many times on a table of trained archs.

Each search may spend so many --evaluations; its regret is the mean loss of the arch
that it returns, less that of the best arch of the table. Strategies are compared
with random search. Without further options they race on a table that nastk carries.

A table of your own, for a space of yours or one that `nastk spaces` lists:

  nastk bench strategies --table mine.csv --space my_space.py:MySpace --flops 60%

As csv it has one column a choice, named as the choice, and columns whose names begin
with accuracy or with loss, one a training; what is empty has not been trained:

  kernel,width,accuracy_1,accuracy_2

  3,8,71.2,70.8

  5,16,74.0,

As JSON it is a list; either may be packed (.csv.gz, .json.gz):

  [{"choices": {"kernel": 3, "width": 8}, "accuracies": [71.2, 70.8]},

   {"choices": {"kernel": 5, "width": 16}, "accuracies": [74.0]}]

with "losses" in place of "accuracies" where the lowest is the best. Accuracies are
per cent, or shares of 1 where none exceeds 1; the loss is the share that is wrong.
FLOPs are counted from the space. Every arch of the budget's band has to be in the
table, as a search may ask for any; archs outside of the band are not looked at. A
search is told one training of an arch, and the mean of its trainings judges what is
returned. halving asks for shorter trainings, which such a table cannot answer.
"""

bench = typer.Typer(help="Measure nastk on this machine; markdown, or JSON with --json.")
Rounds = Annotated[
    int, typer.Option(min=1, max=10_000, help="Interleaved rounds; medians are reported.")
]


@bench.command("step")
def bench_step(
    rounds: Rounds = 5,
    space: Annotated[str, typer.Option(help="sandglass or t2t.")] = "sandglass",
    json_: Json = False,
) -> None:
    """Time an update of a supernet beside plain networks."""
    from ..benchmarks.step import bench_step as bench_sandglass
    from ..benchmarks.t2t_step import bench_t2t_step
    from ..core.lookup import lookup

    benches: dict[str, Any] = {"sandglass": bench_sandglass, "t2t": bench_t2t_step}
    show(lookup("benchmark of space", space, benches)(rounds=rounds), json_, _print_markdown)


@bench.command("ops")
def bench_ops(rounds: Rounds = 5, json_: Json = False) -> None:
    """Time one mixed depthwise convolution beside its largest candidate, and NNI's."""
    from ..benchmarks.ops import bench_ops as implementation

    show(implementation(rounds=rounds), json_, _print_markdown)


@bench.command("memory")
def bench_memory(json_: Json = False) -> None:
    """Measure what a step of the main job keeps, and its peak memory."""
    from ..benchmarks.memory import bench_memory as implementation

    show(implementation(), json_, _print_markdown)


@bench.command("kernels")
def bench_kernels(
    rounds: Rounds = 5,
    nchw: Annotated[bool, typer.Option(help="Contiguous instead of channels-last.")] = False,
    tune: Annotated[
        bool,
        typer.Option(help="Time Triton, torch and cuDNN on this GPU, and use the wins."),
    ] = False,
    json_: Json = False,
) -> None:
    """Time every pass of a depthwise convolution against torch, with its share of the peak."""
    if tune:
        from ..benchmarks.kernels import tune_kernels

        show(tune_kernels(), json_, _print_markdown)
        return
    from ..benchmarks.kernels import bench_kernels as implementation

    show(implementation(rounds=rounds, nchw=nchw), json_, _print_markdown)


@bench.command("strategies", help=STRATEGIES_HELP)
def bench_strategies(
    context: typer.Context,
    seeds: Annotated[int, typer.Option(help="Searches of each strategy.")] = 50,
    evaluations: Annotated[int, typer.Option(help="Trainings that a search may spend.")] = 50,
    nni: Annotated[bool, typer.Option("--nni", help="NNI's evolution and TPE too.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help="Thompson too: 7 minutes more.")] = False,
    table: Annotated[
        str,
        typer.Option(
            help="Name of a table, a file that `bench table` wrote or, with --space, one of yours: "
            ".csv or .json, maybe .gz."
        ),
    ] = "mbconv-micro",
    space: Annotated[
        str | None, typer.Option(help="Space of your table: a name, or FILE.py:CLASS.")
    ] = None,
    flops: Annotated[
        str | None,
        typer.Option(help="Budget, as for search, with your table; all of the space unless given."),
    ] = None,
    json_: Json = False,
) -> None:
    """Print how the strategies did on a table."""
    from ..benchmarks.strategies import as_text
    from ..benchmarks.strategies import bench_strategies as implementation
    from ..workflows.progress import progress

    with progress(enabled=not json_) as report:
        result = implementation(**options_of(context), report=report)
    show(result["rows"] if json_ else as_text(result), json_, _print_markdown)


bench.command("public", help=PUBLIC_HELP)(bench_public)


@bench.command("proxy")
def bench_proxy(
    context: typer.Context,
    space: Annotated[str, typer.Option(help="Name of a space, or FILE.py:CLASS.")],
    flops: Annotated[str, typer.Option(help="Budget, as for search.")],
    data: Data = None,
    task: TaskKind = None,
    recipe: Recipe = None,
    archs: Annotated[int, typer.Option(help="Random archs of the budget's band.")] = 12,
    seeds: Annotated[int, typer.Option(help="Trainings of each arch.")] = 3,
    steps: Steps = None,
    seed: Seed = 0,
    processes: Processes = None,
    out: Annotated[Path | None, typer.Option(help="Folder of trainings; runs/proxy.")] = None,
    device: Device = "cpu",
    workers: Workers = 0,
    precision: Precision = None,
    cuda_graph: CudaGraph = False,
    strict: Strict = False,
    json_: Json = False,
) -> None:
    """Say whether data, recipe and budget can rank archs at all; the same command goes on."""
    from ..workflows.progress import progress
    from ..workflows.proxy import bench_proxy as implementation
    from .screen import print_proxy

    with progress(enabled=not json_) as report:
        result = implementation(**options_of(context), report=report)
    show(result, json_, print_proxy)


@bench.command("table")
def bench_table(
    out: Annotated[Path, typer.Option(help="File to write.")],
    processes: Processes = None,
    json_: Json = False,
) -> None:
    """Train the table of `bench strategies` anew, for hours; the same command goes on."""
    from ..nasbench.table_build import Plan, build
    from ..workflows.progress import progress

    with progress(enabled=not json_) as report:
        content = build(out, Plan(), processes=processes, report=report)
    result = {"table": str(out), "archs": len(content["archs"]), "sha256": content["sha256"]}
    show(result, json_, lambda found: print(*(f"{k} {v}" for k, v in found.items()), sep="\n"))


def _print_markdown(result: Any) -> None:
    from ..benchmarks.tables import markdown

    print(markdown(result))
