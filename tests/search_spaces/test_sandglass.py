"""The options of the sandglass space beyond its default."""

import pytest
import torch
from nastk.commands.options import assignment
from nastk.core.arch import Arch
from nastk.ops.residual import MetaResidual, Residual
from nastk.search_spaces import Sandglass

QUARTERS = (1, 1 / 2, 1 / 3, 1 / 4)


def small(**options):
    return Sandglass(resolution=32, num_classes=10, scale=0.2, **options)


def test_the_default_multipliers_are_one_and_a_half():
    found = {c.candidates for n, c in Sandglass().choices().items() if n.endswith("multiplier")}
    assert found == {(1, 0.5)}


def test_all_published_multipliers_are_candidates_of_a_supernet():
    """Supernet, extracted and built network agree, and an arch survives its JSON."""
    space = small(multipliers=QUARTERS)
    names = [name for name in space.choices() if name.endswith("multiplier")]
    assert len(names) == 12
    uniform = dict(space.uniform().choices)
    mixed = uniform | {name: QUARTERS[n % 4] for n, name in enumerate(names)}
    arch = Arch.from_json(space.arch(mixed).to_json())
    assert arch.id == space.arch(mixed).id and Sandglass(**arch.options) == space
    supernet = space.supernet().double().eval()
    x = torch.randn(2, *space.input_shape, generator=torch.Generator().manual_seed(0)).double()
    extracted = supernet.extract(arch.choices).eval()
    built = space.build(arch).double().eval()
    built.load_state_dict(extracted.state_dict())
    supernet.select(arch.choices)
    hard = supernet(x)
    one_hot = torch.zeros_like(supernet.uniform_probs()).double()
    for row, index in zip(one_hot, space.indices(arch).values(), strict=True):
        row[index] = 1
    supernet.mix(one_hot)
    for other in (supernet(x), extracted(x), built(x)):
        assert (other - hard).abs().max() <= 1e-9 * hard.abs().max()
    assert space.cost.count(space.indices(arch)) == space.cost.count(space.indices(uniform))


@pytest.mark.parametrize("divisor", [1, 2, 3, 4])
def test_a_shortcut_has_the_channels_of_the_released_model(divisor):
    """Those are floor(M / q), of the supernet's masks as of the built network."""
    space = Sandglass(multipliers=QUARTERS, num_classes=10)
    arch = space.uniform(multiplier=1 / divisor)
    with torch.device("meta"):
        network, supernet = space.build(arch), space.supernet()
    channels = [192] * 2 + [288] * 2 + [384] * 3 + [576] * 3 + [960] * 2
    found = [m.channels for m in network.modules() if isinstance(m, Residual)]
    assert found == [None if divisor == 1 else count // divisor for count in channels]
    blocks = [m for m in supernet.modules() if isinstance(m, MetaResidual)]
    assert [block.width.size for block in blocks] == channels
    extracted = [block.extract(arch.choices).channels for block in blocks]
    assert extracted == found


def test_fractions_are_typed_as_they_are_published():
    name, values = assignment("multipliers=[1, 1/2,1/3, 1/4]")
    space = small(**{name: values})
    assert space == small(multipliers=QUARTERS)
    assert {c.candidates for n, c in space.choices().items() if n.endswith("multiplier")} == {
        QUARTERS
    }


@pytest.mark.parametrize(
    "text, value",
    [
        ("width=3/4", 0.75),
        ("width=0.75", 0.75),
        ("width=1e-3", 1e-3),
        ("kernels=[3,5]", [3, 5]),
        ("path=1/2/3", "1/2/3"),
        ("path=a/2", "a/2"),
        ("path=1/0", "1/0"),
        ("level=bilevel", "bilevel"),
        ("flag=true", True),
    ],
)
def test_what_an_option_is_read_as(text, value):
    assert assignment(text)[1] == value
