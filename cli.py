"""Commands that call one library function each; nothing heavy is imported before one needs it."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

# typer's own error class, which it does not name in public.
_USAGE_ERROR: Any = typer.BadParameter.__base__

app = typer.Typer(
    help="Find the best network under a compute budget.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _configure(context: typer.Context, config: Path | None) -> Path | None:
    """Let a TOML file set the defaults of a command, which its flags then override."""
    if config is None:
        return None
    if not config.is_file():
        raise ValueError(f"no file {config}; --config takes a TOML file of options")
    try:
        file = tomllib.loads(config.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{config} is not TOML: {error}") from None
    from .core.lookup import lookup

    # An option is written as behind its dashes: --per-layer is per-layer or per_layer.
    names = {flag.lstrip("-"): p.name for p in context.command.params for flag in p.opts}
    known = {name: p for name, p in names.items() if name not in ("config", "help")}
    context.default_map = {
        lookup(f"option in {config}", key.replace("_", "-"), known): value
        for key, value in file.items()
    }
    return config


def _options(context: typer.Context) -> dict[str, Any]:
    """Return the options of a command by name."""
    return {key: value for key, value in context.params.items() if key not in ("config", "json_")}


def _assignment(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; numbers and true or false as such, anything else as text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set takes NAME=VALUE, for example level=bilevel; got {text!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Steps = Annotated[int | None, typer.Option(help="Number of updates; a default for each space.")]
Processes = Annotated[int | None, typer.Option(help="Trainings at a time; one for each core.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Workers = Annotated[int, typer.Option(help="Processes that decode images.")]
Memory = Annotated[
    str | None,
    typer.Option(
        help="What a network keeps for its backward pass: high (as torch does), low (one feature "
        "a convolution) or lowest (one a block, slower). The best of the device unless given."
    ),
]
Precision = Annotated[
    str | None,
    typer.Option(
        help="In which networks compute: float32, bfloat16 or float16 (CUDA only). bfloat16 on "
        "CUDA and float32 on the CPU unless given."
    ),
]
CudaGraph = Annotated[
    bool,
    typer.Option("--cuda-graph", help="Record the training step and replay it (CUDA only)."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse unreadable images instead of skipping them.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of options; flags override it.", callback=_configure, is_eager=True
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="digits-photo, digits, mnist5k, mnist5k-photo, imagefolder:PATH, npz:PATH, "
        "idx:PATH or cifar10:PATH."
    ),
]
Recipe = Annotated[str | None, typer.Option(help="demonstration, small, mobilenet or mobilenext.")]
What = Annotated[str, typer.Argument(help="Run folder, arch.json or published name.")]

SEARCH_HELP = """Find the best network of a space under a FLOP budget.

Two examples:

  nastk search --space sandglass --flops 357M

  nastk search --space mbconv --flops 60% --data imagefolder:/data/birds --steps 20000

Four strategies train one supernet of all candidates: meta_kernel sums candidate
weights, its baseline multi_feature sums candidate features, gumbel runs one or two
sampled candidates, and all three learn which are probable; single_path evolves
archs on the weights of a trained supernet. The others propose archs within the
budget and have each evaluated: evolution, local (search), halving (many short
trainings, the best again longer), random (best of --evaluations; a single arch
costs nothing):

  nastk search --strategy evolution --space sandglass-micro --flops 0.8M

--evaluator says by what: train (a training of --steps on three quarters of the
training data, tested on the rest), inherit (the weights of --supernet RUN),
efficiency (the most params), or a zero-cost proxy, which scores the untrained
network: params, flops, grad_norm, snip, synflow, jacob_cov, naswot or zico.

A budget reads 357M, 0.357G, 357e6, 60% (of the largest) or 340M:360M. Kill the
search whenever you like: nastk search --resume RUN goes on where it stood.
"""


@app.command(help=SEARCH_HELP)
def search(
    context: typer.Context,
    space: Annotated[str, typer.Option(help="Name of a space, or FILE.py:CLASS.")] = "sandglass",
    flops: Annotated[str | None, typer.Option(help="Budget, for example 357M.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
    data: Data = "digits-photo",
    strategy: Annotated[
        str,
        typer.Option(
            help="meta_kernel, multi_feature, gumbel, single_path, evolution, halving, local or "
            "random."
        ),
    ] = "meta_kernel",
    evaluator: Annotated[
        str | None, typer.Option(help="train, inherit or a proxy (above); train unless given.")
    ] = None,
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="Archs to evaluate: 16 unless given, 50 with single_path, 1 with random."
        ),
    ] = None,
    supernet: Annotated[
        Path | None, typer.Option(help="Run whose supernet --evaluator inherit uses.")
    ] = None,
    seed: Seed = 0,
    steps: Annotated[
        int | None,
        typer.Option(help="Updates of the supernet, or of each training; a default for each."),
    ] = None,
    processes: Processes = None,
    out: Annotated[Path | None, typer.Option(help="The run folder itself.")] = None,
    device: Device = "cpu",
    workers: Workers = 0,
    memory: Memory = None,
    precision: Precision = None,
    cuda_graph: CudaGraph = False,
    strict: Strict = False,
    target_resolution: Annotated[int | None, typer.Option(help="Pixels of the budget.")] = None,
    target_classes: Annotated[int | None, typer.Option(help="Classes of the budget.")] = None,
    proxy_scale: Annotated[float | None, typer.Option(help="Channel factor of the proxy.")] = None,
    proxy_resolution: Annotated[int | None, typer.Option(help="Pixels of the proxy.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Option of the strategy, NAME=VALUE; may be repeated."),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(
            help="Was the search worth its cost? quick trains the found arch, the one with the "
            "most params and 6 random ones for a quarter of the recipe, the cost of 2 trainings; "
            "full 16 random ones, whole recipe, 3 seeds: 54 trainings. Also with --resume RUN."
        ),
    ] = None,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Search."""
    from . import api, screen

    options = _options(context)
    options["strategy_options"] = dict(_assignment(text) for text in options.pop("set_") or ())
    path = options.pop("resume")
    with screen.progress(enabled=not json_) as report:
        if path is not None:
            result = api.resume(path, report, processes=processes, evidence=evidence)
        else:
            result = api.search(**options, report=report)
    _show(result, json_, screen.print_search)
    if "evidence" in result and not json_:
        from .reporting import print_evidence

        print_evidence(result["evidence"])


@app.command()
def retrain(
    context: typer.Context,
    what: What,
    data: Data = None,
    inherit: Annotated[bool, typer.Option(help="Start from the supernet's weights.")] = False,
    hold_out: Annotated[
        bool, typer.Option(help="Train on three quarters, keep the best on the last.")
    ] = False,
    recipe: Recipe = None,
    seed: Seed = 0,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option(help="Folder, where WHAT is no run.")] = None,
    device: Device = "cpu",
    workers: Workers = 0,
    memory: Memory = None,
    precision: Precision = None,
    cuda_graph: CudaGraph = False,
    strict: Strict = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Train a network from scratch and test it once; the same command again goes on."""
    from . import api, screen

    with screen.progress(enabled=not json_) as report:
        result = api.retrain(**_options(context), report=report)
    _show(result, json_, screen.print_metrics)


@app.command()
def evaluate(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="Run folder or arch.json.")],
    weights: Annotated[Path | None, typer.Option(help="Weights written by retrain.")] = None,
    data: Data = None,
    device: Device = "cpu",
    workers: Workers = 0,
    strict: Strict = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Test trained weights on the test split."""
    from . import api, screen

    _show(api.evaluate(**_options(context)), json_, screen.print_metrics)


@app.command()
def count(
    what: What,
    resolution: Annotated[int | None, typer.Option(help="Pixels.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    per_layer: Annotated[bool, typer.Option(help="Show every layer.")] = False,
    check: Annotated[bool, typer.Option(help="Compare with an outside counter.")] = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Count multiply-adds, params and activations, exactly."""
    from . import api, screen

    result = api.count(what, resolution=resolution, classes=classes, layers=per_layer, check=check)
    _show(result, json_, screen.print_count)


@app.command()
def spaces(config: Config = None, json_: Json = False) -> None:
    """List the search spaces: choices, size and range of FLOPs."""
    from . import screen

    _show(screen.list_spaces(), json_, screen.print_spaces)


@app.command()
def compare(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="Run folder of a finished search.")],
    seeds: Annotated[int, typer.Option(help="Trainings of each network.")] = 3,
    random: Annotated[int, typer.Option(help="Random archs of the same band.")] = 8,
    data: Data = None,
    recipe: Recipe = None,
    seed: Annotated[int, typer.Option(help="Seed of the random archs.")] = 0,
    steps: Steps = None,
    processes: Processes = None,
    device: Device = "cpu",
    workers: Workers = 0,
    strict: Strict = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Train the found arch, references and random archs alike; the same command goes on."""
    from . import screen
    from .comparing import compare as implementation

    with screen.progress(enabled=not json_) as report:
        result = implementation(**_options(context), report=report)
    _show(result, json_, screen.print_comparison)


@app.command()
def report(
    context: typer.Context,
    runs: Annotated[list[str], typer.Argument(help="Run folders, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(help="HTML file; report.html in the run unless given.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for event files of TensorBoard (extra: report).")
    ] = None,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Write a page about runs: pictures, comparison, rank correlations, cost; and its JSON."""
    from .reporting import print_report
    from .reporting import report as implementation

    _show(implementation(**_options(context)), json_, print_report)


@app.command()
def references(
    context: typer.Context,
    flops: Annotated[str | None, typer.Option(help="Budget, for example 300M:400M.")] = None,
    task: Annotated[str | None, typer.Option(help="Only the references of a task.")] = None,
    config: Config = None,
    json_: Json = False,
) -> None:
    """List published networks: printed figures beside nastk's own counts."""
    from . import screen
    from .nasbench.references import list_references

    _show(list_references(**_options(context)), json_, screen.print_references)


@app.command()
def export(
    what: What,
    to: Annotated[Path, typer.Option(help="File to write: model.pt2 or model.onnx.")],
    config: Config = None,
    json_: Json = False,
) -> None:
    """Write the retrained network as a file that runs without nastk, and check the file."""
    from . import screen
    from .exporting import export as implementation

    _show(implementation(what, to), json_, screen.print_export)


bench = typer.Typer(help="Measure nastk on this machine; markdown, or JSON with --json.")
app.add_typer(bench, name="bench", no_args_is_help=True)
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
    _show(lookup("benchmark of space", space, benches)(rounds=rounds), json_, _print_markdown)


@bench.command("ops")
def bench_ops(rounds: Rounds = 5, json_: Json = False) -> None:
    """Time one mixed depthwise convolution beside its largest candidate, and NNI's."""
    from .benchmarks.ops import bench_ops as implementation

    _show(implementation(rounds=rounds), json_, _print_markdown)


@bench.command("memory")
def bench_memory(json_: Json = False) -> None:
    """Measure what a step of the main job keeps, and its peak memory."""
    from .benchmarks.memory import bench_memory as implementation

    _show(implementation(), json_, _print_markdown)


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

        _show(tune_kernels(), json_, _print_markdown)
        return
    from .benchmarks.kernels import bench_kernels as implementation

    _show(implementation(rounds=rounds, nchw=nchw), json_, _print_markdown)


def _print_markdown(result: Any) -> None:
    from .benchmarks.tables import markdown

    print(markdown(result))


@app.command()
def doctor(json_: Json = False) -> None:
    """Say what this installation can do, which kernels run, and why."""
    from . import screen
    from .doctor import examine

    _show(examine(), json_, screen.print_doctor)


def _show(result: Any, as_json: bool, printer: Callable[[Any], None]) -> None:
    if as_json:
        print(json.dumps(result))
    else:
        printer(result)


_HOW_TO_GO_ON = (
    "stopped; a search goes on with nastk search --resume RUN, a retraining or a comparison when "
    "the same command is given again"
)


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error."""
    import signal

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except _USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the whole help, not a mistake
            if help_text := error.format_message():
                print(help_text)
            sys.exit(0)
        path = error.ctx.command_path if error.ctx else "nastk"
        print(f"nastk: {error.format_message()} ({path} --help explains)", file=sys.stderr)
        sys.exit(2)
    except (ValueError, RuntimeError, OSError) as error:
        infeasible = type(error).__name__ == "InfeasibleBudgetError"
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"nastk: {message}", file=sys.stderr)
        sys.exit(3 if infeasible else 2 if isinstance(error, ValueError) else 1)
    if code == 130:  # interrupted, in whichever way this version of typer says so
        print(_HOW_TO_GO_ON, file=sys.stderr)
    sys.exit(code)
