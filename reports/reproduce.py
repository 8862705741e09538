"""Which commands make a run again, and which ones make what it lacks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from ..core.check import as_tuple
from ..core.resolution import as_typed
from ..nasbench.families import make_space
from ..records.naming import space_for
from ..records.trust import recorded_space
from ..strategies.supernet_strategy import OF_RECIPE
from ..tasks.own import is_own, place_of
from .story import Story


def commands(story: Story) -> list[str]:
    """Return the commands that make this run again, in a folder beside it."""
    manifest, again = story.manifest, f"{story.path}-again"
    if not story.is_search:
        command = manifest.get("command") or []
        return [shlex.join(["nastk", *map(str, command)])] if command else []
    words = ["nastk", "search", "--space", manifest["space"]]
    words += _flags(manifest, "flops", "params", "activations")
    strategy, options = manifest.method
    words += [*_data(manifest), "--strategy", str(strategy)]
    words += ["--seed", str(manifest.get("seed", 0))]
    words += _flags(manifest, "evaluator", "supernet", "device", "workers", "memory", "precision")
    words += _flags(manifest, "cuda_graph", "strict", "target_classes", "evidence")
    changes = manifest.get("recipe_changes") or {}
    words += _flags(changes, "epochs", "batch_size", "lr")
    words += recipe_flags(changes)
    words += _sizes(story)
    for name, value in options.items():
        if name in ("steps", "evaluations", "finalists"):
            words += [f"--{name}", str(value)]
        elif name not in OF_RECIPE or name not in changes:
            words += ["--set", _assignment(name, value)]
    for name, value in manifest.get("evaluator_options", {}).items():
        words += ["--evaluator-set", _assignment(name, value)]
    commands = [shlex.join([*words, "--out", again])]
    if "compare" in story.files:
        made = story.files["compare"]
        count = sum(row["kind"] == "random" for row in made["rows"])
        seeds = max((row["seeds"] for row in made["rows"]), default=3)
        words = ["--seeds", str(seeds), "--random", str(count)]
        words += _flags(made, "recipe", "steps") + _data(made)
        words += _flags(made.get("record", {}), "seed", "device", "workers", "strict")
        words += _flags(made.get("record", {}), "precision", "cuda_graph")
        commands.append(shlex.join(["nastk", "compare", again, *words]))
    if "retrain" in story.files:
        made, record = story.files["retrain"], story.files["retrain"].get("record", {})
        words = {"inherit": ["--inherit"], "held-out": ["--hold-out"]}.get(record.get("start"), [])
        words = words + _data(made) + _flags(record, "recipe", "steps", "seed", "device")
        words += _flags(record, "workers", "memory", "precision", "cuda_graph", "strict")
        commands.append(shlex.join(["nastk", "retrain", again, *words]))
    return [*commands, shlex.join(["nastk", "report", again])]


def _data(made: Mapping[str, Any]) -> list[str]:
    """Return how the data of a result were given."""
    data = made.get("data")
    if data is None:
        return []
    return ["--task", place_of(data)] if is_own(data) else ["--data", data]


def recipe_flags(changes: Mapping[str, Any]) -> list[str]:
    """Return the flag of a recipe, as far as others do not say what was asked for."""
    others = ("name", "epochs", "batch_size", "lr")
    rest = [f"{k}={_word(v)}" for k, v in changes.items() if k not in others]
    text = str(changes.get("name", "")) + (":" + ",".join(rest) if rest else "")
    return ["--recipe", text] if text else []


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _assignment(name: str, value: Any) -> str:
    return f"{name}={_word(value)}"


# What the commands take without being told; the others depend on the device or the data.
_USUAL = {"device": "cpu", "workers": 0, "seed": 0, "cuda_graph": False, "strict": False}


def _flags(record: Mapping[str, Any], *names: str) -> list[str]:
    """Return the flags of what a record says and the command would not do by itself."""
    words: list[str] = []
    for name in names:
        value = record.get(name)
        if value is None or value == _USUAL.get(name):
            continue
        flag = "--" + name.replace("_", "-")
        words += [flag] if value is True else [flag, str(value)]
    return words


def _sizes(story: Story) -> list[str]:
    """Return the flags of sizes in which target and proxy differ from what they are by default."""
    words: list[str] = []
    manifest = story.manifest
    try:
        family = recorded_space(manifest, story.path)
        usual = make_space(family, manifest["target"])
    except ValueError:
        return words
    proxy = manifest["proxy"]
    if usual.resolution != family().resolution:
        words += ["--target-resolution", as_typed(usual.resolution)]
    usual = space_for(manifest["data"], usual)
    for key in ("resolution", "scale"):
        if key in proxy and as_tuple(proxy[key]) != usual.options.get(key):
            typed = as_typed(proxy[key]) if key == "resolution" else str(proxy[key])
            words += [f"--proxy-{key}", typed]
    return words


def missing_parts(story: Story) -> list[dict[str, str]]:
    """Return the parts that are not there, and the command that makes each."""
    folder = shlex.quote(str(story.path))
    if not story.is_search:
        return _missing_of_training(story, folder)
    if story.status == "unfinished":
        return [{"part": "the end of the search", "command": f"nastk search --resume {folder}"}]
    missing = []
    if "compare" not in story.files:
        command = f"nastk compare {folder}"
        missing.append(
            {"part": "published networks and random archs beside it", "command": command}
        )
    if "evidence" not in story.files:
        part = "rank correlations of the search's own scores"
        if "compare" not in story.files or story.trials:
            part = "whether the search was worth its cost, and rank correlations"
        command = f"nastk search --resume {folder} --evidence quick"
        missing.append({"part": part, "command": command})
    elif story.files["evidence"].get("level") != "full":
        part = "rank correlations with seeds and a ceiling"
        command = f"nastk search --resume {folder} --evidence full"
        missing.append({"part": part, "command": command})
    if "retrain" not in story.files:
        part = "trained weights, accuracy, learning curve, answers by class"
        missing.insert(0, {"part": part, "command": f"nastk retrain {folder}"})
    return _missing_of_training(story, folder) + missing


def _missing_of_training(story: Story, folder: str) -> list[dict[str, str]]:
    """Return what a training lacks that was made before these were recorded."""
    if "retrain" not in story.files:
        return []
    missing = []
    if story.answers is None and "classes" in story.manifest.data_record:
        part = "accuracy of each class, what is confused, test images with answers"
        missing.append({"part": part, "command": f"nastk evaluate {folder}"})
    if story.curve is None:
        seed = (story.files["retrain"].get("record") or {}).get("seed")
        again = f"nastk retrain {folder} --seed {seed + 1 if isinstance(seed, int) else 1}"
        part = "the learning curve, which only another training can record"
        missing.append({"part": part, "command": again})
    return missing
