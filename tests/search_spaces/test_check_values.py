"""Counts and golden outputs of published networks, through `space.build`."""

import numpy as np
import pytest
import torch
from nastk.search_spaces import MBConv, Sandglass
from nastk.search_spaces.blocks import bottleneck_width
from torch import nn


def counts(space, arch):
    counted = space.cost.count(space.indices(arch))
    return counted["params"], counted["flops"]


@pytest.mark.parametrize(
    "width, classes, resolution, params, flops",
    [
        (1.4, 1000, 224, 6126168, 588319256),
        (1.0, 1000, 224, 3535416, 311342592),
        (0.5, 1000, 224, 2152304, 103256448),
        (0.35, 1000, 224, 1913976, 75141032),
        (1.0, 1000, 192, 3535416, 229081088),
        (1.0, 1000, 128, 3535416, 102524928),
        (1.0, 1000, 256, 3535416, 406259712),
        (1.4, 1000, 192, 6126168, 432709984),
        (1.0, 10, 224, 2267226, 310075392),
        (1.0, 100, 224, 2382516, 310190592),
        (1.0, 10, 32, 2267226, 6340608),
    ],
)
def test_mobilenext_counts_to_the_last_digit(width, classes, resolution, params, flops):
    space = Sandglass(width=width, num_classes=classes, resolution=resolution)
    assert counts(space, space.uniform()) == (params, flops)
    network = space.build(space.uniform())
    assert sum(p.numel() for p in network.parameters()) == params


@pytest.mark.parametrize(
    "kernel, reduction, params, flops",
    [(5, 6, 3778360, 366335488), (3, 4, 4199680, 366787072), (7, 4, 4807040, 504269312)],
)
def test_uniform_sandglass_counts(kernel, reduction, params, flops):
    space = Sandglass()
    assert counts(space, space.uniform(kernel=kernel, reduction=reduction)) == (params, flops)


def test_bottleneck_widths_of_the_released_code():
    assert [bottleneck_width(*args) for args in ((96, 144, 6), (96, 144, 4), (144, 192, 6))] == [
        32,
        24,
        32,
    ]


R1 = {
    (3, 2): (2694312, 185689344),
    (3, 3): (3191928, 257422208),
    (3, 6): (4684776, 472620800),
    (5, 2): (2750120, 203552000),
    (5, 4): (3801160, 364880384),
    (7, 3): (3401208, 324407168),
    (7, 4): (3968584, 418468352),
    (7, 6): (5103336, 606590720),
}


@pytest.mark.parametrize("setting", R1)
def test_uniform_r1_networks(setting):
    space = MBConv()
    arch = space.uniform(kernel=setting[0], expansion=setting[1])
    assert counts(space, arch) == R1[setting]


def test_witness_near_357m():
    kernels = [int(k) for k in "3 5 5 7 5 7 3 3 3 5 7 5 7 5 3 5 5 3 7 5 3".split()]
    ratios = [int(t) for t in "3 6 3 6 3 6 3 3 3 6 3 3 6 3 3 3 3 3 3 3 3".split()]
    space = MBConv()
    blocks = list(dict.fromkeys(name.rsplit(".", 2)[0] for name in space.choices()))
    values = {}
    for block, kernel, ratio in zip(blocks, kernels, ratios, strict=True):
        for group in range(1, 7):
            values[f"{block}.kernel.{group}"] = kernel if group <= ratio else 0
    assert counts(space, space.arch(values)) == (3405120, 357034112)


@pytest.mark.parametrize(
    "kernel, expected",
    [
        (3, (3504872, 300774272)),
        (5, (3618536, 331180928)),
        (7, (3789032, 376790912)),
        (9, (4016360, 437604224)),
    ],
)
def test_mobilenet_v2_macro(kernel, expected):
    space = MBConv(macro="v2", kernels=(0, 3, 5, 7, 9))
    assert counts(space, space.uniform(kernel=kernel)) == expected


def noise(count, tensor):
    """The deterministic fill of the golden values: r(i, t) in 64-bit integers."""
    p = 2147483647
    i = np.arange(count, dtype=np.int64)
    h = (48271 * i + 69621 * tensor + 11) % p
    h = h * h % p
    h = (16807 * h + i) % p
    return torch.from_numpy(h * h % p / p)


def fill(network):
    number = 0

    def put(tensor, function):
        nonlocal number
        tensor.data.copy_(function(noise(tensor.numel(), number)).reshape(tensor.shape))
        number += 1

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = (6 / module.weight[0].numel()) ** 0.5
            put(module.weight, lambda r, bound=bound: (2 * r - 1) * bound)
            if module.bias is not None:
                put(module.bias, lambda r: 0.1 * (r - 0.5))
        elif isinstance(module, nn.BatchNorm2d):
            put(module.weight, lambda r: 0.5 + r)
            put(module.bias, lambda r: r - 0.5)
            put(module.running_mean, lambda r: 0.2 * (r - 0.5))
            put(module.running_var, lambda r: 0.5 + r)


GOLDEN = [
    (
        1.0,
        10,
        64,
        1,
        (4.8905790433, 1.38671068363, -0.922505848079, 3.03908936153, 3.43724514161),
        8.19733817107,
        23.7528236612,
        0,
    ),
    (
        1.0,
        10,
        64,
        0.5,
        (2.20793416004, -1.12000849633, 2.47356371596, 2.34127065488, 2.99115284533),
        7.92727682588,
        16.0279988242,
        4,
    ),
    (
        0.5,
        10,
        64,
        1,
        (7.82999156979, 0.136487270121, -3.23508202528, 2.9755072242, 3.2350852477),
        7.49856284773,
        27.5415471545,
        0,
    ),
    (
        0.35,
        10,
        96,
        1,
        (6.26351059577, 4.36665990054, 1.41698998685, -0.847109876144, 2.65750049688),
        10.3874128966,
        27.4861895417,
        0,
    ),
    (
        1.0,
        1000,
        96,
        1,
        (3.92024485241, -1.14759846242, 2.47763489138, 2.9290046567, 5.45061669792),
        94.3383651986,
        2784.18866779,
        507,
    ),
]


def test_noise_of_the_golden_fill():
    first = [0.844756204097, 0.772021398773, 0.139962274646, 0.63579597214]
    seventh = [0.774436712626, 0.210252093249, 0.334967030834, 0.465333262675]
    assert noise(4, 0).tolist() == pytest.approx(first, rel=1e-11)
    assert noise(4, 7).tolist() == pytest.approx(seventh, rel=1e-11)


@pytest.mark.parametrize("width, classes, side, share, first, total, absolute, argmax", GOLDEN)
def test_golden_outputs(width, classes, side, share, first, total, absolute, argmax):
    space = Sandglass(width=width, num_classes=classes, resolution=side)
    network = space.build(space.uniform(multiplier=share)).double().eval()
    fill(network)
    x = 2 * noise(3 * side * side, 1000).reshape(1, 3, side, side) - 1
    with torch.no_grad():
        y = network(x)[0]
    got = torch.cat([y[:5], y.sum()[None], y.abs().sum()[None]])
    expected = torch.tensor([*first, total, absolute], dtype=torch.float64)
    assert torch.allclose(got, expected, rtol=1e-9, atol=1e-11)
    assert int(y.argmax()) == argmax


STAGE_CHANNELS = {
    1.4: (48, 136, 200, 272, 400, 536, 808, 1344, 1792),
    1.0: (32, 96, 144, 192, 288, 384, 576, 960, 1280),
    0.75: (24, 72, 112, 144, 216, 288, 432, 720, 1280),
    0.5: (16, 48, 72, 96, 144, 192, 288, 480, 1280),
    0.35: (16, 32, 48, 64, 104, 136, 200, 336, 1280),
    0.1: (4, 12, 16, 20, 28, 40, 56, 96, 1280),
}


@pytest.mark.parametrize("width", STAGE_CHANNELS)
def test_channels_of_every_stage(width):
    space = Sandglass(width=width)
    network = space.build(space.uniform())
    outputs = [
        [m.out_channels for m in child.modules() if isinstance(m, nn.Conv2d)][-1]
        for child in list(network.children())[:-1]
    ]
    assert tuple(dict.fromkeys(outputs)) == STAGE_CHANNELS[width]


@pytest.mark.parametrize(
    "width, expected",
    [
        (1.0, [16, 32, 32, 32, 32, 48, 48, 48, 64, 64, 64, 64, 96, 96, 96, 96, 160, 160, 160, 208]),
        (0.35, [8, 16, 16, 16, 16, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 32, 64, 56, 56, 208]),
    ],
)
def test_bottleneck_widths_in_order(width, expected):
    space = Sandglass(width=width)
    network = space.build(space.uniform())
    reducing = []
    for child in list(network.children())[1:-1]:
        pointwise = [
            m for m in child.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)
        ]
        reducing.append(pointwise[0].out_channels)
    assert reducing == expected


def test_the_graph_of_an_arch_follows_its_layers():
    import networkx

    space = Sandglass()
    graph = space.uniform().graph(space)
    assert networkx.is_directed_acyclic_graph(graph)
    assert sum(params for _, params in graph.nodes(data="params")) == 3535416
    assert sum(op == "Conv2d" for _, op in graph.nodes(data="op")) == 1 + 33 + 40
