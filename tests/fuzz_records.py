"""Mutate the files of run folders by the thousand: every command answers in one line or works.

`NASTK_FUZZ=10000 python tests/fuzz_records.py [KIND...]` mutates each kind of file so often, a seed
a mutation (`NASTK_FUZZ_FROM` is the first); `test_fuzz_records.py` is its short form.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nastk
import torch
from nastk import evaluating, evidence, exporting, finding
from nastk.core.files import is_temporary
from nastk.nasbench import compare as comparison
from nastk.nasbench import trust
from safetensors import safe_open
from safetensors.torch import load, load_file, save

SECONDS = 60  # that a command may take
EXPECTED = (ValueError, RuntimeError, OSError)
SPACE = """
from nastk.search_spaces import SPACES

class Mine(SPACES["toy"]):
    name = "Mine"
"""
VALUES = [None, True, False, 0, 1, -1, 2, 1.5, -0.5, 1e308, 10**18, 2**64, 10**40, "", "x", "a:b"]
VALUES += ["\ud800", "/", "..", "\0", "cpu", "9" * 30, [], [1], ["a"], [None, 1], [[1, 2]], {}]
VALUES += [{"a": 1}]
JUNK = [b"", b"[", b"null", b"{}", b"[]", b"\xff\xfe", b"1e999", b'{"a": NaN}', b"\0"]
JUNK += [b"[" * 100_000]


class _Inline:
    """An executor that runs what is submitted at once."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:
            future.set_exception(error)
        return future


@contextmanager
def _inline(processes: int, option: str = "") -> Any:
    yield _Inline()


def make_runs(folder: Path, replace: Callable[..., None] = setattr) -> dict[str, Path]:
    """Return the runs whose files are mutated: a supernet search, a black-box one under way.

    Args:
        folder: for the runs.
        replace: as setattr; puts quick ways in place of slow ones.
    """
    for module in (comparison, evaluating):
        replace(module, "worker_pool", _inline)
    replace(exporting, "_written", lambda *_: 0.0)  # one second an export
    quick = evidence.Level(num_random=2, seeds=1, share=0.004)
    replace(evidence, "LEVELS", evidence.LEVELS | {"quick": quick})
    (folder / "mine.py").write_text(SPACE)
    runs = {"super": folder / "super", "trials": folder / "trials"}
    run = runs["super"]
    name, quiet = f"{folder}/mine.py:Mine", {"quiet": True}
    nastk.search(name, "90%", steps=4, out=run, evidence="quick", **quiet)
    nastk.retrain(run, steps=3, hold_out=True, **quiet)
    nastk.evaluate(run)
    nastk.compare(run, seeds=2, random=1, steps=1, processes=1, **quiet)
    given = {"strategy": "local", "evaluations": 3, "steps": 2, "processes": 1}
    replace(finding, "close_trials", lambda run: 0)  # they are kept
    nastk.search("toy", "90%", out=runs["trials"], quiet=True, **given)
    replace(finding, "close_trials", evaluating.close_trials)
    for name in ("result.json", "arch.json", "cost.json"):
        (runs["trials"] / name).unlink()
    (runs["trials"] / "skipped.json").write_text('["a.png"]')
    events = (runs["trials"] / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (runs["trials"] / "metrics.jsonl").write_bytes(b"".join(events[:2]))
    return runs


def commands(run: Path) -> dict[str, Callable[[], Any]]:
    """Return what is run on a mutated folder, by name."""
    return {
        "count": lambda: nastk.count(run, layers=True),
        "report": lambda: nastk.report([run]),
        "check": lambda: nastk.count(run, check=True),
        "load": lambda: nastk.load(run),
        "evaluate": lambda: nastk.evaluate(run),
        "export": lambda: exporting.export(run, run.parent / "m.pt2", force=True),
        "resume": lambda: nastk.resume(run, quiet=True),
        "resume again": lambda: _resume_again(run),
        "retrain": lambda: nastk.retrain(run, steps=3, hold_out=True, quiet=True),
        "retrain from supernet": lambda: nastk.retrain(run, steps=1, inherit=True, quiet=True),
        "compare": lambda: nastk.compare(run, seeds=2, random=1, steps=1, processes=1, quiet=True),
        "evidence": lambda: _evidence_again(run),
    }


def _resume_again(run: Path) -> Any:
    (run / "result.json").unlink(missing_ok=True)
    return nastk.resume(run, quiet=True)


def _evidence_again(run: Path) -> Any:
    (run / "evidence.json").unlink(missing_ok=True)
    return nastk.resume(run, evidence="quick", quiet=True)


# Kind of file: its run, the pattern of its name, the mutation, and the commands that read it.
ALL = ("count", "report", "check", "load", "evaluate", "export", "resume", "resume again")
ALL += ("retrain", "retrain from supernet", "compare", "evidence")
KINDS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "manifest": ("super", "manifest.json", "json", ALL),
    "manifest of trials": ("trials", "manifest.json", "json", ("report", "resume", "count")),
    "arch": ("super", "arch.json", "json", ALL),
    "cost": ("super", "cost.json", "json", ("count untrusted", "report untrusted")),
    "result": ("super", "result.json", "json", ("report", "resume", "evidence", "compare")),
    "ranking": ("super", "ranking.json", "json", ("report",)),
    "retrain": ("super", "retrain.json", "json", ("report", "load", "evaluate", "export")),
    "compare": ("super", "compare.json", "json", ("report",)),
    "evidence": ("super", "evidence.json", "json", ("report", "resume")),
    "inherited": ("super", "inherited.json", "json", ("evidence",)),
    "training": ("super", "compare/*/metrics.json", "json", ("compare", "evidence")),
    "curve": ("super", "retrain-*-curve.json", "json", ("report",)),
    "answers": ("super", "retrain-*-answers.json", "json", ("report", "evaluate")),
    "events": ("super", "metrics.jsonl", "lines", ("report", "resume again", "evidence")),
    "events of trials": ("trials", "metrics.jsonl", "lines", ("report", "resume")),
    "spent": ("trials", "spent.json", "json", ("resume", "report")),
    "skipped": ("trials", "skipped.json", "json", ("resume",)),
    "trial": ("trials", "trials/*/result.json", "json", ("resume",)),
    "hashes": ("super", "checkpoints/*/sha256.json", "json", ("resume again", "retrain")),
    "state": ("super", "checkpoints/*/state.pt", "state", ("resume again", "retrain")),
    "tensors": (
        "super",
        "checkpoints/*/weights.safetensors",
        "tensors",
        ("resume again", "retrain", "retrain from supernet", "evidence"),
    ),
    "weights": ("super", "retrain-*.safetensors", "weights", ("load", "evaluate", "export")),
    "code": ("super", "code/mine.py", "bytes", ("count", "report", "check", "load")),
}


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return bytes that were flipped, cut, doubled, lost, or are others altogether."""
    way = chance.randrange(6)
    place = chance.randrange(len(content) + 1)
    size = chance.choice((1, 2, 7, 40))
    if way == 0 and content:
        changed = bytearray(content)
        for _ in range(size):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)
    if way == 1:
        return content[:place]
    if way == 2:
        return content[:place] + content[place : place + size] * 2 + content[place + size :]
    if way == 3:
        return content[:place] + content[place + size :]
    if way == 4:
        return content[:place] + chance.randbytes(size) + content[place:]
    return chance.choice(JUNK)


def mutated_value(document: Any, chance: random.Random, values: list[Any] = VALUES) -> Any:
    """Return a document in which one entry is another, is gone, is doubled or has another name."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node))
        for key in list(keys):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if isinstance(document, dict | list):
        walk(document)
    if not places or chance.random() < 0.02:
        return chance.choice(values)
    for _ in range(chance.choice((1, 1, 1, 2))):
        node, key = chance.choice(places)
        if key not in (node if isinstance(node, dict) else range(len(node))):
            continue
        way = chance.random()
        if way < 0.6:
            node[key] = chance.choice(values)
        elif way < 0.8:
            del node[key]
        elif way < 0.9 and isinstance(node, dict):
            node[chance.choice(("x", "", "arch", "probs", "code"))] = node.pop(key)
        else:
            other, wanted = chance.choice(places)
            if wanted in (other if isinstance(other, dict) else range(len(other))):
                node[key] = json.loads(json.dumps(other[wanted], default=str))
    return document


def mutate(file: Path, way: str, chance: random.Random) -> None:
    """Change a file, its checksum with it where it has one."""
    content = file.read_bytes()
    if way == "bytes" or chance.random() < 0.25:
        file.write_bytes(mutated_bytes(content, chance))
    elif way == "json":
        file.write_text(json.dumps(mutated_value(json.loads(content), chance)))
    elif way == "lines":
        lines = [json.loads(line) for line in content.splitlines()]
        place = chance.randrange(len(lines))
        lines[place] = mutated_value(lines[place], chance)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    elif way == "state":
        values = [*VALUES, torch.zeros(3), torch.tensor(2.0), (1, 2), [1.0, 2.0]]
        state = mutated_value(torch.load(io.BytesIO(content), weights_only=True), chance, values)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        file.write_bytes(buffer.getvalue())
    elif way == "tensors":
        file.write_bytes(save(_other_tensors(load(content), chance)))
    else:
        _mutate_weights(file, chance)
    if way in ("state", "tensors") and chance.random() < 0.8:
        names = ("weights.safetensors", "state.pt")
        sums = {n: hashlib.sha256((file.parent / n).read_bytes()).hexdigest() for n in names}
        (file.parent / "sha256.json").write_text(json.dumps(sums))


def _other_tensors(tensors: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    name = chance.choice(list(tensors))
    way = chance.randrange(4)
    if way == 0:
        del tensors[name]
    elif way == 1:
        tensors[name] = torch.zeros(chance.choice(((0,), (3,), (1, 2, 3))))
    elif way == 2:
        tensors[name] = tensors[name].to(chance.choice((torch.int8, torch.float64, torch.bool)))
    else:
        tensors["x"] = tensors.pop(name)
    return tensors


def _mutate_weights(file: Path, chance: random.Random) -> None:
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    if chance.random() < 0.3:
        tensors = _other_tensors(tensors, chance)
    else:
        key = chance.choice(list(metadata))
        changed = mutated_value(json.loads(metadata[key]), chance)
        metadata[key] = json.dumps(changed) if chance.random() < 0.9 else str(changed)[:20]
    file.write_bytes(
        save(
            tensors, {key: str(v).encode(errors="replace").decode() for key, v in metadata.items()}
        )
    )


class _TookTooLongError(BaseException):
    """A command waits for what never comes."""


def _stop(*_: object) -> None:
    raise _TookTooLongError


def failure(name: str, command: Callable[[], Any], folder: Path) -> str | None:
    """Run a command; return what is wrong with how it ended, None if nothing is."""
    signal.signal(signal.SIGALRM, _stop)
    signal.alarm(SECONDS)
    try:
        command()
    except EXPECTED as error:
        if isinstance(error, RecursionError | NotImplementedError | UnicodeError):
            return f"{name}: {traceback.format_exc()}"
        message = " ".join(str(error).split())
        if not 0 < len(message) < 1500:
            return f"{name}: a message of {len(message)} characters: {message[:200]}"
    except _TookTooLongError:
        return f"{name}: took more than {SECONDS} s"
    except BaseException:
        return f"{name}: {traceback.format_exc()}"
    finally:
        signal.alarm(0)
    left = [entry for entry in folder.rglob(".*.tmp") if is_temporary(entry.name)]
    return f"{name}: left {left[0]} behind" if left else None


def once(kind: str, seed: int, runs: dict[str, Path], most: int = 3) -> list[str]:
    """Mutate a file of a kind and run commands on it; return what went wrong."""
    chance = random.Random(f"{kind} {seed}")
    which, pattern, way, wanted = KINDS[kind]
    with tempfile.TemporaryDirectory(dir=runs[which].parent) as place:
        run = Path(place, "run")
        shutil.copytree(runs[which], run)
        trust._trusted_now.clear()
        is_trusted = not wanted[0].endswith("untrusted")
        if is_trusted and which == "super" and way != "bytes":
            nastk.trust(run)
        file = chance.choice(sorted(run.glob(pattern)))
        mutate(file, way, chance)
        if way == "bytes" and chance.random() < 0.7:
            nastk.trust(run)
        names = [name.removesuffix(" untrusted") for name in wanted]
        table = commands(run)
        chosen = chance.sample(names, min(most, len(names)))
        found = (failure(name, table[name], Path(place)) for name in chosen)
        return [f"{kind}, seed {seed}, {text}" for text in found if text is not None]


def main() -> int:
    """Mutate each kind of file, or those that are named, and tell what went wrong."""
    count = int(os.environ.get("NASTK_FUZZ", "100"))
    first = int(os.environ.get("NASTK_FUZZ_FROM", "0"))
    kinds = sys.argv[1:] or list(KINDS)
    torch.set_num_threads(1)
    num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"NASTK_CHECKPOINT_SECONDS": "0", "XDG_STATE_HOME": f"{folder}/state"}
        runs = make_runs(Path(folder))
        for kind in kinds:
            start = time.perf_counter()
            wrong = [
                text for seed in range(first, first + count) for text in once(kind, seed, runs)
            ]
            num_wrong += len(wrong)
            seconds = time.perf_counter() - start
            print(f"{kind}: {count} mutations in {seconds:.0f} s, {len(wrong)} wrong", flush=True)
            for text in wrong[:5]:
                print(text, flush=True)
    return min(num_wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
