"""What every sampler asks for: archs of the band, each once, the same ones for the same losses."""

import time

import numpy as np
import pytest
from nastk.core.band import band_of
from nastk.core.budget import Budget, parse_budget
from nastk.core.neighbours import Neighbours
from nastk.core.sampler import sample
from nastk.search_spaces import T2T, Sandglass, SandglassMicro, Toy
from nastk.strategies import STRATEGIES, BlackBox

NAMES = [name for name, strategy in STRATEGIES.items() if issubclass(strategy, BlackBox)]
LEARNING = sorted(set(NAMES) - {"random"})
SPACE, BUDGET = SandglassMicro(), Budget.parse("0.8M")
BANDS = {
    "micro": (SPACE, "0.8M"),
    "micro in a thin band": (SPACE, "798K:800K"),
    "sandglass": (Sandglass(), "357M"),
    "toy": (Toy(), "55K"),
}


def loss_of(arch, seed=0):
    """A loss that depends on every choice, as any fixed table would give it."""
    weights = np.random.default_rng(seed).normal(size=997)
    codes = (sum(map(ord, f"{name}{value}")) for name, value in arch.choices.items())
    return float(sum(weights[code % 997] for code in codes))


def drive(name, space, budget, count, seed=0, told=None):
    """Ask and tell as a search does, at most two archs in flight."""
    strategy = STRATEGIES[name](evaluations=count, in_flight=2)
    sampler = strategy.sampler(space, budget, seed)
    asked, losses = [], []
    for number, (arch, _) in enumerate(strategy.in_turn(lambda _: sampler.ask())):
        asked.append(arch)
        losses.append(loss_of(arch) if told is None else told[number])
        sampler.tell(arch, losses[-1])
    return asked, losses


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", BANDS)
def test_archs_lie_in_the_band_and_are_canonical(name, case):
    space, text = BANDS[case]
    budget = parse_budget(text, space)
    band = band_of(space, budget)
    low, high = band.low, band.high
    asked, _ = drive(name, space, budget, 6)
    assert len(asked) >= (1 if case == "toy" else 6)  # toy has two archs below 55K
    for arch in asked:
        assert low <= space.cost.count(space.indices(arch))["flops"] <= high
        assert space.arch(arch.choices) == arch


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space, text", [(Toy(), "100%"), (T2T(), "367M")], ids=["toy", "t2t"])
def test_a_band_of_one_or_two_archs_is_asked_for_them(name, space, text):
    budget = parse_budget(text, space)
    band = band_of(space, budget)
    low, high = band.low, band.high
    sampler = STRATEGIES[name](evaluations=2).sampler(space, budget, 0)
    assert low <= space.cost.count(space.indices(sampler.ask()))["flops"] <= high


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_arch_is_asked_for_twice_at_the_same_effort(name):
    asked, _ = drive(name, SPACE, BUDGET, 120)
    shares = STRATEGIES[name](evaluations=120).shares()
    assert len({(arch.id, share) for arch, share in zip(asked, shares, strict=True)}) == len(asked)


def test_a_space_of_one_arch_is_asked_for_that_arch():
    for name in NAMES:
        asked, _ = drive(name, Toy(), parse_budget("49.1K", Toy()), 6)
        assert len({arch.id for arch in asked}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_asks_the_same_and_another_one_something_else(name):
    first, again, other = (drive(name, SPACE, BUDGET, 20, seed)[0] for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNING)
def test_what_is_told_decides_what_is_asked(name):
    asked, losses = drive(name, SPACE, BUDGET, 40)
    turned, _ = drive(name, SPACE, BUDGET, 40, told=[-loss for loss in losses])
    assert asked[:2] == turned[:2] and asked != turned


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*LEARNING} - {"halving"}))  # which saves effort only
def test_a_smooth_table_is_searched_better_than_at_random(name):
    """By three standard errors of the mean difference, which a search by luck is not."""

    def best(name, seed):
        return min(drive(name, SPACE, BUDGET, 80, seed)[1])

    seeds = range(6 if name == "thompson" else 16)
    gains = np.array([best("random", seed) - best(name, seed) for seed in seeds])
    assert gains.mean() > 3 * gains.std(ddof=1) / len(gains) ** 0.5


# Seconds a trial: TPE fits densities of every choice for each, NNI looks for new samples, and
# Thompson sampling solves an integer program.
SLOWER = {"on_nni": 0.02, "on_optuna": 0.2, "thompson": 0.6}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_asking_and_telling_take_milliseconds(name):
    drive(name, SPACE, BUDGET, 2)
    start = time.process_time()
    count = 20 if name == "thompson" else 100
    drive(name, SPACE, BUDGET, count, 1)
    assert (time.process_time() - start) / count < SLOWER.get(name, 0.004)


def distance(space, a, b):
    """Choices that differ, without those that are idle in one of two archs."""
    keys = [np.array([[space.indices(x)[name] for name in space.choices()]]) for x in (a, b)]
    active = [space.cost.active(dict(zip(space.choices(), k.T, strict=True))) for k in keys]
    both = [active[0][name][0] and active[1][name][0] for name in space.choices()]
    return int(((keys[0] != keys[1])[0] & np.array(both)).sum())


def test_a_change_takes_one_choice_or_the_fewest_that_bring_it_back():
    generator = np.random.default_rng(0)
    seen = set()
    thin = (776_000, 800_000)
    drawn, neighbours = sample(SPACE, 2, 0, thin), Neighbours(SPACE, thin)
    for number in range(2):
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
        one = np.array([list(canonical.values())])
        if neighbours.distances(one)[0] == 0 and canonical[neighbours.names[choice]] == candidate:
            return 1 if row is changed else 2
    return 3


@pytest.mark.parametrize("case", BANDS)
def test_what_lies_outside_of_the_band_is_projected_into_it_by_few_changes(case):
    space, text = BANDS[case]
    neighbours = Neighbours(space, band_of(space, parse_budget(text, space)).bounds)
    generator, drawn = np.random.default_rng(0), sample(space, 20, 0)
    differ = []
    for number in range(20):
        key = tuple(int(drawn[name][number]) for name in neighbours.names)
        found = neighbours.project(key, generator)
        assert neighbours.distances(np.array([found]))[0] == 0
        assert neighbours.key(space.arch(neighbours.arch(found).choices)) == found
        assert neighbours.project(found, generator) == found
        differ.append(sum(a != b for a, b in zip(key, found, strict=True)))
    assert 0 < np.mean(differ) < max(2, len(key) / 3)


def test_the_rungs_of_halving_cost_what_was_given():
    for evaluations in range(1, 40):
        for eta, rungs in ((2, 3), (3, 2), (4, 4)):
            strategy = STRATEGIES["halving"](evaluations=evaluations, eta=eta, rungs=rungs)
            sizes, shares = strategy.rung_sizes(), strategy.shares()
            assert sum(shares) - 1e-9 <= evaluations < sum(shares) + len(sizes)
            assert shares == sorted(shares) and shares[-1] == 1 and len(shares) == sum(sizes)
    assert STRATEGIES["halving"]().rung_sizes() == [21, 10, 5]


def test_halving_promotes_the_best_of_each_rung():
    strategy = STRATEGIES["halving"](evaluations=9)
    asked, losses = drive("halving", SPACE, BUDGET, 9)
    for size, start in ((6, 12), (3, 18)):
        before = sorted(zip(losses[start - 2 * size : start], range(start), strict=False))[:size]
        best = [asked[start - 2 * size + i] for _, i in before]
        assert asked[start : start + size] == best
    assert strategy.rung_sizes() == [12, 6, 3]


def test_a_rung_waits_for_the_losses_of_the_one_before():
    sampler = STRATEGIES["halving"](evaluations=3).sampler(SPACE, BUDGET, 0)
    archs = [sampler.ask() for _ in range(4)]
    for arch in archs[:3]:
        sampler.tell(arch, 1.0)
    with pytest.raises(ValueError, match="tell the losses"):
        sampler.ask()
    sampler.tell(archs[3], 0.5)
    assert sampler.ask() == archs[3]


@pytest.fixture
def parents(monkeypatch):
    """Keys of the archs that were changed, in turn."""
    seen, original = [], Neighbours.change
    monkeypatch.setattr(
        Neighbours,
        "change",
        lambda self, key, *rest: seen.append(key) or original(self, key, *rest),
    )
    return seen


def test_the_oldest_of_a_population_dies_though_it_is_the_best(parents):
    strategy = STRATEGIES["evolution"](population=4, tournament=4)
    sampler = strategy.sampler(SPACE, BUDGET, 0)
    archs = [sampler.ask() for _ in range(4)]
    for number, arch in enumerate(archs):
        sampler.tell(arch, float(number))
    key = Neighbours(SPACE, band_of(SPACE, BUDGET).bounds).key
    children = [sampler.ask()]
    assert parents[0] == key(archs[0])
    sampler.tell(children[0], 10.0)
    for number in range(3):
        children.append(sampler.ask())
        sampler.tell(children[-1], 11.0 + number)
    parents.clear()
    sampler.ask()
    assert parents[0] == key(children[0])  # the best of those alive, far worse than the dead


def nearer(arch, archs):
    """The one of some archs that differs least."""
    return min(archs, key=lambda other: distance(SPACE, arch, other))


@pytest.mark.parametrize("loss, moves", [(0.5, True), (1.5, False)])
def test_local_search_moves_at_the_first_improvement(loss, moves, parents):
    strategy = STRATEGIES["local"](starts=1, patience=None)
    sampler = strategy.sampler(SPACE, BUDGET, 0)
    start = sampler.ask()
    sampler.tell(start, 1.0)
    first = sampler.ask()
    sampler.tell(first, loss)
    key = Neighbours(SPACE, band_of(SPACE, BUDGET).bounds).key
    parents.clear()
    for _ in range(5):
        sampler.tell(sampler.ask(), 2.0)
    assert set(parents) == {key(first if moves else start)}


def test_local_search_leaves_an_arch_whose_neighbours_are_no_better():
    sampler = STRATEGIES["local"](evaluations=4, patience=2).sampler(SPACE, BUDGET, 0)
    starts = [sampler.ask(), sampler.ask()]
    for start, loss in zip(starts, (1.0, 2.0), strict=True):
        sampler.tell(start, loss)
    centres = []
    for _ in range(4):
        asked = sampler.ask()
        sampler.tell(asked, 3.0)
        centres.append(nearer(asked, starts))
    assert centres == [starts[0]] * 2 + [starts[1]] * 2


@pytest.mark.parametrize("name", NAMES)
def test_all_archs_of_a_small_band_are_asked_for_and_none_twice(name):
    space, budget = Toy(), parse_budget("100%", Toy())
    assert band_of(space, budget).num_archs == 4
    strategy = STRATEGIES[name](evaluations=30)
    sampler, asked = strategy.sampler(space, budget, 0), []
    for arch, share in strategy.in_turn(lambda _: sampler.ask()):
        asked.append((arch.id, share))
        sampler.tell(arch, loss_of(arch))
    assert len({arch for arch, _ in asked}) == 4 and len(set(asked)) == len(asked)
    assert sum(share == 1 for _, share in asked) == 4
