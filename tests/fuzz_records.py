"""Mutate the files of run folders by the thousand: every reader answers in one line or works.

`NASTK_FUZZ=10000 python tests/fuzz_records.py [KIND...]` mutates each kind of file so often, a seed
a mutation (`NASTK_FUZZ_FROM` is the first). Every mutation goes through the reader of its file;
one in `NASTK_FUZZ_EVERY` (5) of those that it lets through goes through the page, the counts or
whatever else uses the file; and one in twenty of these through a whole command, on a few images.
`test_fuzz_records.py` is the short form.

Seen on 2 cores of an AMD EPYC: 10,000 mutations of a kind take one to two minutes of CPU time. Of
each kind 10,000 were made in November 2026, 250,000 in all. They found tracebacks of 8 sorts
(fields of the band, rank and verdict that nobody had checked, sizes that a manifest does not say, a
filter that is a list, losses of 1e308, an entropy of null, shares without a step, an error of 2,000
characters, names that no file can have), which are mended; none of them is left.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mutations import mutate
from nastk.core.answers import Answers
from nastk.core.checkpoint import load_checkpoint
from nastk.core.files import file_sha256, is_temporary, load_json, read_json
from nastk.core.job import read_result
from nastk.core.record import checked, read_record
from nastk.core.run import Run
from nastk.evaluators.curve import read_curve
from nastk.records import trust
from nastk.records.counted import read_counts
from nastk.records.front import read_front
from nastk.records.naming import found_in, spaces_of
from nastk.records.results import RESULTS, Figure, read_learned
from nastk.records.weights import metadata_of
from nastk.workflows.finding import last_entropy
from run_folders import commands, make_runs

SECONDS = 60  # that a command may take
EXPECTED = (ValueError, RuntimeError, OSError)


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        run: which of the runs.
        pattern: of its name within the run.
        way: of the mutation.
        read: the reader that every mutation goes through, of the run folder and the file.
        uses: commands that write nothing, one of them for what the reader lets through.
        long: commands, one of which some of these go through.
    """

    run: str
    pattern: str
    way: str
    read: Callable[[Path, Path], Any]
    uses: tuple[str, ...] = ("page",)
    long: tuple[str, ...] = ("report",)


def _result(run: Path, file: Path) -> Any:
    return read_record(file, RESULTS[file.stem])


def _checkpoint(run: Path, file: Path) -> Any:
    return load_checkpoint(file.parent.parent, file.parent.name)


ALL = ("count", "report", "check", "load", "evaluate", "export", "resume", "resume again")
ALL += ("retrain", "retrain from supernet", "compare", "evidence")
AGAIN = ("resume again", "retrain", "retrain from supernet", "evidence")
KINDS = {
    "manifest": Kind(
        "super",
        "manifest.json",
        "json",
        lambda run, file: spaces_of(Run.open(run)),
        ("page", "problem", "count", "load"),
        ALL,
    ),
    "manifest of trials": Kind(
        "trials",
        "manifest.json",
        "json",
        lambda run, file: spaces_of(Run.open(run)),
        ("page", "problem"),
        ("report", "resume", "count"),
    ),
    "arch": Kind(
        "super",
        "arch.json",
        "json",
        lambda run, file: found_in(Run.open(run)),
        ("page", "count", "check", "load"),
        ALL,
    ),
    "cost": Kind(
        "super", "cost.json", "json", lambda run, file: read_counts(Run(run)), ("count", "page")
    ),
    "result": Kind(
        "super",
        "result.json",
        "json",
        _result,
        ("page", "result"),
        ("report", "evidence", "compare"),
    ),
    "ranking": Kind("super", "ranking.json", "json", lambda run, file: read_learned(file, None)),
    "front": Kind(
        "super",
        "front.json",
        "json",
        lambda run, file: read_front(Run(run)),
        ("page",),
        ("compare", "report"),
    ),
    "retrain": Kind(
        "super", "retrain.json", "json", _result, ("page", "load"), ("report", "evaluate", "export")
    ),
    "compare": Kind("super", "compare.json", "json", _result),
    "evidence": Kind(
        "super", "evidence.json", "json", _result, ("page", "result"), ("report", "resume")
    ),
    "inherited": Kind(
        "super",
        "inherited.json",
        "json",
        lambda run, file: checked(load_json(file), dict[str, Figure], str(file)),
        (),
        ("evidence",),
    ),
    "training": Kind(
        "super",
        "trainings/*/result.json",
        "json",
        lambda run, file: read_result(file),
        (),
        ("compare", "evidence"),
    ),
    "curve": Kind("super", "retrain-*-curve.json", "json", lambda run, file: read_curve(file)),
    "answers": Kind(
        "super",
        "retrain-*-answers.json",
        "json",
        lambda run, file: Answers.from_json(read_json(file)),
        long=("report", "evaluate"),
    ),
    "events": Kind(
        "super",
        "metrics.jsonl",
        "lines",
        lambda run, file: last_entropy(Run(run).events()),
        long=("report", "resume again", "evidence"),
    ),
    "events of logits": Kind(
        "logits",
        "metrics.jsonl",
        "lines",
        lambda run, file: last_entropy(Run(run).events()),
        long=("report", "resume again"),
    ),
    "events of trials": Kind(
        "trials",
        "metrics.jsonl",
        "lines",
        lambda run, file: last_entropy(Run(run).events()),
        long=("report", "resume"),
    ),
    "spent": Kind(
        "trials",
        "spent.json",
        "json",
        lambda run, file: Run(run).restore_spent(),
        long=("resume", "report"),
    ),
    "skipped": Kind(
        "trials",
        "skipped.json",
        "json",
        lambda run, file: checked(load_json(file), list[str], str(file)),
        long=("resume",),
    ),
    "trial": Kind(
        "trials",
        "trainings/*/result.json",
        "json",
        lambda run, file: read_result(file),
        long=("resume",),
    ),
    "hashes": Kind(
        "super",
        "checkpoints/*/sha256.json",
        "json",
        _checkpoint,
        (),
        AGAIN,
    ),
    "state": Kind("super", "checkpoints/*/state.pt", "state", _checkpoint, (), AGAIN),
    "tensors": Kind(
        "super", "checkpoints/*/weights.safetensors", "tensors", _checkpoint, (), AGAIN
    ),
    "weights": Kind(
        "super",
        "retrain-*.safetensors",
        "weights",
        lambda run, file: metadata_of(file),
        ("load",),
        ("evaluate", "export"),
    ),
    "code": Kind(
        "super",
        "code/mine.py",
        "bytes",
        lambda run, file: found_in(Run.open(run)),
        ("count", "page", "load"),
        ("check", "report"),
    ),
}


class _TookTooLongError(BaseException):
    """A command waits for what never comes."""


def _stop(*_: object) -> None:
    raise _TookTooLongError


def outcome(name: str, command: Callable[[], Any]) -> tuple[bool, str | None]:
    """Run a command; return whether it worked, and what is wrong with how it ended, if anything."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    works = False
    try:
        command()
        works = True
    except EXPECTED as error:
        if isinstance(error, RecursionError | NotImplementedError | UnicodeError):
            return False, f"{name}: {traceback.format_exc()}"
        message = " ".join(str(error).split())
        if not 0 < len(message) < 1500:
            return False, f"{name}: a message of {len(message)} characters: {message[:200]}"
    except _TookTooLongError:
        return False, f"{name}: took more than {SECONDS} s"
    except BaseException:
        return False, f"{name}: {traceback.format_exc()}"
    finally:
        signal.alarm(0)
    return works, None


class Place:
    """A copy of a run in which one file after the other is mutated and put back.

    Attributes:
        kind: of the files.
        folder: that holds the copy and nothing else.
    """

    def __init__(self, kind: str, runs: dict[str, Path], folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self._how = KINDS[kind]
        self._whole, self._run = runs[self._how.run], folder / "run"
        shutil.copytree(self._whole, self._run)
        self._is_own_code = self._how.run == "super"

    def once(self, seed: int, every: int) -> list[str]:
        """Mutate a file and use it; return what went wrong.

        Args:
            seed: of the mutation.
            every: one in so many that the reader lets through is used.
        """
        chance = random.Random(f"{self.kind} {seed}")
        file = chance.choice(sorted(self._run.glob(self._how.pattern)))
        entries = {file, *file.parent.glob("sha256.json")}
        content = {entry: entry.read_bytes() for entry in entries}
        try:
            mutate(file, self._how.way, chance)
            self._trust(chance)
            found = list(self._wrong(file, chance, every))
        finally:
            for entry, data in content.items():
                entry.write_bytes(data)
        return [f"{self.kind}, seed {seed}, {text}" for text in found]

    def _trust(self, chance: random.Random, run: Path | None = None) -> None:
        trust._trusted_now.clear()
        if self._is_own_code and chance.random() < 0.6:
            file = self._run / "code" / "mine.py"
            trust._trusted_now.add((str((run or self._run).resolve()), file_sha256(file)))

    def _wrong(self, file: Path, chance: random.Random, every: int) -> Iterator[str]:
        works, text = outcome("reader", lambda: self._how.read(self._run, file))
        if text:
            yield text
        uses, table = self._how.uses, commands(self._run)
        if chance.random() * every > (1 if uses else 0.1) * (1 if works else 0.1):
            return
        if uses:
            name = chance.choice(uses)
            if text := outcome(name, table[name])[1]:
                yield text
        if not uses or chance.random() < 0.05:
            yield from self._long(chance)

    def _long(self, chance: random.Random) -> Iterator[str]:
        name = chance.choice(self._how.long)
        with tempfile.TemporaryDirectory(dir=self._whole.parent) as place:
            run = Path(place, "run")
            shutil.copytree(self._run, run)
            self._trust(chance, run)
            if text := outcome(name, commands(run)[name])[1]:
                yield text
            for entry in Path(place).rglob(".*.tmp"):
                if is_temporary(entry.name):
                    yield f"{name}: left {entry} behind"


def main() -> int:
    """Mutate each kind of file, or those that are named, and tell what went wrong."""
    count, first, every = (
        int(os.environ.get(f"NASTK_FUZZ{name}", usual))
        for name, usual in (("", "100"), ("_FROM", "0"), ("_EVERY", "5"))
    )
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # of damaged checkpoints, and of code that has changed
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"NASTK_CHECKPOINT_SECONDS": "0", "XDG_STATE_HOME": f"{folder}/state"}
        runs = make_runs(Path(folder))
        for kind in sys.argv[1:] or KINDS:
            start = time.perf_counter()
            place = Place(kind, runs, Path(folder, kind.replace(" ", "-")))
            wrong = [t for seed in range(first, first + count) for t in place.once(seed, every)]
            num_wrong += len(wrong)
            seconds = time.perf_counter() - start
            print(f"{kind}: {count} mutations in {seconds:.0f} s, {len(wrong)} wrong", flush=True)
            for text in wrong[:5]:
                print(text, flush=True)
    return min(num_wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
