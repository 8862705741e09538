"""The way of one search through the code: functions entered, and who imports whom.

python -m nastk.benchmarks.trip

A search runs as the command line would run it, under `sys.setprofile`. Source lines are those of
the functions of nastk that were entered, docstrings included, each line once; what runs while a
module is imported does not count. Imports are read from the source, those inside functions too.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import json
import os
import runpy
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SEARCH = "search --space sandglass-micro --flops 0.8M --steps 20"
OUTSIDE = ("tests", "examples", "docs", "build")  # no part of the package


def entered(command: list[str]) -> set[CodeType]:
    """Return the code of every function of nastk that a command enters, in all of its threads.

    Args:
        command: words behind `nastk`, which may write into the current folder.

    Raises:
        RuntimeError: if it fails.
    """
    found: set[CodeType] = set()
    local = threading.local()

    def note(frame: FrameType, event: str, _: Any) -> None:
        depth = getattr(local, "depth", 0)  # of modules that are being imported
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            local.depth = depth + {"call": 1, "return": -1}.get(event, 0)
        elif event == "call" and not depth:
            found.add(frame.f_code)

    before, code = sys.argv, 0
    sys.argv = ["nastk", *command]
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        runpy.run_module("nastk", run_name="__main__")
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
        sys.argv = before
    if code:
        raise RuntimeError(f"nastk {' '.join(command)} ended with code {code}")
    own = set(map(str, modules().values()))
    is_function = inspect.CO_OPTIMIZED  # bodies of modules and classes are not
    return {c for c in found if c.co_flags & is_function and c.co_filename in own}


def code_lines(codes: set[CodeType]) -> dict[str, set[int]]:
    """Return by file the lines of functions that have code of their own: no docstrings."""
    lines: dict[str, set[int]] = {}
    for code in codes:
        file = str(Path(code.co_filename).relative_to(ROOT))
        lines.setdefault(file, set()).update(line for *_, line in code.co_lines() if line)
    return lines


def lines_of(codes: set[CodeType]) -> dict[str, set[int]]:
    """Return by file the lines of functions, from the first decorator to the end."""
    lines = code_lines(codes)
    for file, known in lines.items():
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            if isinstance(node, ast.FunctionDef):
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                if any(c.co_firstlineno == first for c in codes if c.co_filename.endswith(file)):
                    known |= set(range(first, (node.end_lineno or first) + 1))
    return lines


def measure(command: list[str]) -> dict[str, Any]:
    """Return `command files functions lines code_lines` of the way of a command, and `by_file`."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                codes = entered(command)
        finally:
            os.chdir(here)
    lines = {file: len(found) for file, found in lines_of(codes).items()}
    return {
        "command": " ".join(["nastk", *command]),
        "files": len(lines),
        "functions": len(codes),
        "lines": sum(lines.values()),
        "code_lines": sum(map(len, code_lines(codes).values())),
        "by_file": dict(sorted(lines.items(), key=lambda item: -item[1])),
    }


def modules() -> dict[str, Path]:
    """Return the files of the package by the names of their modules, without `nastk`."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if not parts[0].startswith(".") and parts[0] not in OUTSIDE:
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def imports() -> dict[str, set[str]]:
    """Return by module the modules of nastk that it imports, wherever the statement stands."""
    known = modules()
    return {name: set(_imported(name, path, known)) for name, path in known.items()}


def _imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = package[: len(package) - node.level + 1]
        elif (node.module or "").split(".")[0] == "nastk":
            base = []
        else:
            continue
        tail = (node.module or "").split(".") if node.level else str(node.module).split(".")[1:]
        target = ".".join([*base, *filter(None, tail)])
        for alias in node.names:
            inner = f"{target}.{alias.name}" if target else alias.name
            other = inner if inner in known else target
            if other not in (name, ""):  # of the root itself modules read the version
                yield other


def house() -> dict[str, Any]:
    """Return `rooms floors arrows circles` of the package.

    A room is a folder of the package, the root among them; an arrow leads from one to another that
    it imports. The floors are the rooms on the longest way down. Circles are sets of rooms, or of
    modules, that reach each other.
    """
    arrows = imports()
    known = modules()
    rooms: dict[str, set[str]] = {}
    for name, others in arrows.items():
        room = _room(name, known)
        rooms.setdefault(room, set()).update(_room(other, known) for other in others)
    for room, others in rooms.items():
        others.discard(room)
    of_modules = [sorted(circle) for circle in circles(arrows) if len(circle) > 1]
    return {
        "rooms": len(rooms),
        "floors": max(depths(rooms).values()),
        "arrows": sum(map(len, rooms.values())),
        "circles_of_rooms": [sorted(c) for c in circles(rooms) if len(c) > 1],
        "circles": of_modules,
    }


def _room(name: str, known: Mapping[str, Path]) -> str:
    if name == "__init__":
        return "nastk"
    return name if known[name].name == "__init__.py" else name.rpartition(".")[0] or "nastk"


def depths(arrows: Mapping[str, set[str]]) -> dict[str, int]:
    """Return on which floor each room lies; rooms of a circle lie on one."""
    found = circles(arrows)
    home = {name: number for number, circle in enumerate(found) for name in circle}
    depths: dict[int, int] = {}
    for number, circle in enumerate(found):  # those that are imported come first
        below = {home[other] for name in circle for other in arrows[name]} - {number}
        depths[number] = 1 + max((depths[other] for other in below), default=0)
    return {name: depths[number] for name, number in home.items()}


def circles(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """Return the sets of nodes that reach each other (Tarjan 1972), from the ground up."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(arrows[node]):
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            at = stack.index(node)
            found.append(set(stack[at:]))
            del stack[at:]

    for node in sorted(arrows):
        if node not in order:
            visit(node)
    return found


def main() -> None:
    """Measure and print; a JSON file where asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--command", default=SEARCH, help="what runs, without nastk")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--files", type=int, default=15, help="files to show, the longest first")
    options = parser.parse_args()
    result = measure(options.command.split()) | house()
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    longest = list(result["by_file"].items())[: options.files]
    print("| lines | file |\n|---|---|")
    print("\n".join(f"| {lines} | `{file}` |" for file, lines in longest))
    print(f"\n`{result['command']}` enters {result['functions']} functions in {result['files']}")
    print(f"files, {result['lines']:,} source lines, {result['code_lines']:,} of them with code.")
    print(f"{result['rooms']} rooms on {result['floors']} floors, {result['arrows']} arrows.")
    for circle in result["circles_of_rooms"] + result["circles"]:
        print("circle: " + " <-> ".join(circle))


if __name__ == "__main__":
    main()
