"""Operators that do nothing are named, and those that do something are not."""

import itertools

import asking
import pytest
import torch
from nastk.core.dead import WHOLE, dead_operators
from nastk.core.sampler import sample
from nastk.core.spec import Spec
from nastk.ops import residual
from nastk.search_spaces import SPACES, NasBench201
from nastk.search_spaces.nasbench201 import EDGES, OPERATIONS
from torch import nn

SPECS = [Spec(shape=(3, 8, 8))]
CELL = NasBench201(cells=1, channels=2, resolution=8)


def built(**edges):
    names = {f"node{node}.input{source}": "none" for source, node in EDGES}
    return CELL.build(names | {f"node{edge[-1]}.input{edge[0]}": o for edge, o in edges.items()})


class Idle(nn.Module):
    """A network with an operator whose output nobody reads, and one that reads zeros."""

    def __init__(self):
        super().__init__()
        self.stem, self.unread, self.fed_zeros = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.positions = nn.Parameter(torch.zeros(1, 3, 8, 8))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        x = self.stem(x) + self.positions
        self.unread(x)
        return self.head((x + self.fed_zeros(torch.zeros_like(x))).mean((2, 3)))


def test_an_unread_operator_and_one_fed_with_constants_are_named():
    network = Idle()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert dead_operators(network, SPECS) == ["unread", "fed_zeros"]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
    assert network.training and all(weight.grad is None for weight in network.parameters())


def test_a_branch_whose_norm_begins_at_zero_is_alive():
    branch = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))
    nn.init.zeros_(branch[1].weight)
    network = nn.Sequential(residual(branch, 3), nn.Flatten(), nn.Linear(192, 2))
    assert dead_operators(network, SPECS) == []


def test_frozen_operators_are_judged_as_others():
    network = Idle().requires_grad_(False)
    assert dead_operators(network, SPECS) == ["unread", "fed_zeros"]


def test_dead_edges_of_a_cell_are_named_as_a_whole():
    # Node 1 is fed with zeros: what follows it says the same of all images.
    dead = dead_operators(
        built(**{"0to3": "skip_connect", "1to2": "nor_conv_3x3", "2to3": "nor_conv_1x1"}), SPECS
    )
    assert dead == ["1", "3", "5"]  # the cells, which have no other operators
    unread = built(**{"0to3": "nor_conv_1x1", "0to2": "nor_conv_3x3"})
    assert dead_operators(unread, SPECS) == [f"{cell}.edges.0to2" for cell in (1, 3, 5)]
    assert dead_operators(built(), SPECS) == [WHOLE]


@pytest.mark.slow
def test_what_is_dead_is_what_the_constraint_excludes():
    rules = NasBench201(alive=True).constraints
    rows = list(itertools.product(range(5), repeat=6))[::97]
    for row in rows:
        drawn = dict(zip(CELL.choices(), torch.tensor(row).reshape(6, 1).numpy(), strict=True))
        names = {name: OPERATIONS[i] for name, i in zip(CELL.choices(), row, strict=True)}
        is_dead = dead_operators(CELL.build(names), SPECS) != []
        assert is_dead == (not all(rule.allows(drawn)[0] for rule in rules)), names


@pytest.mark.parametrize("name", sorted({*SPACES} - {"nasbench201"}))
def test_networks_of_own_spaces_have_nothing_dead(name):
    options = {"resolution": 32, "num_classes": 10, "scale": 0.2}
    fields = {f for f in options if f in SPACES[name].__dataclass_fields__}
    space = SPACES[name](**{f: options[f] for f in fields})
    drawn = sample(space, 1, 7)
    arch = space.arch_at({choice: int(column[0]) for choice, column in drawn.items()})
    assert dead_operators(space.build(arch), space.inputs()) == []


def test_a_network_that_no_probe_runs_does_not_end_a_search(tmp_path, monkeypatch):
    def refuse(network, shape):
        raise RuntimeError("expected int8\nand more")

    monkeypatch.setattr("nastk.workflows.finding.dead_operators", refuse)
    said = []
    found = asking.search(
        "toy", "90%", strategy="random", evaluations=1, steps=1, out=tmp_path / "run",
        report=lambda event: said.append(event.get("say", "")),
    )  # fmt: skip
    assert found["dead"] is None and (tmp_path / "run/result.json").exists()
    line = "could not look for dead operators in the found network: expected int8"
    assert f"warning: {line}" in said


class Bell(nn.Module):
    """A network whose signal is an exponential that large weights make vanish beside a bias."""

    def __init__(self):
        super().__init__()
        self.stem, self.last = nn.Conv2d(3, 64, 1), nn.Conv2d(1, 2, 1)

    def forward(self, x):
        return self.last((-self.stem(x).square().sum(1, keepdim=True)).exp()).mean((2, 3))


def test_a_signal_that_is_small_beside_a_bias_is_alive():
    torch.manual_seed(0)
    assert dead_operators(Bell(), SPECS) == []
