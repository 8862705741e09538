"""Published networks: counts to the last digit, provenance, and parity with other code."""

import dataclasses
import json
import math
from datetime import date

import nastk
import pytest
import torch
from nastk.evaluators.efficiency import outside_flops
from nastk.nasbench.published import Published, models
from nastk.nasbench.references import Reference, find_reference, list_references, references
from nastk.search_spaces import MBConv

# Params and multiply-adds at 224 px and 1000 classes, counted by other code.
COUNTS = {
    "mobilenetv2-1.0": (3504872, 300774272),
    "mobilenetv2-1.4": (6108776, 582195824),
    "mobilenetv3-large-1.0": (5483032, 216589760),
    "mobilenetv3-large-0.75": (3993528, 154560624),
    "efficientnet-b0": (5288548, 385814752),
    "mnasnet-a1": (3887038, 311579072),
    "proxylessnas-mobile": (4080512, 320427584),
    "fbnet-c": (5572200, 384960160),
    "single-path-nas": (4421616, 333467072),
    "atomnas-a": (3885272, 258230561),
    "atomnas-a+": (4718080, 259056305),
    "atomnas-b": (4453927, 325988643),
    "atomnas-b+": (5509410, 327035451),
    "atomnas-c": (4782696, 359801485),
    "atomnas-c+": (5968040, 360977253),
    "ghostnet-1.3": (7358820, 227003256),
    "mobilenext-1.4": (6126168, 588319256),
    "mobilenext-1.0": (3535416, 311342592),
    "mobilenext-1.0-q3": (3535416, 311342592),
    "mobilenext-0.5": (2152304, 103256448),
    "mobilenext-0.35": (1913976, 75141032),
    "mobilenext-0.1": (1627316, 28084568),
    "mobilenext-se": (3937011, 330182144),
    "mobilenext-se-1.1": (4287498, 415057856),
    "t2t-vit-7": (4255694, 1146863616),
    "t2t-vit-12": (6887374, 1762638336),
    "t2t-vit-14": (21465806, 4783468544),
    "t2t-vit-14-resnext": (21465806, 4783468544),
    "t2t-vit-19": (39085070, 8479682176),
    "t2t-vit-24": (64000974, 13661874688),
    "t2t-vit-t-14": (21465422, 6088721920),
    "t2t-vit-14-wide": (25000910, 5229349376),
    "t2t-vit-14-se": (21723854, 4783726592),
}
BUILT = [name for name, reference in references().items() if reference.builds]


@pytest.mark.parametrize("name", COUNTS)
def test_counts_to_the_last_digit(name):
    counts = find_reference(name).counts
    assert (counts["params"], counts["flops"]) == COUNTS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT)
def test_the_polynomial_counts_what_is_built(name):
    space, arch = find_reference(name).arch()
    with torch.device("meta"):
        network = space.build(arch.choices)
    counts = space.cost.count(space.indices(arch))
    assert sum(p.numel() for p in network.parameters()) == counts["params"]
    assert outside_flops(network, space.inputs())[1] == counts["flops"]


@pytest.mark.parametrize("name", BUILT)
def test_the_proxy_of_a_reference_is_smaller_and_runs(name):
    space, arch = find_reference(name).arch()
    proxy = dataclasses.replace(space.proxy(), num_classes=10)
    counted = proxy.cost.count(proxy.indices(arch.choices))["flops"]
    assert counted < 0.2 * find_reference(name).flops
    assert proxy.build(arch.choices)(torch.randn(2, *proxy.input_shape)).shape == (2, 10)


@pytest.mark.parametrize("name", references())
def test_every_row_says_where_it_was_read(name):
    reference = references()[name]
    assert reference.paper.startswith("arXiv:") and len(reference.source) > 5
    assert date.fromisoformat(reference.read).year >= reference.year
    assert reference.kind in ("searched", "designed")
    assert set(reference.published) <= {"params_millions", "flops_millions", "top1_percent"}
    assert reference.published or "no published figure" in reference.note
    assert reference.builds or "published only" in reference.note


@pytest.mark.parametrize("name", references())
def test_figures_of_a_third_party_carry_the_mark(name):
    reference = references()[name]
    assert reference.verified == ("third party" not in reference.source)


# Figures that other sources print for the same network.
OTHERS = {
    "mobilenext-1.0": "3.4M",
    "mobilenetv2-0.75": "2.6M 150M 69.9",
    "mobilenetv2-1.0": "3.4M 72.0 3.5M 72.3 73.6",
    "mobilenetv2-1.4": "6.9M 585M 74.7 690M 74.9",
    "mobilenetv3-large-1.0": "219M",
    "single-path-nas": "334M 4.4M 75.0",
    "efficientnet-b0": "76.3",
    "meta-kernel": "atomnas-c+ 77.6 363M",
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_note_names_the_figures_of_other_sources(name):
    note = references()[name].note
    assert all(figure in note for figure in OTHERS[name].split())


WHOLE = {
    "paper": "arXiv:1",
    "year": 2020,
    "kind": "designed",
    "task": "classification",
    "published": {},
    "source": "README",
    "read": "2026-11-24",
    "verified": True,
}


@pytest.mark.parametrize("field", ["paper", "source", "read", "verified"])
def test_a_row_without_provenance_is_refused(field):
    Reference(name="x", **WHOLE)
    with pytest.raises(TypeError, match=field):
        Reference(name="x", **{key: value for key, value in WHOLE.items() if key != field})


@pytest.mark.parametrize(
    "field, value",
    [("read", "a-b-c"), ("read", "2026-13-01"), ("read", ""), ("paper", ""), ("source", "")],
)
def test_a_row_with_malformed_provenance_is_refused(field, value):
    with pytest.raises(ValueError, match=r"reference 'x' .*(date|arXiv id and a source)"):
        Reference(name="x", **WHOLE | {field: value})


def test_rows_are_sorted_and_say_whether_they_are_inside():
    rows = list_references("300M:400M")
    printed = [1e6 * row["published"].get("flops_millions", math.inf) for row in rows]
    flops = [row["flops"] or other for row, other in zip(rows, printed, strict=True)]
    assert flops == sorted(flops)
    assert {row["name"] for row in rows if row["inside_budget"]} >= {"meta-kernel", "atomnas-c+"}
    for value, row in zip(flops, rows, strict=True):
        inside = None if value == math.inf else 300e6 <= value <= 400e6
        assert row["inside_budget"] == inside
    keys = "name paper year kind task published params flops builds"
    assert set(keys.split()) <= set(rows[0])
    json.dumps(rows)
    with pytest.raises(ValueError, match="classification"):
        list_references(task="classifcation")


@pytest.mark.parametrize("width", [0.35, 1.0, 1.4])
def test_mobilenetv2_is_an_arch_of_the_space(width):
    """The table of the published network and the arch of the space give the same network."""
    table = Published(model="mobilenetv2", width=width, resolution=64).build({}, seed=3)
    space = MBConv(macro="v2", width=width, resolution=64)
    arch = space.uniform(kernel=3, expansion=6)
    network = space.build(arch.choices, seed=4)
    shapes = [[v.shape for v in n.state_dict().values()] for n in (table, network)]
    assert shapes[0] == shapes[1]
    values = table.state_dict().values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(table.eval()(x), network.eval()(x))


def test_bottlenecks_follow_the_closed_form():
    """Params of MobileNetV2 from the table alone, by hand."""
    params, channels = 27 * 32 + 64, 32
    for expansion, kernel, out, repeats, _, _ in models()["mobilenetv2"]["blocks"]:
        for _ in range(repeats):
            hidden = channels * max(expansion, 1)
            params += (channels * hidden + 2 * hidden) * (expansion > 0)
            params += kernel**2 * hidden + 2 * hidden + hidden * out + 2 * out
            channels = out
    params += channels * 1280 + 2 * 1280 + 1281 * 1000
    assert params == find_reference("mobilenetv2-1.0").counts["params"]


def test_load_reference_returns_a_plain_module():
    network = nastk.load_reference("mobilenext-1.0", num_classes=10)
    assert sum(p.numel() for p in network.parameters()) == 2267226
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 10)
    with pytest.raises(ValueError, match="only its figures"):
        nastk.load_reference("meta-kernel")
    with pytest.raises(ValueError, match=r"did you mean 'ghostnet-1\.3'"):
        nastk.load_reference("ghostnet-13")


def independent(name):
    """The network of another library, in evaluation mode."""
    try:
        import geffnet
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no independent implementation: pip install --no-deps geffnet ({error})")
    return getattr(geffnet, name)(pretrained=False).eval()


@pytest.mark.parametrize(
    "name, other",
    [
        ("mobilenetv2-1.0", "mobilenetv2_100"),
        ("mobilenetv2-1.4", "mobilenetv2_140"),
        ("mobilenetv3-large-1.0", "mobilenetv3_large_100"),
        ("mobilenetv3-large-0.75", "mobilenetv3_large_075"),
        ("mobilenetv3-small-1.0", "mobilenetv3_small_100"),
        ("efficientnet-b0", "efficientnet_b0"),
        ("mnasnet-a1", "mnasnet_a1"),
        ("fbnet-c", "fbnetc_100"),
        ("single-path-nas", "spnasnet_100"),
    ],
)
def test_weights_of_an_independent_implementation_give_the_same_output(name, other):
    theirs, ours = independent(other), nastk.load_reference(name).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape))
    source, target = theirs.state_dict(), ours.state_dict()
    assert [v.shape for v in source.values()] == [v.shape for v in target.values()]
    ours.load_state_dict(dict(zip(target, source.values(), strict=True)))
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        expected, found = theirs(x), ours(x)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
