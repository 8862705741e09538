"""A space of nastk as a study of Optuna: define-by-run, and within the budget."""

import sys

import optuna
import pytest
from nastk.core.band import band_of
from nastk.core.budget import Budget, parse_budget
from nastk.search_spaces import NasBenchMacro, SandglassMicro, SandglassMicroTab
from nastk.strategies import OnOptuna
from nastk.strategies.on_optuna import OptunaSampler, make_driver, order_of

SPACE = SandglassMicro()
BUDGET = parse_budget("0.8M", SPACE)


class Watched(optuna.samplers.RandomSampler):
    """Remembers the names that each trial suggests."""

    def __init__(self, seed):
        super().__init__(seed)
        self.seen = {}

    def sample_independent(self, study, trial, name, distribution):
        self.seen.setdefault(trial.number, []).append(name)
        return super().sample_independent(study, trial, name, distribution)


def losses(sampler, count):
    """Ask and tell so often, a loss of each arch's own."""
    for _ in range(count):
        arch = sampler.ask()
        sampler.tell(arch, SPACE.cost.count(SPACE.indices(arch))["params"] / 1e4)


def test_active_choices_are_suggested_in_the_order_of_the_space_and_idle_ones_are_not():
    driver = Watched(0)
    sampler = OptunaSampler(SPACE, BUDGET, 0, driver)
    losses(sampler, 8)
    order = [list(SPACE.choices())[position] for position, _ in order_of(SPACE)]
    assert sorted(order) == sorted(SPACE.choices())
    skipped = 0
    for trial in sampler.study.trials:
        names = list(trial.params)
        assert names == [name for name in order if name in trial.params]
        if trial.number in driver.seen:
            assert driver.seen[trial.number] == names
        values = {name: choice.candidates[0] for name, choice in SPACE.choices().items()}
        values |= trial.params
        indices = {name: c.position(values[name]) for name, c in SPACE.choices().items()}
        assert SPACE.cost.canonical(indices) == indices
        skipped += len(SPACE.choices()) - len(names)
    assert skipped > 0


def test_a_choice_that_is_the_gate_of_its_own_operator_is_suggested():
    space = NasBenchMacro()
    order = [list(space.choices())[position] for position, _ in order_of(space)]
    assert sorted(order) == sorted(space.choices())
    sampler = OptunaSampler(space, Budget(None, 40_000_000), 0, Watched(0))
    arch = sampler.ask()
    assert space.cost.count(space.indices(arch))["flops"] <= 40_000_000
    assert set(sampler.study.trials[-1].params) == set(space.choices())


def test_archs_outside_of_the_band_fail_and_are_never_told():
    sampler = OnOptuna().sampler(SPACE, BUDGET, 0)
    losses(sampler, 12)
    states = optuna.trial.TrialState
    trials = {state: sampler.study.get_trials(states=(state,)) for state in states}
    band = band_of(SPACE, BUDGET)

    def is_inside(trial):
        values = {name: choice.candidates[0] for name, choice in SPACE.choices().items()}
        arch = SPACE.arch(values | trial.params)
        return band.low <= SPACE.cost.count(SPACE.indices(arch))["flops"] <= band.high

    assert len(trials[states.COMPLETE]) == 12 and all(map(is_inside, trials[states.COMPLETE]))
    assert trials[states.FAIL] and not any(map(is_inside, trials[states.FAIL]))
    assert not trials[states.RUNNING] and not trials[states.PRUNED]


@pytest.mark.parametrize(
    "driver",
    ["random", "cmaes", "nsga2", "optuna.samplers:QMCSampler", "optuna.samplers:GPSampler"],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_every_driver_stays_in_the_band_and_repeats_nothing(driver):
    space = SandglassMicroTab()
    budget = parse_budget("95K:106K", space)
    band = band_of(space, budget)
    low, high = band.low, band.high
    sampler = OnOptuna(driver=driver).sampler(space, budget, 1)
    asked = [sampler.ask(), sampler.ask()]
    for number in range(14):
        sampler.tell(asked[number], float("inf") if number == 3 else float(number % 5))
        asked.append(sampler.ask())
    assert len({arch.id for arch in asked}) == len(asked)
    assert all(low <= space.cost.count(space.indices(arch))["flops"] <= high for arch in asked)


def test_what_takes_the_place_of_a_suggestion_belongs_to_its_generation():
    sampler = OptunaSampler(
        SPACE, BUDGET, 0, optuna.samplers.NSGAIISampler(population_size=4, seed=0)
    )
    losses(sampler, 12)
    told = sampler.study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    generations = [
        value
        for trial in told
        for key, value in trial.system_attrs.items()
        if key.endswith("generation")
    ]
    assert len(generations) == 12 and max(generations) == 2


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ValueError, match=r"^on_optuna needs .*: pip install 'nastk\[optuna\]'$"):
        OnOptuna()


def test_the_options_of_optuna_are_left_as_they_were():
    before = optuna.logging.get_verbosity()
    make_driver("cmaes", 0)
    OnOptuna().sampler(SPACE, BUDGET, 0)
    assert optuna.logging.get_verbosity() == before
