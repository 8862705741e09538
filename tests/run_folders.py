"""Run folders to mutate, made quickly, and all that is done with one."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import asking
import nastk
from nastk.commands import screen
from nastk.comparison import contestants
from nastk.core.files import jsonable
from nastk.core.run import Run
from nastk.records import plugins, reading
from nastk.reports.document import document
from nastk.reports.page import page
from nastk.reports.story import read_story
from nastk.tasks import named
from nastk.workflows import evidence, export
from nastk.workflows.finding import last_entropy

SPACE = """
from nastk.search_spaces import SPACES

class Mine(SPACES["toy"]):
    name = "Mine"
"""


def _few_images() -> dict[str, Callable[[], Any]]:
    """Return embedded data of which a training reads 48 images and a test 24."""
    whole = named.EMBEDDED["digits-photo"]()

    def part(arrays: Callable[[int], Any], count: int) -> Callable[[int], Any]:
        return cache(lambda side: tuple(values[:count] for values in arrays(side)))

    few = dataclasses.replace(
        whole, train=part(whole.train, 48), test=part(whole.test, 24), num_test=24
    )
    return named.EMBEDDED | {"digits-photo": lambda: few}


def make_runs(folder: Path, replace: Callable[..., None] = setattr) -> dict[str, Path]:
    """Return the runs whose files are mutated: searches by a supernet with and without logits, and
    a black-box one under way.

    Args:
        folder: for the runs.
        replace: as setattr; puts quick ways in place of slow ones.
    """
    replace(export, "_written", lambda *_: 0.0)  # one second an export
    replace(named, "EMBEDDED", _few_images())
    replace(contestants, "references", dict)  # ten seconds to count
    quick = evidence.Level(num_random=2, seeds=1, share=0.3)
    replace(evidence, "LEVELS", evidence.LEVELS | {"quick": quick})
    (folder / "mine.py").write_text(SPACE)
    runs = {name: folder / name for name in ("super", "logits", "trials")}
    run = runs["super"]
    name, quiet = f"{folder}/mine.py:Mine", {"quiet": True}
    quickly = {"evidence": "quick", "processes": 1}
    budgets = "90%,95%"  # the front of a search has a file too
    asking.search(name, budgets, steps=4, out=run, **quickly, **quiet)
    asking.retrain(run, steps=3, hold_out=True, **quiet)
    nastk.evaluate(run)
    nastk.compare(run, seeds=2, random=1, steps=1, processes=1, **quiet)
    asking.search("toy", "90%", steps=4, strategy="gumbel", out=runs["logits"], **quiet)
    given = {"strategy": "local", "evaluations": 3, "steps": 2, "processes": 1}
    asking.search("toy", "90%", out=runs["trials"], quiet=True, **given)
    for name in ("result.json", "arch.json", "cost.json"):
        (runs["trials"] / name).unlink()
    (runs["trials"] / "skipped.json").write_text('["a.png"]')
    events = (runs["trials"] / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (runs["trials"] / "metrics.jsonl").write_bytes(b"".join(events[:2]))
    return runs


def commands(run: Path) -> dict[str, Callable[[], Any]]:
    """Return what is run on a mutated folder, by name; what writes into it stands last."""
    return {
        "page": lambda: _page(run),
        "count": lambda: nastk.count(run, layers=True),
        "check": lambda: nastk.count(run, check=True),
        "problem": lambda: _problem(run),
        "load": lambda: nastk.load(run),
        "report": lambda: nastk.report([run]),
        "evaluate": lambda: nastk.evaluate(run),
        "export": lambda: export.export(run, run.parent / "m.pt2", force=True),
        "result": lambda: _printed(asking.resume(run, quiet=True)),
        "resume": lambda: _printed(asking.resume(run, quiet=True)),
        "resume again": lambda: _resume_again(run),
        "retrain": lambda: asking.retrain(run, steps=3, hold_out=True, quiet=True),
        "retrain from supernet": lambda: asking.retrain(run, steps=1, inherit=True, quiet=True),
        "compare": lambda: nastk.compare(run, seeds=2, random=1, steps=1, processes=1, quiet=True),
        "evidence": lambda: _evidence_again(run),
    }


def _page(run: Path) -> None:
    """Do what `report` does, besides writing."""
    story = read_story(run)
    try:
        facts = document(story)
        json.dumps(jsonable(facts), allow_nan=False)
        page([story], [facts])
    except ValueError as error:
        raise AssertionError("a run that can be read has no page") from error


def _printed(found: nastk.Found) -> None:
    """Print the result of a search as its command does."""
    repr(found)
    with redirect_stdout(io.StringIO()):
        screen.print_search(dict(found))
        if "evidence" in found:
            screen.print_evidence(found["evidence"])


def _problem(run: Path) -> None:
    opened = Run.open(run)
    plugins.recorded_strategy(opened)
    plugins.recorded_evaluator(opened)
    reading.problem_of(opened)
    last_entropy(opened.events())


def _resume_again(run: Path) -> Any:
    (run / "result.json").unlink(missing_ok=True)
    return asking.resume(run, quiet=True)


def _evidence_again(run: Path) -> Any:
    (run / "evidence.json").unlink(missing_ok=True)
    return asking.resume(run, evidence="quick", quiet=True)
