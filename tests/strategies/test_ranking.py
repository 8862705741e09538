"""From the events of a search by mixtures to its ranking: what is planted is found again."""

import numpy as np
import pytest
import torch
from nastk.core.best import best_arch
from nastk.core.budget import Budget
from nastk.core.sampler import sample
from nastk.ops.mixture import dirichlet
from nastk.search_spaces import NasBenchMacro, SandglassMicro, Toy
from nastk.strategies.effects import Features
from nastk.strategies.learned import explained_share
from nastk.strategies.ranking import Figures, Ranking
from nastk.strategies.reading import has_ranking, read_ranking

SPACE = SandglassMicro()
FEATURES = Features(SPACE)
COSTS = np.random.default_rng(7).normal(size=len(FEATURES.names))


def random_rows(count, seed):
    return FEATURES.of_archs(sample(SPACE, count, seed))


def events(space=SPACE, noise=0.0, supernets=1, updates=400, archs=120, seed=0):
    """The events of a search whose losses follow COSTS, beside a trend and noise."""
    features, random = Features(space), np.random.default_rng(seed)
    costs = COSTS[: len(features.names)]
    counts = list(space.num_candidates.values())
    result = []
    tested = sample(space, archs, 11)
    for number in range(supernets):
        for step in range(updates):
            generator = torch.Generator().manual_seed(1000 * number + step)
            probs = dirichlet(counts, 0.3, generator).double().numpy()
            signal = float(features.of_mixtures(probs[None])[0, : len(costs)] @ costs)
            loss = 5 - 3 * (step / updates) + signal + noise * random.normal()
            rows = [row[:count].tolist() for row, count in zip(probs, counts, strict=True)]
            result.append({"step": step, "loss": loss, "supernet": number, "mixture": rows})
        noisy = noise * random.normal(size=archs)
        losses = np.exp(features.of_archs(tested)[:, : len(costs)] @ costs + noisy)
        for index, loss in enumerate(losses):
            chosen = [int(column[index]) for column in tested.values()]
            about = {"tested": index, "supernet": number, "indices": chosen}
            result.append({**about, "inherited_loss": float(loss)})
    for index in range(archs):
        chosen = [int(column[index]) for column in tested.values()]
        result.append({"untrained": index, "indices": chosen, "naswot": float(random.normal())})
    return result


def test_halves_of_figures_without_noise_agree_and_those_of_noise_do_not():
    rows, other = random_rows(300, 1), random_rows(200, 2)
    clean = Figures(name="clean", rows=rows, values=rows @ COSTS)
    assert clean.reliability(other) > 0.98 and clean.explained > 0.98
    random = np.random.default_rng(3)
    noise = [Figures(name="n", rows=rows, values=random.normal(size=300)) for _ in range(8)]
    assert np.mean([figures.reliability(other) for figures in noise]) < 0.25
    assert np.mean([figures.explained for figures in noise]) < 0.05
    assert all(0 <= figures.reliability(other) <= 1 for figures in noise)


def test_figures_that_do_not_differ_say_nothing():
    rows = random_rows(20, 1)
    still = Figures(name="still", rows=rows, values=np.ones(20))
    assert still.explained == 0 and still.reliability(rows) == 0
    ranking = Ranking(SPACE, [still], seed=0)
    assert not ranking.effects_F.any() and not ranking.errors.any()


def test_a_planted_ranking_is_read_from_noisy_losses():
    ranking = read_ranking(SPACE, events(noise=1.0, supernets=2, updates=250), seed=0)
    names = ["training 0", "inherited 0", "training 1", "inherited 1", "untrained"]
    assert [figures.name for figures in ranking.figures] == names
    assert ranking.weights["untrained"] < min(ranking.weights[name] for name in names[:4])
    drawn = sample(SPACE, 500, 21)
    true = -FEATURES.of_archs(drawn) @ COSTS
    assert np.corrcoef(ranking.score(drawn), true)[0, 1] > 0.95
    assert explained_share(ranking) > 0.5
    arch = best_arch(SPACE, ranking.polynomial, Budget.parse("0.8M"))
    chosen = {name: np.array([i]) for name, i in SPACE.indices(arch).items()}
    assert -float(FEATURES.of_archs(chosen)[0] @ COSTS) > np.quantile(true, 0.99)


def planted_pairs(noise):
    """Losses of archs that follow pairs of operations, beside candidates of their own."""
    space = NasBenchMacro()
    features, tested = Features(space), sample(space, 150, 11)
    random = np.random.default_rng(4)
    costs = random.normal(size=len(features.names) + len(features.pairs))
    losses = features.of_archs(tested) @ costs + noise * random.normal(size=150)
    return [
        {"tested": n, "supernet": 0, "indices": [int(c[n]) for c in tested.values()]}
        | {"inherited_loss": float(np.exp(loss / 10))}
        for n, loss in enumerate(losses)
    ], costs


def test_pairs_have_effects_where_the_losses_say_so():
    space = NasBenchMacro()
    known, costs = planted_pairs(0.0)
    ranking = read_ranking(space, known, seed=0)
    (figures,) = ranking.figures
    assert figures.has_pairs and figures.explained > 0.5
    drawn = sample(space, 500, 21)
    rows = ranking.features.of_archs(drawn)
    assert np.corrcoef(ranking.score(drawn), -rows @ costs)[0, 1] > 0.8
    assert ranking.score(drawn) == pytest.approx(ranking.polynomial.evaluate(drawn))
    additive = events(space, noise=0.5, updates=0, archs=150)
    known = read_ranking(space, additive, seed=0).figures
    assert known[0].name == "inherited 0" and not known[0].has_pairs


def test_errors_are_as_large_as_the_noise_and_none_lies_between_an_arch_and_itself():
    sizes = {}
    for noise in (0.2, 2.0):
        known = [event for event in events(noise=noise, updates=150) if "supernet" in event]
        ranking = read_ranking(SPACE, known, seed=0)
        drawn = sample(SPACE, 2, 5)
        behind, errors = ranking.behind(drawn)
        assert behind[0] == errors[0] == 0
        score = ranking.score(drawn)
        assert behind[1] == pytest.approx(score[0] - score[1])
        sizes[noise] = float(ranking.errors.mean())
    assert sizes[2.0] > 1.5 * sizes[0.2]


def test_a_ranking_is_a_function_of_events_and_seed():
    known = events(updates=40, archs=20)
    first, again = (read_ranking(SPACE, known, seed=1) for _ in range(2))
    assert np.array_equal(first.effects_F, again.effects_F)
    assert np.array_equal(first.errors, again.errors)
    assert np.abs(first.errors - read_ranking(SPACE, known, seed=2).errors).max() > 0


def test_an_arch_that_diverged_is_as_bad_as_the_worst():
    known = events(updates=0, archs=40)
    *others, worst = sorted(
        (event for event in known if "tested" in event), key=lambda e: e["inherited_loss"]
    )
    worst["inherited_loss"] = None
    diverged = read_ranking(SPACE, known, seed=0).effects_F
    worst["inherited_loss"] = others[-1]["inherited_loss"]
    assert np.array_equal(read_ranking(SPACE, known, seed=0).effects_F, diverged)
    worst["inherited_loss"] = others[0]["inherited_loss"]
    assert not np.array_equal(read_ranking(SPACE, known, seed=0).effects_F, diverged)


def test_nothing_is_read_from_a_handful_of_figures():
    ranking = read_ranking(SPACE, events(updates=10, archs=7), seed=0)
    assert ranking.figures == [] and explained_share(ranking) is None
    assert not ranking.score(sample(SPACE, 3, 0)).any()


def test_untrained_archs_whose_patterns_cannot_be_told_are_left_out():
    known = events(updates=0, archs=20)
    for event in known:
        event.update({"naswot": None} if "untrained" in event else {})
    names = [figures.name for figures in read_ranking(SPACE, known, seed=0).figures]
    assert names == ["inherited 0"]


def test_events_of_another_space_are_refused():
    for known in (events(Toy(), updates=20, archs=0), events(Toy(), updates=0, archs=20)):
        with pytest.raises(ValueError, match="events of the search are not of space 'sandglass-mi"):
            read_ranking(SPACE, known, seed=0)


@pytest.mark.parametrize("kind", ["mixture", "indices"])
def test_choices_with_other_candidates_are_another_space(kind):
    """As many choices, but more candidates than the space has, or fewer."""
    space = NasBenchMacro()
    for change in (1, -1):
        known = events(space, updates=20, archs=20)
        for event in known:
            if kind == "mixture" and kind in event:
                event[kind] = [[*row, 0.0] if change > 0 else row[:-1] for row in event[kind]]
            elif kind in event and change > 0:
                event[kind] = [space.num_candidates["stage1.layer1"]] * len(event[kind])
            elif kind in event:
                event[kind] = event[kind][:-1]
        with pytest.raises(ValueError, match="are not of space 'nasbench-macro'"):
            read_ranking(space, known, seed=0)


def test_events_of_mixtures_are_told_from_others():
    assert has_ranking(events(updates=1, archs=1)) and not has_ranking([{"step": 0, "loss": 1.0}])
