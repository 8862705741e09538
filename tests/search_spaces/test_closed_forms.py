"""MobileNeXt against formulas that share no code with the space, at all eight released widths."""

import math

import pytest
import torch
from nastk.evaluators.efficiency import per_layer
from nastk.search_spaces import Sandglass

# Params and multiply-adds of the released model at 224 px and 1000 classes.
TOTALS = {
    1.4: (6126168, 588319256),
    1.3: (5424192, 536569168),
    1.0: (3535416, 311342592),
    0.75: (2766168, 207926720),
    0.5: (2152304, 103256448),
    0.35: (1913976, 75141032),
    0.25: (1764336, 48009536),
    0.1: (1627316, 28084568),
}
# t, channels, repeats, stride
TABLE = (
    (2, 96, 1, 2),
    (6, 144, 1, 1),
    (6, 192, 3, 2),
    (6, 288, 3, 2),
    (6, 384, 4, 1),
    (6, 576, 4, 2),
    (6, 960, 3, 1),
    (6, 1280, 1, 1),
)


def rounded(value, divisor):
    result = max(divisor, math.floor((value + divisor / 2) / divisor) * divisor)
    return result + divisor if result < 0.9 * value else result


def hidden_width(m, n, t):
    h = m // t
    return h if h >= n / 6 else rounded(math.ceil(n / 6), 16)


def shape(m, n, t, s, repeats, is_first):
    """The letter of a block; the conditions are checked in this order."""
    if t == 2:
        return "A"
    if m != n and s == 1 and is_first and repeats > 1:
        return "B"
    if m != n and s == 2:
        return "C"
    return "E" if repeats == 1 and s == 1 else "D"


def blocks(width):
    """Shape, input channels, bottleneck, output channels and stride of all 20 blocks."""
    divisor = 4 if width == 0.1 else 8
    m = rounded(32 * width, divisor)
    for stage, (t, c, repeats, first_stride) in enumerate(TABLE, 1):
        n = 1280 if stage == 8 and width < 1 else rounded(c * width, divisor)
        for index in range(repeats):
            s = first_stride if index == 0 else 1
            yield shape(m, n, t, s, repeats, index == 0), m, hidden_width(m, n, t), n, s
            m = n


def counts_of(width, classes=1000, resolution=224):
    """Params and multiply-adds of the stem, of every block and of the classifier."""
    stem, side = rounded(32 * width, 4 if width == 0.1 else 8), -(-resolution // 2)
    parts = [(27 * stem + 2 * stem, 27 * stem * side**2)]
    for letter, m, h, n, s in blocks(width):
        after = -(-side // s)
        a, z = letter in "ADE", letter in "ACDE"
        params = a * (9 * m + 2 * m) + (m * h + 2 * h) + (h * n + 2 * n) + z * (9 * n + 2 * n)
        macs = side**2 * (a * 9 * m + m * h + h * n) + z * after**2 * 9 * n
        parts.append((params, macs))
        side = after
    return [*parts, (n * classes + classes, n * classes)]


@pytest.mark.parametrize("width", TOTALS)
def test_closed_forms_give_the_published_totals_and_every_block(width):
    space = Sandglass(width=width)
    arch = space.uniform()
    parts = counts_of(width)
    assert tuple(map(sum, zip(*parts, strict=True))) == TOTALS[width]
    counted = space.cost.count(space.indices(arch))
    assert (counted["params"], counted["flops"]) == TOTALS[width]
    found = {}
    for layer in per_layer(space, arch):
        part = found.setdefault(layer["layer"].split(".")[0], [0, 0])
        part[0] += layer["params"]
        part[1] += layer["flops"]
    assert [tuple(part) for part in found.values()] == parts


def test_closed_forms_hold_at_an_odd_resolution_and_few_classes():
    space = Sandglass(width=0.75, num_classes=7, resolution=97)
    counted = space.cost.count(space.indices(space.uniform()))
    totals = tuple(map(sum, zip(*counts_of(0.75, 7, 97), strict=True)))
    assert (counted["params"], counted["flops"]) == totals


def test_the_split_of_width_one_by_block():
    """Shape, channels, bottleneck, params and multiply-adds as measured on the released model."""
    split = [
        ("A", 32, 16, 96, 3680, 32012288),
        ("E", 96, 32, 144, 10672, 30858240),
        ("C", 144, 32, 192, 13312, 35073024),
        ("D", 192, 32, 192, 16960, 12343296),
        ("C", 192, 48, 288, 26880, 18571392),
        ("D", 288, 48, 288, 34656, 6435072),
        ("B", 288, 64, 384, 43904, 8429568),
        ("D", 384, 64, 384, 58496, 10988544),
        ("C", 384, 96, 576, 99840, 18317376),
        ("D", 576, 96, 576, 124608, 5927040),
        ("B", 576, 160, 960, 248000, 12042240),
        ("D", 960, 160, 960, 330560, 15899520),
        ("E", 960, 208, 1280, 493536, 23817920),
    ]
    stem, *middle, _ = counts_of(1.0)
    assert stem == (928, 10838016)
    rows = [(*block[:4], *part) for block, part in zip(blocks(1.0), middle, strict=True)]
    assert list(dict.fromkeys(rows)) == split


@pytest.mark.slow
@pytest.mark.parametrize(
    "width, classes, resolution, total",
    [
        (1.4, 1000, 224, 611212056),
        (1.0, 1000, 224, 327532192),
        (0.5, 1000, 224, 111530784),
        (0.35, 1000, 224, 81323656),
        (1.0, 1000, 192, 240975488),
        (1.0, 1000, 128, 107811328),
        (1.0, 1000, 256, 427405312),
        (1.4, 1000, 192, 449529184),
        (1.0, 10, 224, 326264992),
        (1.0, 100, 224, 326380192),
        (1.0, 10, 32, 6671008),
    ],
)
def test_totals_of_fvcore(width, classes, resolution, total):
    """Its total adds what papers do not count: 2 an element of a BatchNorm, 1 of the pooling."""
    fvcore = pytest.importorskip("fvcore.nn")
    space = Sandglass(width=width, num_classes=classes, resolution=resolution)
    network = space.build(space.uniform()).eval()
    analysis = fvcore.FlopCountAnalysis(network, torch.zeros(1, *space.input_shape))
    assert (
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total() == total
    )


@pytest.mark.parametrize("width", TOTALS)
def test_every_width_has_372_tensors(width):
    space = Sandglass(width=width)
    with torch.device("meta"):
        network = space.build(space.uniform())
    assert sum("num_batches" not in name for name in network.state_dict()) == 372
    buffers = {1.0: 53098, 1.4: 74330}
    if width in buffers:
        assert sum(buffer.numel() for buffer in network.buffers()) == buffers[width]
