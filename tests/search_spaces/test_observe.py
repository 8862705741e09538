import pytest
from nastk.core.observe import observable
from nastk.search_spaces import Sandglass, SandglassMicro


@pytest.mark.parametrize("side, blind", [(32, 23), (64, 12), (128, 0)])
def test_blind_kernels_of_mobilenext(side, blind):
    space = Sandglass(resolution=side)
    found = {n: s for n, s in observable(space).items() if n.endswith("kernel")}
    assert len(found) == blind
    assert all(sets == ((3, 5, 7),) for sets in found.values())
    assert len([n for n in space.choices() if n.endswith("kernel")]) == 33


def test_reductions_that_width_035_makes_equal():
    """Blocks 64-64 (twice), 64-104, 200-336 and 336-1280; all other reductions stay apart."""
    found = {n for n in observable(Sandglass(width=0.35)) if n.endswith("reduction")}
    blocks = ("stage3.block2", "stage3.block3", "stage4.block1", "stage7.block1", "stage8.block1")
    assert found == {f"{block}.reduction" for block in blocks}


def test_default_proxies_see_every_choice():
    space = Sandglass()
    blind = set(observable(space.proxy())) & set(space.choices())
    assert blind == set()
    assert not set(observable(SandglassMicro())) & set(SandglassMicro().choices())
    assert list(space.proxy().choices()) == list(space.choices())
