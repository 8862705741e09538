"""Evolution as a sampler of Optuna: Optuna's own contracts, and that it searches."""

import numpy as np
import optuna
import pytest
from nastk.strategies.optuna_sampler import NastkEvolutionSampler, mutate
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestNastkEvolutionSampler(
    BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase
):
    @pytest.fixture
    def sampler(self):
        """A small population, so that the contracts meet children as well."""
        return lambda: NastkEvolutionSampler(seed=0, population=2)


def mixed(trial):
    """A define-by-run objective with its minimum 0 at b, 8, 0.01."""
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    loss = {"a": 2.0, "b": 0.0, "c": 1.0}[kind]
    if kind == "b":
        loss += abs(trial.suggest_int("depth", 1, 20) - 8) / 10
    rate = trial.suggest_float("rate", 1e-5, 1.0, log=True)
    return loss + abs(rate / 0.01 - 1) / 10


def best(sampler, count=120, direction="minimize"):
    study = optuna.create_study(sampler=sampler, direction=direction)
    sign = 1 if direction == "minimize" else -1
    study.optimize(lambda trial: sign * mixed(trial), n_trials=count)
    return sign * study.best_value, [trial.params for trial in study.trials]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_conditional_space_is_searched_better_than_at_random(direction):
    wins = 0
    for seed in range(5):
        ours = best(NastkEvolutionSampler(seed), direction=direction)[0]
        wins += ours < best(optuna.samplers.RandomSampler(seed), direction=direction)[0]
    assert wins >= 4


def test_the_same_seed_gives_the_same_trials_and_another_one_others():
    first, again, other = (best(NastkEvolutionSampler(s, 5), 20)[1] for s in (1, 1, 2))
    assert first == again != other


def test_a_child_differs_from_its_parent_in_one_parameter_and_repeats_nothing():
    study = optuna.create_study(sampler=NastkEvolutionSampler(0, population=3, tournament=3))
    names = [f"x{i}" for i in range(6)]

    def objective(trial):
        return sum(
            3**i * trial.suggest_categorical(name, [0, 1, 2]) for i, name in enumerate(names)
        )

    study.optimize(objective, n_trials=30)
    params = [trial.params for trial in study.trials]
    assert len({tuple(p.values()) for p in params}) == 30
    for number in range(3, 30):
        parent = min(study.trials[number - 3 : number], key=lambda trial: trial.value)
        assert sum(parent.params[name] != params[number][name] for name in names) == 1


def test_a_trial_that_violates_a_constraint_is_no_parent():
    study = optuna.create_study(sampler=NastkEvolutionSampler(0, population=4, tournament=4))

    def objective(trial):
        x, y = trial.suggest_int("x", 0, 9), trial.suggest_int("y", 0, 999)
        trial.set_constraint("x", 1.0 if x > 5 else 0.0)
        return y / 1e4 - x

    study.optimize(objective, n_trials=60)
    assert sum(trial.params["x"] <= 5 for trial in study.trials[30:]) > 20


@pytest.mark.parametrize(
    "space",
    [
        CategoricalDistribution([1, True, "1"]),
        IntDistribution(0, 1),
        IntDistribution(1, 100, log=True),
        IntDistribution(3, 9, step=2),
        FloatDistribution(-1.2, 1.2, step=0.3),
    ],
)
def test_a_mutation_is_another_value_of_the_distribution(space):
    generator = np.random.default_rng(0)
    value = space.choices[0] if isinstance(space, CategoricalDistribution) else space.low
    for _ in range(50):
        other = mutate(space, value, generator)
        assert other is not value and space._contains(space.to_internal_repr(other))
        value = other


def test_numbers_without_sense_are_refused():
    with pytest.raises(ValueError, match="population at least 1; got 0"):
        NastkEvolutionSampler(population=0)
