import pytest
from nastk.core.observe import observable
from nastk.search_spaces import Sandglass, SandglassMicro


def both(*blocks):
    return {f"{block}.{which}_kernel" for block in blocks for which in ("first", "last")}


# Blocks that see 2x2 or less at 64 px: everything behind the last stride.
AT_64 = both(
    "stage6.block2",
    "stage6.block3",
    "stage6.block4",
    "stage7.block2",
    "stage7.block3",
    "stage8.block1",
)
# At 32 px also the stage before, and the strided convolution between them.
AT_32 = (
    AT_64
    | both("stage4.block2", "stage4.block3", "stage5.block2", "stage5.block3", "stage5.block4")
    | {"stage6.block1.last_kernel"}
)


@pytest.mark.parametrize("side, blind", [(32, AT_32), (64, AT_64), (128, set())])
def test_blind_kernels_of_mobilenext(side, blind):
    space = Sandglass(resolution=side)
    found = {n: s for n, s in observable(space).items() if n.endswith("kernel")}
    assert set(found) == blind and len(blind) in (23, 12, 0)
    assert all(sets == ((3, 5, 7),) for sets in found.values())
    assert len([n for n in space.choices() if n.endswith("kernel")]) == 33


@pytest.mark.parametrize(
    "width, blocks",
    [
        # 192-288, 384-576 and 576-960, by the rule that h is at least a sixth of the output
        (1.0, ("stage4.block1", "stage6.block1", "stage7.block1")),
        # 64-64 (twice), 64-104, 200-336 and 336-1280
        (
            0.35,
            ("stage3.block2", "stage3.block3", "stage4.block1", "stage7.block1", "stage8.block1"),
        ),
    ],
)
def test_reductions_that_a_width_makes_equal(width, blocks):
    space = Sandglass(width=width)
    found = {n: s for n, s in observable(space).items() if n.endswith("reduction")}
    assert found == {f"{block}.reduction": ((4, 6),) for block in blocks}
    assert not set(found) & set(space.choices())  # one candidate is left, so nothing is chosen


def test_default_proxies_see_every_choice():
    space = Sandglass()
    blind = set(observable(space.proxy())) & set(space.choices())
    assert blind == set()
    assert not set(observable(SandglassMicro())) & set(SandglassMicro().choices())
    assert list(space.proxy().choices()) == list(space.choices())
