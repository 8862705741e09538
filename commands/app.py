"""Commands that call one library function each; nothing heavy is imported before one needs it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from .bench import bench
from .console import fit_helps
from .errors import code_of
from .options import (
    Config,
    Json,
    Trust,
    What,
    options_of,
    show,
    trust_code,
)
from .search import SEARCH_HELP, search
from .spaces import recipes, spaces
from .stop import Stop
from .trained import compare, evaluate, export, retrain

_shown: list[bool] = []  # whether --traceback is given

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command(help=SEARCH_HELP)(search)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"nastk {__version__}")
        raise typer.Exit


@app.callback()
def nastk(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print it and exit."),
    ] = False,
    traceback_: Annotated[
        bool, typer.Option("--traceback", help="Show where in the code a command failed.")
    ] = False,
) -> None:
    """Find the best network under a compute budget.

    The order of work, what each step costs and what it leaves:

      search --space sandglass --flops 357M   one training: RUN, a network

      retrain RUN             one training: its weights, tested once

      compare RUN             33 trainings: is it better than its rivals?

      evaluate RUN            seconds: its accuracy once more, on other data

      export RUN --to F.onnx  seconds: a file that runs without nastk

      report RUN              seconds: one page about all of it

    Your own images: --data imagefolder:PATH, npz:FILE or idx:PATH; your own space:
    --space FILE.py:CLASS. What is killed goes on where it stood.
    """
    if traceback_:
        _shown.append(True)


app.command()(retrain)
app.command()(evaluate)


@app.command()
def count(
    context: typer.Context,
    what: What,
    resolution: Annotated[
        str | None, typer.Option(help="Pixels: 224, or height and width as 256x192.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes.")] = None,
    per_layer: Annotated[bool, typer.Option(help="Show every layer.")] = False,
    check: Annotated[bool, typer.Option(help="Compare with an outside counter.")] = False,
    trust: Trust = False,
    config: Config = None,
    json_: Json = False,
) -> None:
    """Count multiply-adds, params and activations, exactly."""
    trust_code(trust, context)
    from ..workflows import networks
    from . import screen

    options = {"resolution": resolution, "classes": classes, "layers": per_layer, "check": check}
    show(networks.count(what, **options), json_, screen.print_count)


app.command()(spaces)
app.command()(recipes)
app.command()(compare)


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
    from ..workflows.report import report as implementation
    from . import screen

    show(implementation(**options_of(context)), json_, screen.print_report)


@app.command()
def references(
    context: typer.Context,
    flops: Annotated[str | None, typer.Option(help="Budget, for example 300M:400M.")] = None,
    task: Annotated[str | None, typer.Option(help="Only the references of a task.")] = None,
    config: Config = None,
    json_: Json = False,
) -> None:
    """List published networks: printed figures beside nastk's own counts."""
    from ..nasbench.references import list_references
    from . import listings

    show(list_references(**options_of(context)), json_, listings.print_references)


app.command()(export)
app.add_typer(bench, name="bench", no_args_is_help=True)


@app.command()
def doctor(json_: Json = False) -> None:
    """Say what this installation can do, which kernels run, and why."""
    from ..workflows.doctor import examine
    from . import listings

    show(examine(), json_, listings.print_doctor)


fit_helps(app)


def _wait_quietly() -> None:
    """Keep threads that wait for the next parallel loop from taking cores from other programs.

    By default they spin for milliseconds; two searches on two cores then took 16 to 167 s, not 11.
    To be called before torch, and with it OpenMP, is loaded. Settings of the user's stay.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error."""
    _wait_quietly()
    with Stop() as stop:
        code = _run(stop)
    if stop:
        stop.end()
    sys.exit(code)


def _run(stop: Stop) -> int:
    """Run the command and return its exit code; whatever a stop has broken counts as stopped."""
    try:
        code: int = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except (Exception, SystemExit) as error:
        code = 130 if stop else code_of(error, shows_traceback=bool(_shown))
    if code == 130:  # interrupted, in whichever way this version of typer says so
        stop.say()
    return code
