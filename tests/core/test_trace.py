"""Counts of networks built from anything, against torch's counter and the built module."""

from dataclasses import dataclass
from itertools import product

import nastk
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nastk.evaluators.efficiency import per_layer, torch_flops
from nastk.ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear, paths, residual
from torch import nn

from .pieces import CHOOSING, PIECES, C, Called


@dataclass(frozen=True, kw_only=True)
class Pieces(nastk.Space):
    """A stem, pieces in a row and a head.

    Attributes:
        pieces: names of `PIECES` or `CHOOSING`; one behind "?" may be skipped, and "again" is
            the first piece a second time.
    """

    resolution: int = 8
    num_classes: int = 5
    pieces: tuple[str, ...] = ()

    def network(self, choose):
        kernel = choose("kernel", (3, 5))
        layers = [
            ConvNormAct(conv2d(3, C, 3), batch_norm(C), nn.ReLU()),
            ConvNormAct(depthwise_conv2d(C, kernel), batch_norm(C)),
        ]
        made = None
        for number, written in enumerate(self.pieces):
            name = written.lstrip("?")
            if name in CHOOSING:
                piece = CHOOSING[name](choose, f"piece{number}")
            else:
                piece = made if name == "again" and made else PIECES.get(name, nn.Identity)()
            made = made or piece
            if written.startswith("?"):
                piece = residual(piece, C, keep=choose(f"piece{number}.keep", (1, 0)))
            layers.append(piece)
        head = linear(C, self.num_classes)
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def all_archs(space):
    choices = space.choices()
    for values in product(*(choice.candidates for choice in choices.values())):
        yield space.arch(dict(zip(choices, values, strict=True)))


def check(space, archs):
    for arch in archs:
        network = space.build(arch)
        counted = space.cost.count(space.indices(arch))
        assert counted["flops"] == sum(torch_flops(network, space.inputs()).values())
        assert counted["params"] == sum(p.numel() for p in network.parameters())
        rows = per_layer(space, arch)
        for metric, total in counted.items():
            assert sum(row[metric] for row in rows) == total


@pytest.mark.parametrize("name", [*PIECES, *CHOOSING])
def test_a_piece_counts_to_the_last_digit_whether_it_may_be_skipped_or_not(name):
    space = Pieces(pieces=(f"?{name}", name))
    check(space, all_archs(space))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_random_networks_count_to_the_last_digit(data):
    names = st.tuples(st.sampled_from(("", "?")), st.sampled_from([*PIECES, *CHOOSING, "again"]))
    drawn = data.draw(st.lists(names.map("".join), min_size=2, max_size=5))
    space = Pieces(pieces=tuple(drawn))
    archs = list(all_archs(space))
    check(space, data.draw(st.lists(st.sampled_from(archs), min_size=1, max_size=3)))


@pytest.mark.parametrize("pieces", [("?layer_scale", "?again"), ("layer_scale", "?again", "?tied")])
def test_a_module_in_two_blocks_is_held_where_either_is_kept(pieces):
    space = Pieces(pieces=pieces)
    check(space, all_archs(space))


def test_the_mode_of_the_caller_does_not_change_a_count():
    space = Pieces(pieces=("mha", "sdpa", "encoder_layer"), num_classes=6)
    with torch.inference_mode():
        inside = space.cost.flops.tables
    assert inside == Pieces(pieces=space.pieces, num_classes=6).cost.flops.tables
    check(space, all_archs(space))


def test_activations_are_those_of_convolutions_and_linear_layers_however_written():
    """A product with a parameter is a linear layer, one of two features is none."""

    def activations(*pieces):
        space = Pieces(pieces=pieces)
        return space.cost.count({name: 0 for name in space.choices()})["activations"]

    plain, feature = activations(), C * 8 * 8
    assert plain == 2 * feature + 5
    for name in ("per_pixel", "functional", "einsum", "channels", "weight_norm"):
        assert activations(name) - plain == feature, name
    assert activations("own_attention") == plain
    assert activations("mha") - plain == (3 + 1) * feature
    assert activations("transposed") - plain == 4 * feature


def test_a_path_counts_only_where_it_is_chosen():
    @dataclass(frozen=True, kw_only=True)
    class Either(nastk.Space):
        resolution: int = 8
        num_classes: int = 5

        def network(self, choose):
            made = {name: PIECES[name] for name in ("mha", "unused", "tied")}
            return nn.Sequential(
                conv2d(3, C, 3),
                paths(choose("piece", tuple(made)), made),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                linear(C, self.num_classes),
            )

    check(Either(), all_archs(Either()))


def middle(make):
    """Return a space with a part made from the number of channels, which is a choice."""

    @dataclass(frozen=True, kw_only=True)
    class Made(nastk.Space):
        resolution: int = 8
        num_classes: int = 5

        def network(self, choose):
            width = choose("width", (4, 8))
            return nn.Sequential(
                ConvNormAct(conv2d(3, width, 3), batch_norm(width), nn.ReLU()),
                make(width),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                linear(width, self.num_classes),
            )

    return Made()


class Bare(nn.Module):
    """Self-attention without weights: its FLOPs depend on the channels that come in."""

    def forward(self, x):
        t = x.flatten(2)
        return (t @ torch.softmax(t.transpose(1, 2) @ t, -1)).reshape(x.shape)


class Scale(nn.Module):
    """A parameter for every channel, as many as the built network has."""

    def __init__(self, width):
        super().__init__()
        size = width if isinstance(width, int) else max(width.values)
        self.gamma = nn.Parameter(torch.ones(size, 1, 1))

    def forward(self, x):
        return x * self.gamma


class Merges(nn.Module):
    """Channels that a choice decides about, merged into the batch."""

    def __init__(self):
        super().__init__()
        self.conv = conv2d(1, 1, 3)

    def forward(self, x):
        return self.conv(x.flatten(0, 1)[:, None]).reshape(x.shape)


@pytest.mark.parametrize(
    "make, metric, where",
    [
        (lambda width: Bare(), "flops", "Bare at '1'"),
        (Scale, "params", "Scale at '1'"),
        (lambda width: Merges(), "flops", "Conv2d at '1.conv'"),
    ],
)
def test_what_depends_on_a_choice_unseen_is_refused_with_its_module(make, metric, where):
    with pytest.raises(ValueError, match=f"Made: the {metric} of {where} depend on choices"):
        _ = middle(make).cost


def test_a_path_that_changes_the_size_of_what_follows_is_refused():
    @dataclass(frozen=True, kw_only=True)
    class Strided(nastk.Space):
        resolution: int = 8
        num_classes: int = 5

        def network(self, choose):
            made = {n: lambda n=n: nn.Conv2d(3, C, 1, stride=n) for n in (1, 2)}
            stem = paths(choose("stride", (1, 2)), made)
            return nn.Sequential(stem, conv2d(C, C, choose("kernel", (3, 5))), nn.Flatten(2))

    with pytest.raises(ValueError, match="Strided: the flops of Conv2d at '1' depend on choices"):
        _ = Strided().cost


@pytest.mark.parametrize(
    "part, words",
    [
        (
            lambda: Called(lambda self, x: torch.fft.fft2(x).real),
            "aten._fft_c2c.* in Called at '1'",
        ),
        (
            lambda: Called(lambda self, x: self.pair(x, x), pair=nn.Bilinear(8, 8, 8)),
            "aten._trilinear.* in Bilinear at '1.pair'",
        ),
        (lambda: Called(lambda self, x: torch.linalg.inv(x)), "aten.linalg_inv_ex"),
    ],
)
def test_an_operation_without_a_known_cost_is_refused_with_its_module(part, words):
    with pytest.raises(ValueError, match=f"the cost of {words}.* is not known"):
        _ = middle(lambda width: part()).cost


def test_an_operator_of_choices_that_never_runs_is_refused():
    with pytest.raises(ValueError, match=r"MetaConv2d at '1\.spare' depends on choices and holds"):
        _ = middle(lambda width: Called(lambda self, x: x, spare=conv2d(width, 8, 3))).cost


def test_a_norm_that_is_more_than_a_norm_runs():
    """Norms and activations pass meta tensors on, unless somebody gave them more to do."""
    norm = nn.BatchNorm2d(C)
    inner = nn.Conv2d(C, C, 1)

    def made(choose=None):
        part = nn.BatchNorm2d(C)
        part.inner, part.forward = nn.Conv2d(C, C, 1), lambda x: part.inner(x)
        return part

    @dataclass(frozen=True, kw_only=True)
    class Normed(nastk.Space):
        resolution: int = 8
        num_classes: int = 5

        def network(self, choose):
            stem = conv2d(3, C, choose("kernel", (3, 5)))
            return nn.Sequential(stem, made(), nn.Flatten(2))

    space = Normed()
    check(space, all_archs(space))
    counted = space.cost.count({"kernel": 0})
    assert counted["flops"] == 64 * C * (27 + C)
    assert counted["params"] == 27 * C + sum(
        p.numel() for part in (norm, inner) for p in part.parameters()
    )
