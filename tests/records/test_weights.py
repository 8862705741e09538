"""Weights are loaded into the network that they belong to, and into no other."""

import dataclasses
import os
from pathlib import Path

import asking
import nastk
import pytest
import torch
from nastk.records.naming import resolve
from nastk.records.weights import save_weights


def weights_of(what, folder, **changes):
    """Untrained weights as retrain writes them for the proxy of a network."""
    space, arch = resolve(what)
    space = dataclasses.replace(space.proxy(), num_classes=10, **changes)
    network = space.build(arch.choices, seed=1)
    path = Path(folder, "w.safetensors")
    save_weights(network, path, space, arch, {"space": space.name, "data": "digits"})
    return path, network


@pytest.mark.parametrize(
    "what, other, detail",
    [
        ("mobilenetv3-small-1.0", "efficientnet-b0", "model is 'mobilenetv3-small'"),
        ("mobilenetv2-0.35", "mobilenetv2-1.0", r"width is 0\.35, not 1\.0"),
        ("mobilenetv2-1.0", "mobilenext-1.0", "space is 'mbconv', not 'sandglass'"),
        ("mobilenext-1.0-q2", "mobilenext-1.0", "other choices"),
    ],
)
def test_weights_of_another_network_are_refused_in_one_line(what, other, detail, tmp_path):
    path, _ = weights_of(what, tmp_path)
    for function in (nastk.evaluate, nastk.load):
        with pytest.raises(ValueError, match=f"another network than {other}: .*{detail}") as caught:
            function(other, weights=path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "what, scale", [("mobilenetv2-0.35", 0.1), ("mobilenext-0.1", 1.0), ("mnasnet-a1", 0.1)]
)
def test_weights_of_proxy_and_target_are_loaded(what, scale, tmp_path):
    path, network = weights_of(what, tmp_path, scale=scale, resolution=32)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(nastk.load(what, weights=path)(x), network.eval()(x))


def test_a_name_of_any_bytes_is_read_and_its_space_is_run(tmp_path):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe4"))
    place.mkdir()
    path, network = weights_of("mobilenetv2-0.35", place, scale=0.1, resolution=32)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(nastk.load("mobilenetv2-0.35", weights=path)(x), network.eval()(x))
    text = "from nastk.search_spaces import SPACES\nclass Mine(SPACES['toy']):\n    pass\n"
    (place / "mine.py").write_text(text)
    found = asking.search(f"{place}/mine.py:Mine", "90%", strategy="random", out=place / "run")
    assert found.arch.space == "Mine"


def test_loading_refuses_options_that_it_would_ignore(tmp_path):
    path, _ = weights_of("mobilenext-0.1", tmp_path)
    with pytest.raises(ValueError, match="their own resolution and classes: leave out"):
        nastk.load("mobilenext-0.1", weights=path, resolution=999, classes=3)
    for weights in (path, None):
        with pytest.raises(TypeError, match="nonsense"):
            nastk.load("mobilenext-0.1", weights=weights, nonsense=1)
    network = nastk.load("mobilenext-0.1", resolution=32, classes=3)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


@pytest.mark.slow
def test_the_weights_of_a_run_belong_to_it_and_to_its_arch(tmp_path):
    found = asking.search("toy", "55K", strategy="random", out=tmp_path / "run")
    trained = asking.retrain(found["run"], steps=2)
    for what in (tmp_path / "run", tmp_path / "run/arch.json"):
        tested = nastk.evaluate(what, weights=trained["weights"])
        assert tested["metrics"]["test_loss_nats"] == trained["metrics"]["test_loss_nats"]
        nastk.load(what, weights=trained["weights"])
    choices = dict(resolve(tmp_path / "run")[1].choices)
    other = resolve(tmp_path / "run")[0].arch(choices | {"width": 24 - choices["width"]})
    (tmp_path / "other.json").write_text(other.to_json())
    with pytest.raises(ValueError, match="other choices"):
        nastk.load(tmp_path / "other.json", weights=trained["weights"])
