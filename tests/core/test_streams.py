"""No two purposes draw the same random numbers, and nobody draws beside the list of purposes."""

import ast
import itertools
import json
import logging
from pathlib import Path

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.core.checkpoint import load_checkpoint, save_checkpoint
from nastk.core.streams import Stream, of_batch, of_item
from nastk.training.batch import Draw

ROOT = Path(nastk.__file__).parent
ROOMS = ["core", "training", "search_spaces", "tasks", "strategies", "evaluators", "nasbench"]
ROOMS += ["records", "comparison", "reports", "workflows"]
# Beside the list, each for a reason.
EXCEPTIONS = {
    # What is drawn there is data, whose content has a hash on record.
    "tasks/images/digits.py": ["seed"],
    "tasks/images/patches.py": ["(_SEEDS[column], index)"],
    "tasks/saliency/composite.py": ["seed"],
    # The state is NNI's own.
    "strategies/nni_bridge.py": ["state.randint(2 ** 31)"],
}


def numbers(generator):
    return tuple(generator.integers(2**62, size=2).tolist())


def test_no_state_belongs_to_two_purposes():
    """Short and long tuples of before were one state where numpy pads with zeros."""
    assert len({int(stream) for stream in Stream}) == len(Stream.__members__)
    few = range(3)
    states = [np.random.default_rng(seed) for seed in (*few, *map(int, Stream))]
    for stream, *place in itertools.product(Stream, few, few, few):
        states.append(stream.generator(*place))
        states.append(of_batch(stream, *place))
        states.append(of_item(stream, *place))
    for stream, *place in itertools.product(range(1, 4), few, few, few):  # a task's own
        draw = Draw(seed=place[0], epoch=place[1], position=place[2], step=0)
        states += [draw.of_batch(stream), draw.of_item(place[2], stream)]
    assert len(set(map(numbers, states))) == len(states)


def test_a_stream_is_no_function_of_the_others_place():
    same = Stream.SHIFT.generator(3, 1, 2)
    assert numbers(same) == numbers(Stream.SHIFT.generator(3, 1, 2))
    assert Stream.DROPOUT.seed(3, 7) == Stream.DROPOUT.seed(3, 7) < 2**32
    seeds = [Stream.DROPOUT.seed(seed, step) for seed in range(30) for step in range(30)]
    assert len(set(seeds)) == 900
    torch.manual_seed(seeds[0])  # takes it


def drawn_without_a_stream(code):
    """Yield what generators are seeded with besides names, constants and streams."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name not in ("default_rng", "manual_seed", "SeedSequence", "RandomState"):
            continue
        seed = node.args[0]
        is_stream = isinstance(seed, ast.Call) and ast.unparse(seed).startswith("Stream.")
        is_plain = isinstance(seed, ast.Name | ast.Constant | ast.Attribute)
        # A parameter may hide a tuple, which its annotation then says.
        if isinstance(seed, ast.Name):
            is_plain = not any(
                argument.arg == seed.id
                and argument.annotation is not None
                and "tuple" in ast.unparse(argument.annotation)
                for around in ast.walk(ast.parse(code))
                if isinstance(around, ast.FunctionDef)
                and around.lineno <= node.lineno <= (around.end_lineno or 0)
                for argument in around.args.args
            )
        if not is_stream and not is_plain:
            yield ast.unparse(seed)


def test_nobody_draws_from_a_state_that_has_no_stream():
    found = {}
    for file in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        name = str(file.relative_to(ROOT))
        if name != "core/streams.py" and (odd := list(drawn_without_a_stream(file.read_text()))):
            found[name] = odd
    assert found == EXCEPTIONS


@pytest.mark.parametrize("seed", ["(seed, 3)", "seed * 1_000_003 + step", "(*seed, 1)"])
def test_a_state_without_a_stream_is_seen(seed):
    assert list(drawn_without_a_stream(f"numpy.random.default_rng({seed})")) == [
        seed.replace("_0", "0")
    ]


def test_a_run_of_other_random_numbers_says_so_when_it_goes_on(tmp_path, monkeypatch, caplog):
    """Half of it was drawn from other streams: the rest cannot be what it would have been."""

    def stop(event):
        if event["step"] == 3:
            raise KeyboardInterrupt

    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    how = {"strategy": "logits", "steps": 5, "data": "digits"}
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", "55K", out=tmp_path / "run", report=stop, **how)
    file, folder = tmp_path / "run/manifest.json", tmp_path / "run/checkpoints"
    manifest = json.loads(file.read_text()) | {"git_commit": "0123456789abcdef"}
    manifest["versions"]["nastk"] = "0.1.9"
    file.write_text(json.dumps(manifest))
    weights, state = load_checkpoint(folder, "last")
    del state["streams"]  # as no version before wrote it
    save_checkpoint(folder, "last", weights, state)
    with caplog.at_level(logging.WARNING):
        found = asking.resume(tmp_path / "run", quiet=True)
    said = [r.message for r in caplog.records if "random numbers" in r.message]
    assert len(said) == 1 and "\n" not in said[0]
    assert "by nastk 0.1.9 (commit 0123456789)" in said[0]
    assert found.arch.space == "toy"
