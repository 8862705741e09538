"""What every sampler asks for: archs of the band, each once, the same ones for the same losses."""

import time

import numpy as np
import pytest
from nastk.core.budget import Budget, parse_budget, reachable_band
from nastk.core.neighbours import Neighbours
from nastk.core.sampler import sample
from nastk.search_spaces import MBConv, Sandglass, SandglassMicro, Toy
from nastk.strategies import STRATEGIES, BlackBox

NAMES = [name for name, strategy in STRATEGIES.items() if issubclass(strategy, BlackBox)]
SPACE, BUDGET = SandglassMicro(), Budget.parse("0.8M")
BANDS = {
    "micro": (SPACE, "0.8M"),
    "micro at its largest": (SPACE, "100%"),
    "micro in a thin band": (SPACE, "799K:800K"),
    "sandglass": (Sandglass(), "357M"),
    "mbconv": (MBConv(), "300M"),
    "toy": (Toy(), "55K"),
}


def loss_of(arch, seed=0):
    """A loss that depends on every choice, as any fixed table would give it."""
    weights = np.random.default_rng(seed).normal(size=997)
    codes = (sum(map(ord, f"{name}{value}")) for name, value in arch.choices.items())
    return float(sum(weights[code % 997] for code in codes))


def drive(name, space, budget, count, seed=0, told=None):
    """Ask and tell, two archs in flight."""
    sampler = STRATEGIES[name](evaluations=count).sampler(space, budget, seed)
    asked, losses, waiting = [], [], []
    for _ in range(count):
        waiting.append(sampler.ask())
        if len(waiting) == 2:
            arch = waiting.pop(0)
            losses.append(loss_of(arch) if told is None else told[len(losses)])
            sampler.tell(arch, losses[-1])
            asked.append(arch)
    return asked, losses


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", BANDS)
def test_archs_lie_in_the_band_and_are_canonical(name, case):
    space, text = BANDS[case]
    budget = parse_budget(text, space)
    low, high = reachable_band(space, budget)
    for arch in drive(name, space, budget, 12)[0]:
        assert low <= space.cost.count(space.indices(arch))["flops"] <= high
        assert space.arch(arch.choices) == arch


@pytest.mark.parametrize("name", NAMES)
def test_no_arch_is_asked_for_twice(name):
    asked, _ = drive(name, SPACE, BUDGET, 120)
    assert len({arch.id for arch in asked}) == 119


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_asks_the_same_and_another_one_something_else(name):
    first, again, other = (drive(name, SPACE, BUDGET, 20, seed)[0] for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random"}))
def test_what_is_told_decides_what_is_asked(name):
    asked, losses = drive(name, SPACE, BUDGET, 40)
    turned, _ = drive(name, SPACE, BUDGET, 40, told=[-loss for loss in losses])
    assert asked[:2] == turned[:2] and asked != turned


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"random"}))
def test_a_smooth_table_is_searched_better_than_at_random(name):
    def best(name, seed):
        return min(drive(name, SPACE, BUDGET, 80, seed)[1])

    wins = [best(name, seed) < best("random", seed) for seed in range(10)]
    assert sum(wins) >= 9


@pytest.mark.parametrize("name", NAMES)
def test_asking_and_telling_take_about_a_millisecond(name):
    drive(name, SPACE, BUDGET, 2)
    start = time.process_time()
    for seed in range(3):
        drive(name, SPACE, BUDGET, 100, seed)
    assert (time.process_time() - start) / 300 < 0.003


def distance(space, a, b):
    """Choices that differ, without those that are idle in one of two archs."""
    keys = [np.array([[space.indices(x)[name] for name in space.choices()]]) for x in (a, b)]
    active = [space.cost.active(dict(zip(space.choices(), k.T, strict=True))) for k in keys]
    both = [active[0][name][0] and active[1][name][0] for name in space.choices()]
    return int(((keys[0] != keys[1])[0] & np.array(both)).sum())


def test_a_change_takes_one_choice_or_the_fewest_that_bring_it_back():
    generator = np.random.default_rng(0)
    seen = set()
    drawn = sample(SPACE, 5, 0, reachable_band(SPACE, BUDGET))
    neighbours = Neighbours(SPACE, reachable_band(SPACE, BUDGET))
    for number in range(5):
        arch = SPACE.arch_at({name: int(column[number]) for name, column in drawn.items()})
        key = neighbours.key(arch)
        for choice, candidate in neighbours.changes(key):
            other = neighbours.change(key, choice, candidate, generator)
            assert other is not None and other[choice] == candidate
            differ = distance(SPACE, arch, neighbours.arch(other))
            fewest = fewest_changes(neighbours, key, choice, candidate)
            assert differ <= fewest if fewest < 3 else differ >= 3
            seen.add(fewest)
    assert seen == {1, 2, 3}


def fewest_changes(neighbours, key, choice, candidate):
    """Change one choice, then each single other one, and look; 3 stands for more than 2."""
    changed = list(key)
    changed[choice] = candidate
    singles = [changed]
    for position, count in enumerate(neighbours.space.num_candidates.values()):
        if position != choice:
            singles += [[*changed[:position], i, *changed[position + 1 :]] for i in range(count)]
    for row in singles:
        indices = dict(zip(neighbours.names, row, strict=True))
        canonical = neighbours.space.cost.canonical(indices)
        flops = neighbours.space.cost.count(canonical)["flops"]
        if (
            neighbours.band[0] <= flops <= neighbours.band[1]
            and canonical[neighbours.names[choice]] == candidate
        ):
            return 1 if row is changed else 2
    return 3
