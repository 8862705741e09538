"""Which archs of a user's space are built and counted again."""

from dataclasses import dataclass

import asking
import nastk
import pytest
from nastk.core.constraint import Constraint
from nastk.ops import conv2d, linear, residual
from torch import nn


class Hidden(nn.Module):
    """Two convolutions, and a third of which the supernet knows nothing."""

    def __init__(self, hidden, odd):
        super().__init__()
        self.reduce, self.expand = conv2d(8, hidden, 1), conv2d(hidden, 8, 1)
        self.extra = nn.Conv2d(8, 8, 1) if isinstance(hidden, int) and hidden == odd else None

    def forward(self, x):
        x = self.expand(self.reduce(x))
        return x if self.extra is None else self.extra(x)


@dataclass(frozen=True, kw_only=True)
class Nested(nastk.Space):
    """Five widths inside a block that runs for one candidate of two choices each.

    Attributes:
        odd: the width at which the space is wrong.
    """

    resolution: int = 8
    num_classes: int = 5
    odd: int = 0

    def network(self, choose):
        inner = Hidden(choose("hidden", (1, 2, 3, 4, 5)), self.odd)
        for number in range(3):
            inner = residual(inner, 8, keep=choose(f"keep{number}", (0, 1)))
        layers = (conv2d(3, 8, choose("kernel", (3, 5))), inner, nn.AdaptiveAvgPool2d(1))
        return nn.Sequential(*layers, nn.Flatten(), linear(8, self.num_classes))


@pytest.mark.parametrize("odd", [1, 2, 3, 4, 5])
def test_every_candidate_is_tried_where_it_is_at_work(odd):
    with pytest.raises(ValueError, match=f"the flops of .* depend on choices.* hidden {odd}, "):
        _ = Nested(odd=odd).cost
    right = Nested()
    assert right.cost.count(dict.fromkeys(right.choices(), 1))["params"] == 75 * 8 + 32 + 45


def test_archs_that_a_rule_excludes_are_not_built():
    built = []

    @dataclass(frozen=True, kw_only=True)
    class Ruled(nastk.Space):
        resolution: int = 8
        num_classes: int = 5

        @property
        def constraints(self):
            wide = self.choices()["wide"]
            deep = self.choices()["deep"].map(lambda kernel: 2 * kernel)
            return (Constraint(name="small", terms=(wide, deep), high=14),)

        def network(self, choose):
            wide, deep = choose("wide", (4, 6, 8, 12)), choose("deep", (1, 3, 5))
            if isinstance(wide, int):
                built.append((wide, deep))
                if wide + 2 * deep > 14:
                    raise RuntimeError("no such network")
            layers = (conv2d(3, wide, deep), nn.AdaptiveAvgPool2d(1), nn.Flatten())
            return nn.Sequential(*layers, linear(wide, self.num_classes))

    assert Ruled().cost
    assert {wide for wide, _ in built} == {4, 6, 8, 12} and {deep for _, deep in built} == {1, 3, 5}


def test_a_space_without_choices_is_counted():
    @dataclass(frozen=True, kw_only=True)
    class Fixed(nastk.Space):
        resolution: int = 8
        num_classes: int = 5

        def network(self, choose):
            return nn.Sequential(nn.Flatten(), nn.Linear(192, self.num_classes))

    assert Fixed().cost.count({}) == {"flops": 960, "params": 965, "activations": 5}


class Pair(nn.Module):
    """A convolution that two candidates bring along together, which few archs show."""

    def __init__(self, first, second):
        super().__init__()
        is_odd = isinstance(first, int) and (first, second) == (19, 33)
        self.extra = nn.Conv2d(8, 8, 1) if is_odd else nn.Identity()

    def forward(self, x):
        return self.extra(x)


@dataclass(frozen=True, kw_only=True)
class Paired(nastk.Space):
    resolution: int = 8
    num_classes: int = 10

    def network(self, choose):
        first = choose("first", tuple(range(1, 41, 2)))
        second = choose("second", tuple(range(1, 41, 2)))
        layers = (conv2d(3, 8, first), conv2d(8, 8, second), Pair(first, second))
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(8, self.num_classes)
        )


def test_what_a_search_has_found_is_counted_again(tmp_path, monkeypatch):
    space = Paired()
    odd = space.arch({"first": 19, "second": 33})
    assert space.cost and space.check_count(space.arch({"first": 19, "second": 17})) is None
    with pytest.raises(ValueError, match=r"Paired: the flops of .* network of first 19, second 33"):
        space.check_count(odd)
    monkeypatch.setattr("nastk.strategies.random.RandomSampler.ask", lambda self: odd)
    with pytest.raises(ValueError, match="depend on choices in a way that nastk cannot see"):
        asking.search(Paired, "100%", strategy="random", data="digits", out=tmp_path / "run")
    assert not (tmp_path / "run/result.json").exists()
