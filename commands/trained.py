"""The commands about networks that are trained: retrain, evaluate, compare and export."""

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
    Steps,
    Strict,
    TaskKind,
    Trust,
    What,
    Workers,
    options_of,
    show,
    trust_code,
)
from .words import retrain_arguments


def retrain(
    context: typer.Context,
    what: What,
    data: Data = None,
    task: TaskKind = None,
    inherit: Annotated[bool, typer.Option(help="Start from the supernet's weights.")] = False,
    hold_out: Annotated[
        bool, typer.Option(help="Train on three quarters, keep the best on the last.")
    ] = False,
    recipe: Recipe = None,
    seed: Seed = 0,
    steps: Steps = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    out: Annotated[Path | None, typer.Option(help="Folder, where WHAT is no run.")] = None,
    device: Device = "cpu",
    workers: Workers = 0,
    memory: Memory = None,
    precision: Precision = None,
    cuda_graph: CudaGraph = False,
    strict: Strict = False,
    trust: Trust = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Train a network from scratch and test it once; the same command again goes on."""
    trust_code(trust, context)
    from ..workflows.progress import progress
    from ..workflows.retrain import retrain as implementation
    from . import screen

    with progress(enabled=not json_) as report:
        result = implementation(**retrain_arguments(options_of(context)), progress=report)
    show(result, json_, screen.print_retrained)


def evaluate(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="Run folder, arch.json or published name.")],
    weights: Annotated[Path | None, typer.Option(help="Weights written by retrain.")] = None,
    data: Data = None,
    task: TaskKind = None,
    device: Device = "cpu",
    workers: Workers = 0,
    strict: Strict = False,
    allow_mismatch: Annotated[
        bool,
        typer.Option(
            "--allow-mismatch", help="Test on other classes than those of the training, by number."
        ),
    ] = False,
    save_images: Annotated[
        int | None,
        typer.Option(
            help="Write so many pictures of what was given, wanted and answered beside the "
            "weights, for tasks that draw any (saliency)."
        ),
    ] = None,
    trust: Trust = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Test trained weights on the test split."""
    trust_code(trust, context)
    from ..workflows.evaluate import evaluate as implementation
    from . import screen

    show(implementation(**options_of(context)), json_, screen.print_metrics)


def compare(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            help="Run folder of a finished search; or archs to stand beside each other: run "
            "folders, arch.json files, published names."
        ),
    ],
    seeds: Annotated[int, typer.Option(help="Trainings of each network.")] = 3,
    random: Annotated[
        int | None, typer.Option(help="Random archs of a search's band: 8 unless given.")
    ] = None,
    data: Data = None,
    task: TaskKind = None,
    recipe: Recipe = None,
    hold_out: Annotated[
        bool, typer.Option(help="Train on three quarters, measure on the last; test stays unread.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random archs.")] = 0,
    steps: Steps = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: Rate = None,
    processes: Processes = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of a comparison of archs; runs/compare unless given."),
    ] = None,
    device: Device = "cpu",
    workers: Workers = 0,
    precision: Annotated[
        str | None,
        typer.Option(
            help="In which networks compute, as for search; as the runs did unless given."
        ),
    ] = None,
    cuda_graph: Annotated[
        bool | None,
        typer.Option(
            "--cuda-graph/--no-cuda-graph",
            help="Record the training step and replay it (CUDA only); as the runs did unless "
            "given.",
        ),
    ] = None,
    strict: Strict = False,
    trust: Trust = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Train a found arch, its rivals and references alike, or archs; the same command goes on."""
    trust_code(trust, context)
    from ..workflows.compare import compare as implementation
    from ..workflows.progress import progress
    from . import screen

    with progress(enabled=not json_) as report:
        result = implementation(**options_of(context), report=report)
    show(result, json_, screen.print_comparison)


def export(
    context: typer.Context,
    what: What,
    to: Annotated[Path, typer.Option(help="File to write: model.pt2 or model.onnx.")],
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="Take bytes of any size, uint8 [B, 3, H, W] (grey repeated three times), and give "
            "probabilities.",
        ),
    ] = False,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Export fresh weights, not trained ones.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    trust: Trust = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Write the retrained network as a file that runs without nastk, and check the file.

    It takes image, float32 [B, 3, R, R], and gives logits [B, K]. How pixels become its input and
    which class each output is stand in the file as JSON: nastk.preprocessing and nastk.classes.
    """
    trust_code(trust, context)
    from ..workflows.export import export as implementation
    from . import screen

    show(implementation(**options_of(context)), json_, screen.print_export)
