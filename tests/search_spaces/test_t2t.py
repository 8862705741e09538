"""T2T-ViT: published counts to the last digit, closed forms, rules and numerics of the space."""

import dataclasses

import numpy as np
import pytest
import torch
from nastk.core.sampler import sample
from nastk.evaluators.efficiency import torch_flops
from nastk.search_spaces import T2T, T2TMicro

WIDE = {"deep_narrow": False}
# Options, settings, params with the frozen tables, trainable params, multiply-adds, and those of
# the three splits with their token layers, at 1000 classes.
CHECKED = [
    ({}, {"depth": 7, "width": 256, "mlp_ratio": 2}, 4310222, 4255694, 1146863616, 284523008),
    (
        {"resolution": 192},
        {"depth": 7, "width": 256, "mlp_ratio": 2},
        4296910,
        4255694,
        816799232,
        209037312,
    ),
    ({}, {"depth": 12, "width": 256, "mlp_ratio": 2}, 6941902, 6887374, 1762638336, 284523008),
    ({}, {}, 21545550, 21465806, 4783468544, 298973696),
    ({}, {"depth": 19, "width": 448}, 39177422, 39085070, 8479682176, 306199040),
    ({}, {"depth": 24, "width": 512}, 64105934, 64000974, 13661874688, 313424384),
    ({}, {"layer": "transformer"}, 21541070, 21465422, 6088721920, 1604227072),
    (WIDE, {"depth": 4, "width": 768}, 25156302, 25000910, 5229349376, 342325760),
    ({}, {"channel_attention": 1}, 21803598, 21723854, 4783726592, 298973696),
]


@pytest.mark.parametrize("options, settings, params, trainable, flops, tokens", CHECKED)
def test_counts_to_the_last_digit(options, settings, params, trainable, flops, tokens):
    space = T2T(**options)
    arch = space.uniform(**settings)
    counts = space.cost.count(space.indices(arch))
    assert (counts["params"], counts["flops"]) == (trainable, flops)
    with torch.device("meta"):
        network = space.build(arch)
    assert sum(p.numel() for p in network.parameters()) == trainable
    assert trainable + sum(b.numel() for b in network.buffers()) == params
    counted = torch_flops(network, space.inputs())
    assert sum(counted.values()) == flops
    one = {name: [index] for name, index in space.indices(arch).items()}
    first = ("0", "1", "2")  # the stages of the network that end in the embedding
    inside = [row for row in space.cost.layers if row.name.split(".")[0] in first]
    assert sum(int(row.flops.evaluate(_arrays(one))[0]) for row in inside) == tokens


def _arrays(one):
    return {name: np.array(index) for name, index in one.items()}


def test_the_operators_of_t2t_vit_14_split_as_published():
    space = T2T()
    arch = space.uniform()
    one = _arrays({name: [index] for name, index in space.indices(arch).items()})
    by_kind = {}
    for row in space.cost.layers:
        by_kind[row.kind] = by_kind.get(row.kind, 0) + int(row.flops.evaluate(one)[0])
    assert by_kind["linear"] + by_kind["conv2d"] == 4333956096
    assert (by_kind["attention"], by_kind["performer"]) == (417274368, 32238080)


def closed_form(space, choices):
    """Multiply-adds and trainable params by formulas that share no code with the space."""
    e, d = choices["token_width"], choices["width"]
    is_performer = choices["layer"] == "performer"
    side, channels, flops, params = space.resolution, 3, 0, 0
    m = int(e * choices["feature_ratio"])
    for index, stride in ((1, 4), (2, 2)):
        side = (side - stride + 1) // stride + 1
        n, c = side**2, channels * choices[f"split{index}.kernel"] ** 2
        flops += n * (3 * c * e + 3 * e**2)
        flops += n * (4 * e * m + m) if is_performer else 2 * n**2 * e
        params += 2 * c + 2 * e + 3 * e * c + (3 * e if is_performer else 0)
        params += e**2 + e + 2 * (e**2 + e)
        channels = e
    side = (side - 1) // 2 + 1
    taps = choices["split3.kernel"] ** 2
    length = side**2 + 1
    flops += side**2 * taps * e * d
    params += taps * e * d + d + d  # the projection with its bias, and the class token
    for block in range(1, choices["depth"] + 1):
        h = int(choices[f"block{block}.mlp_ratio"] * d)
        flops += 4 * length * d**2 + 2 * length**2 * d + 2 * length * d * h
        params += 4 * d + 4 * d**2 + d + 2 * d * h + h + d
        if choices["channel_attention"]:
            flops += 2 * d * (d // 16)
            params += 2 * d * (d // 16)
    return flops + d * space.num_classes, params + 2 * d + (d + 1) * space.num_classes


@pytest.mark.parametrize("resolution, classes", [(224, 1000), (384, 37)])
def test_closed_forms_of_thirty_random_archs(resolution, classes):
    space = T2T(resolution=resolution, num_classes=classes)
    drawn = sample(space, 30, 5)
    for number in range(30):
        arch = space.arch_at({name: int(column[number]) for name, column in drawn.items()})
        counts = space.cost.count(space.indices(arch))
        assert (counts["flops"], counts["params"]) == closed_form(space, arch.choices)


def test_wide_and_shallow_archs_are_excluded_unless_asked_for():
    with pytest.raises(ValueError, match="width 768, depth 4: excluded by the deep-narrow rule"):
        T2T().uniform(depth=4, width=768)
    T2T(deep_narrow=False).uniform(depth=4, width=768)
    space = T2T()
    drawn = sample(space, 500, 1)
    widths = [space.widths[i] for i in drawn["width"]]
    depths = [space.depths[i] for i in drawn["depth"]]
    assert all(d <= 64 * n for d, n in zip(widths, depths, strict=True) if d >= 256)


def test_mixed_splits_equal_the_extracted_network_at_the_largest_kernel_only():
    """The statistics of the norm behind a split are those of the largest kernel's patch."""
    space = T2TMicro(folds_splits=True)
    supernet = space.supernet().double().eval()
    x = torch.randn(2, *space.input_shape, dtype=torch.float64)
    names = list(space.choices())
    for kernel, is_exact in ((7, True), (3, False)):
        arch = dict(space.uniform(**SMALL).choices)
        arch |= {"split1.kernel": kernel, "split2.kernel": 5}
        probs = torch.zeros_like(supernet.uniform_probs())
        for row, index in zip(probs, space.indices(arch).values(), strict=True):
            row[index] = 1
        supernet.mix(probs.double())
        found, expected = supernet(x), supernet.extract(arch).eval()(x)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12) == is_exact
    slots = {name: supernet.choices[name].slot.sampled for name in names}
    assert slots["split1.kernel"] is None and slots["split2.kernel"] is None


SMALL = {"token_width": 16, "depth": 3, "width": 48, "mlp_ratio": 3}


def test_what_folds_and_what_is_sampled():
    space = T2TMicro()
    slots = {name: choice.slot.sampled for name, choice in space.choices().items()}
    assert {name for name, how in slots.items() if how == "slice"} == {
        "split1.kernel",
        "split2.kernel",
        "token_width",
        "feature_ratio",
        "width",
    }
    assert {name for name, how in slots.items() if how == "path"} == {"layer"}
    folded = {name for name, how in slots.items() if how is None}
    assert folded == {"split3.kernel", "depth", "channel_attention"} | {
        f"block{n}.mlp_ratio" for n in range(1, 7)
    }


def test_a_network_under_bfloat16_autocast_stays_near_float32():
    space = T2TMicro()
    network = space.build(space.uniform(**SMALL)).eval()
    x = torch.randn(4, *space.input_shape)
    with torch.no_grad():
        expected = network(x)
        with torch.autocast("cpu", torch.bfloat16):
            found = network(x)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["performer", "transformer"])
def test_torch_compile_takes_the_built_network(layer):
    space = T2TMicro()
    network = space.build(space.uniform(layer=layer, **SMALL)).eval()
    x = torch.randn(2, *space.input_shape)
    found = torch.compile(network, fullgraph=True, backend="aot_eager")(x)
    assert torch.allclose(found, network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("resolution", [28, 64, 160, 224, 384])
def test_every_kernel_makes_the_same_grid(resolution):
    space = T2T(resolution=resolution, scale=0.25, depths=(4,), widths=(192,))
    settings = {"token_width": 32, "depth": 4, "width": 192}
    shapes = set()
    for first, kernel in ((5, 3), (9, 5)):
        network = space.build(space.uniform(first_kernel=first, kernel=kernel, **settings))
        with torch.no_grad():
            shapes.add(network[:3](torch.randn(1, *space.input_shape)).shape)
    assert len(shapes) == 1
    assert (
        dataclasses.replace(space, resolution=resolution).cost.count(
            space.indices(space.uniform(**settings))
        )["flops"]
        > 0
    )


def test_linear_layers_start_as_published_and_wider_in_narrow_blocks():
    network = T2T(depths=(4,)).build(T2T(depths=(4,)).uniform(depth=4, width=256).choices)
    assert float(network[3].branch[1].qkv.weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    for space, width in ((T2TMicro(), 48), (T2T(scale=0.25, resolution=64), 96)):
        settings = SMALL if width == 48 else {}
        network = space.build(space.uniform(**settings))
        assert float(network[3].branch[1].qkv.weight.detach().std()) == pytest.approx(
            width**-0.5, rel=0.05
        )
