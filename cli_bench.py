"""The commands below `nastk bench`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .cli_options import Json, show

bench = typer.Typer(help="Measure nastk on this machine; markdown, or JSON with --json.")
Rounds = Annotated[int, typer.Option(min=1, help="Interleaved rounds; medians are reported.")]


@bench.command("step")
def bench_step(
    rounds: Rounds = 5,
    space: Annotated[str, typer.Option(help="sandglass or t2t.")] = "sandglass",
    json_: Json = False,
) -> None:
    """Time an update of a supernet beside plain networks."""
    from .benchmarks.step import bench_step as bench_sandglass
    from .benchmarks.t2t_step import bench_t2t_step
    from .core.lookup import lookup

    benches: dict[str, Any] = {"sandglass": bench_sandglass, "t2t": bench_t2t_step}
    show(lookup("benchmark of space", space, benches)(rounds=rounds), json_, _print_markdown)


@bench.command("ops")
def bench_ops(rounds: Rounds = 5, json_: Json = False) -> None:
    """Time one mixed depthwise convolution beside its largest candidate, and NNI's."""
    from .benchmarks.ops import bench_ops as implementation

    show(implementation(rounds=rounds), json_, _print_markdown)


@bench.command("memory")
def bench_memory(json_: Json = False) -> None:
    """Measure what a step of the main job keeps, and its peak memory."""
    from .benchmarks.memory import bench_memory as implementation

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
        from .benchmarks.kernels import tune_kernels

        show(tune_kernels(), json_, _print_markdown)
        return
    from .benchmarks.kernels import bench_kernels as implementation

    show(implementation(rounds=rounds, nchw=nchw), json_, _print_markdown)


def _print_markdown(result: Any) -> None:
    from .benchmarks.tables import markdown

    print(markdown(result))
