"""Every body carries the head of every kind that its space names, and all of them are counted."""

import dataclasses
import inspect

import pytest
import torch
from nastk.core.graph import network_graph
from nastk.core.sampler import sample
from nastk.evaluators.efficiency import outside_flops
from nastk.nasbench.families import FAMILIES
from nastk.search_spaces import SPACES, SandglassMicro, Toy
from nastk.search_spaces.heads import HEADS, Body, Ending
from nastk.tasks.images.arrays import ArrayTask
from nastk.training.task import aimed, fitted
from torch import nn

SMALL = {
    "sandglass": {"resolution": 64, "scale": 0.2},
    "mbconv": {"resolution": 64, "scale": 0.2},
    "sandglass-micro": {"resolution": 29},  # which no reduction divides
}
BODIES = [name for name, family in SPACES.items() if set(HEADS) <= set(family.tasks)]
OUTPUTS = 3


def space_of(name, kind):
    return SPACES[name](task=kind, num_classes=OUTPUTS, **SMALL.get(name, {}))


def random_archs(space, count):
    drawn = sample(space, count, 0)
    return [space.arch_at({n: int(c[i]) for n, c in drawn.items()}) for i in range(count)]


def shape_of(kind, side):
    half = (side + 1) // 2
    maps = {"saliency": (side, side), "pose": (half, half)}
    return (2, OUTPUTS, *maps.get(kind, ()))


def test_every_space_of_convolutions_has_a_body():
    assert {"sandglass", "sandglass-micro", "mbconv", "mbconv-micro", "toy"} <= set(BODIES)


LARGE = ("sandglass", "mbconv")
PAIRS = [
    pytest.param(name, kind, marks=[pytest.mark.slow] * (name in LARGE and kind != "saliency"))
    for name in BODIES
    for kind in HEADS
]


@pytest.mark.parametrize("name, kind", PAIRS)
def test_a_head_is_counted_as_it_is_built_and_gives_the_shape_of_its_kind(name, kind):
    space = space_of(name, kind)
    x = torch.randn(2, *space.input_shape, generator=torch.Generator().manual_seed(0))
    for arch in random_archs(space, 1 if name in LARGE else 2):
        network, counts = space.build(arch).eval(), space.cost.count(space.indices(arch))
        assert sum(p.numel() for p in network.parameters()) == counts["params"]
        assert outside_flops(network, space.inputs())[1] == counts["flops"]
        assert network(x).shape == shape_of(kind, space.resolution)


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind != "classification"])
@pytest.mark.parametrize("name", ["toy", "sandglass-micro", "mbconv-micro"])
def test_a_supernet_with_a_head_is_each_of_its_networks(name, kind):
    space = space_of(name, kind)
    supernet = space.supernet().double().eval()
    x = torch.randn(2, *space.input_shape, dtype=torch.float64)
    for arch in random_archs(space, 2):
        supernet.select(arch.choices)
        extracted = supernet.extract(arch.choices)
        built = space.build(arch).double().eval()
        built.load_state_dict(extracted.state_dict())
        one_hot = torch.zeros_like(supernet.uniform_probs(), dtype=torch.float64)
        for row, index in zip(one_hot, space.indices(arch).values(), strict=True):
            row[index] = 1
        expected = supernet(x)
        supernet.mix(one_hot)
        for found in (supernet(x), extracted(x), built(x)):
            assert (found - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("name", BODIES)
def test_the_body_is_the_same_whatever_head_it_carries(name):
    """Its weights have the same names, shapes and values, and its archs the same choices."""
    plain = space_of(name, "")
    arch = random_archs(plain, 1)[0]
    with_labels = plain.build(arch).state_dict()
    with_mask = space_of(name, "saliency").build(arch.choices).state_dict()
    last = max(int(key.partition(".")[0]) for key in with_mask)
    shared = [key for key in with_mask if int(key.partition(".")[0]) < last]
    assert len(shared) > len(with_labels) / 2
    for key in shared:
        assert torch.equal(with_mask[key], with_labels[key]), key


def test_the_usual_task_leaves_no_trace_in_an_arch():
    """So that archs of before have the names that they had."""
    assert "task" not in Toy().options and Toy(task="saliency").options["task"] == "saliency"
    with pytest.raises(ValueError, match=r"builds networks for .*saliency.*, got task 'chess'"):
        Toy(task="chess")


def test_features_are_the_last_of_every_size():
    body = Body()
    for channels, stride in ((4, 2), (5, 1), (6, 2), (7, 1), (8, 2)):
        body.add(nn.Identity(), channels, stride=stride)
    assert [(f.layer, f.channels, f.reduction) for f in body.features] == [
        (1, 5, 2),
        (3, 7, 4),
        (4, 8, 8),
    ]


def test_a_network_with_a_mask_is_traced_as_a_graph():
    space = space_of("toy", "saliency")
    graph = network_graph(space.build(random_archs(space, 1)[0]))
    assert {"x", "output"} <= set(graph) and len(graph) > 10


def test_published_networks_keep_their_heads():
    assert "saliency" not in FAMILIES["published"].tasks


def test_every_head_takes_the_same_and_a_kind_of_a_users_own_takes_labels():
    assert all(
        list(inspect.signature(h).parameters) == ["body", "outputs", "ending"]
        for h in HEADS.values()
    )
    body = Body()
    body.add(nn.Identity(), 4)
    network = body.network("defects", 2, Ending())
    assert network(torch.randn(3, 4, 5, 5)).shape == (3, 2)


class Seen(ArrayTask):
    kind, like, least_resolution, sizes = "seen", "saliency", 48, {"num_classes": 1}


def test_a_space_is_aimed_at_a_kind_before_data_are_read():
    space = aimed(SandglassMicro(), Seen)
    assert (space.task, space.num_classes, space.resolution) == ("saliency", 1, 48)
    assert aimed(SandglassMicro(resolution=64), Seen).resolution == 64
    assert aimed(space, ArrayTask).task == ""


def test_a_task_fits_a_space_to_its_kind_and_leaves_its_pixels():
    task = object.__new__(Seen)
    space = fitted(SandglassMicro(), task)
    assert (space.kind, space.num_classes, space.resolution) == ("saliency", 1, 28)
    assert dataclasses.replace(space, task="") == SandglassMicro(num_classes=1)
