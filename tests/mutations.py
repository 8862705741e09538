"""Changes of files as a careless or a hostile hand makes them, drawn at random."""

from __future__ import annotations

import hashlib
import io
import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save

VALUES = [None, True, False, 0, 1, -1, 2, 1.5, -0.5, 1e308, 10**18, 2**64, 10**40, "", "x", "a:b"]
VALUES += ["\ud800", "/", "..", "\0", "cpu", "9" * 30, [], [1], ["a"], [None, 1], [[1, 2]], {}]
VALUES += [{"a": 1}]
JUNK = [b"", b"[", b"null", b"{}", b"[]", b"\xff\xfe", b"1e999", b'{"a": NaN}', b"\0"]
JUNK += [b"[" * 100_000]


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
