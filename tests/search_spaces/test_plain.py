"""A built network owes nothing to nastk: its parts, its state and its exported file."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from nastk.core.sampler import sample
from nastk.search_spaces import SPACES
from nastk.workflows.export import export
from torch import nn

SMALL = {"resolution": 32, "num_classes": 10, "scale": 0.2}
PLAIN = (bool, int, float, str, torch.dtype, torch.Tensor, nn.Module, type(None))


def arch_of(name):
    options = {f.name for f in dataclasses.fields(SPACES[name])}
    space = SPACES[name](**{k: v for k, v in SMALL.items() if "scale" in options})
    drawn = sample(space, 1, 7)
    return space, space.arch_at({choice: int(column[0]) for choice, column in drawn.items()})


def values_of(state):
    """Every value in nested dicts, tuples and lists."""
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, list | tuple | set):
        for value in state:
            yield from values_of(value)
    else:
        yield state


@pytest.mark.parametrize("name", SPACES)
def test_built_networks_carry_no_meta_state(name):
    space, arch = arch_of(name)
    network = space.build(arch)
    for part in network.modules():
        if not list(part.children()):
            assert type(part).__module__.startswith("torch.nn"), part
        assert all(isinstance(value, PLAIN) for value in values_of(vars(part))), part
    names = {type(part).__module__ for part in network.modules()}
    assert not any("meta" in name or name.startswith("nastk.core") for name in names)
    assert not any(tensor.is_meta for tensor in network.state_dict().values())
    trainable = dict(network.named_parameters())
    assert (
        sum(p.numel() for p in trainable.values())
        == space.cost.count(space.indices(arch))["params"]
    )


RUNS = {
    "pt2": """
import torch
def run(x):
    return torch.export.load("model.pt2").module()(x)
""",
    "onnx": """
import onnxruntime, torch
def run(x):
    session = onnxruntime.InferenceSession("model.onnx")
    return torch.from_numpy(session.run(None, {"image": x.numpy()})[0])
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", RUNS)
@pytest.mark.parametrize("name", SPACES)
def test_exported_files_run_where_nastk_is_not_installed(name, ending, tmp_path):
    if ending == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    space, arch = arch_of(name)
    (tmp_path / "arch.json").write_text(arch.to_json())
    export(tmp_path / "arch.json", tmp_path / f"model.{ending}", untrained=True)
    x = torch.randn(3, *space.input_shape)
    with torch.no_grad():
        torch.save({"x": x, "y": space.build(arch).eval()(x)}, tmp_path / "expected.pt")
    code = f"""
import sys; sys.modules["nastk"] = None
{RUNS[ending]}
expected = torch.load("expected.pt", weights_only=True)
difference = (run(expected["x"]) - expected["y"]).abs().max()
assert difference <= 1e-5 * expected["y"].abs().max(), difference
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
