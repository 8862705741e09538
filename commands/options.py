"""What the commands share: options, their TOML file, and how a result is shown."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def configure(context: typer.Context, config: Path | None) -> Path | None:
    """Let a TOML file set the defaults of a command, which its flags then override."""
    if config is None:
        return None
    if not config.is_file():
        raise ValueError(f"no file {config}; --config takes a TOML file of options")
    try:
        file = tomllib.loads(config.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{config} is not UTF-8 (byte {error.start}), as TOML has to be: save it as that"
        ) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{config} is not TOML: {error}") from None
    from ..core.lookup import lookup

    # An option is written as behind its dashes: --per-layer is per-layer or per_layer.
    names = {flag.lstrip("-"): p.name for p in context.command.params for flag in p.opts}
    known = {name: p for name, p in names.items() if name not in ("config", "help")}
    context.default_map = {
        lookup(f"option in {config}", key.replace("_", "-"), known): value
        for key, value in file.items()
    }
    return config


def options_of(context: typer.Context) -> dict[str, Any]:
    """Return the options of a command by name."""
    own = ("config", "json_", "trust")
    return {key: value for key, value in context.params.items() if key not in own}


def trust_code(wanted: bool, context: typer.Context) -> None:
    """Remember, where --trust is given, that the code of the run folders named here may run."""
    if wanted:
        from ..records.trust import trust

        named = context.params.get("what") or context.params.get("resume") or ()
        folders = named if isinstance(named, list | tuple) else [named]
        for run in filter(os.path.isdir, map(Path, folders)):
            for file in trust(run):
                typer.echo(f"trusted from now on: {file}", err=True)


def show(result: Any, as_json: bool, printer: Callable[[Any], None]) -> None:
    """Print a result as one JSON document (null for what is not finite) or by its printer."""
    if as_json:
        from ..core.files import jsonable

        print(json.dumps(jsonable(result), allow_nan=False))
    else:
        printer(result)


_NUMBERS = re.compile(r"[\d\s\[\],./eE+-]+")  # one or a list of them, fractions too
_FRACTION = re.compile(r"(?<![\w./])(\d+)/0*([1-9]\d*)(?![\w./])")


def assignment(text: str, flag: str = "--set", example: str = "level=bilevel") -> tuple[str, Any]:
    """Read NAME=VALUE; numbers, true or false and lists [...] as such, anything else as text.

    Example:
        >>> assignment("width=0.75"), assignment("multipliers=[1, 1/4]")
        (('width', 0.75), ('multipliers', [1, 0.25]))
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{flag} takes NAME=VALUE, for example {example}; got {text!r}")
    numbers = value
    try:
        if _NUMBERS.fullmatch(value):
            numbers = _FRACTION.sub(lambda found: repr(int(found[1]) / int(found[2])), value)
        return name, json.loads(numbers)
    except (ValueError, OverflowError, RecursionError):  # no JSON, or no number of a machine
        return name, value


def space_option(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE of --space-set."""
    return assignment(text, "--space-set", "width=0.75")


SpaceSet = Annotated[
    list[str] | None,
    typer.Option(
        help="Option of the space, NAME=VALUE, for example width=0.75 or "
        "'multipliers=[1,1/2,1/3,1/4]' of sandglass, or macro=v2 of mbconv; may be repeated."
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Steps = Annotated[int | None, typer.Option(help="Number of updates; a default for each space.")]
Epochs = Annotated[
    int | None, typer.Option(help="Passes over the training images, instead of the recipe's.")
]
BatchSize = Annotated[int | None, typer.Option(help="Images an update, instead of the recipe's.")]
Rate = Annotated[
    float | None, typer.Option("--lr", help="Peak learning rate, instead of the recipe's.")
]
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
Trust = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Let the code run that a run folder brings along, now and later (read it first).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Config = Annotated[
    Path | None,
    typer.Option(
        help="TOML file of options; flags override it.", callback=configure, is_eager=True
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="digits-photo, digits, textures (patches of two photos), with the extra data also "
        "mnist5k, mnist5k-photo, textures-photos (patches of ten photos); imagefolder:PATH "
        "(train/CLASS/... and val/CLASS/...), npz:PATH (x, y or x_train, y_train), idx:PATH or "
        "cifar10:PATH. Of salient objects: composite (drawn on two photos), composite-photos (on "
        "ten), duts:PATH (DUTS-TR-Image, DUTS-TR-Mask)."
    ),
]
TaskKind = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="Kind of task, classification or saliency, whose embedded data are taken unless "
        "--data says others; or a task of your own, FILE.py:CLASS, which reads its own data.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="How weights learn: a name of `nastk recipes`, one with changes as "
        "small:epochs=10,lr=0.002, changes alone as :clip=1, or FILE.toml with fields of a recipe; "
        "the usual one unless given."
    ),
]
What = Annotated[str, typer.Argument(help="Run folder, arch.json or published name.")]
