import pytest
from nastk.core.observe import observable
from nastk.search_spaces import Sandglass, SandglassMicro


@pytest.mark.parametrize("side, blind", [(32, 23), (64, 12), (128, 0)])
def test_blind_kernels_of_mobilenext(side, blind):
    space = Sandglass(resolution=side)
    found = {n: s for n, s in observable(space).items() if n.endswith("kernel")}
    fully = [n for n, sets in found.items() if any(len(members) == 3 for members in sets)]
    assert len(fully) == blind
    assert len([n for n in space.choices() if n.endswith("kernel")]) == 33


def test_reductions_that_width_035_makes_equal():
    found = [n for n in observable(Sandglass(width=0.35)) if n.endswith("reduction")]
    expected = {"stage3.block2", "stage3.block3", "stage4.block1", "stage6.block1", "stage8.block1"}
    # 64-64, 64-104, 136-200, 200-336 and 336-1280 are where t = 4 and t = 6 may coincide.
    assert {n.removesuffix(".reduction") for n in found} <= expected | {"stage7.block1"}
    assert {
        "stage3.block2.reduction",
        "stage4.block1.reduction",
        "stage7.block1.reduction",
        "stage8.block1.reduction",
    } <= set(found)


def test_default_proxies_see_every_choice():
    space = Sandglass()
    blind = set(observable(space.proxy())) & set(space.choices())
    assert blind == set()
    assert not set(observable(SandglassMicro())) & set(SandglassMicro().choices())
    assert list(space.proxy().choices()) == list(space.choices())
