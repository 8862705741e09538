"""NNI's strategies on a space of nastk, and a space of nastk in NNI's own hands."""

import gc
import sys
import threading

import asking
import filelock
import numpy as np
import pytest
import torch
from nastk.core.band import band_of
from nastk.core.budget import parse_budget
from nastk.core.run import Run
from nastk.search_spaces import SandglassMicro, SandglassMicroTab
from nastk.strategies import OnNni
from nastk.strategies.on_nni import NniSampler, to_nni

pytestmark = pytest.mark.timeout(120)  # NNI is known to hang
SPACE = SandglassMicro()
BUDGET = parse_budget("0.8M", SPACE)
BAND = band_of(SPACE, BUDGET)
LOW, HIGH = BAND.low, BAND.high


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder of the test's own, as NNI likes to write there."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def flops(space, arch):
    return space.cost.count(space.indices(arch))["flops"]


@pytest.mark.parametrize("driver", ["evolution", "random", "tpe"])
def test_every_driver_stays_in_the_band_repeats_nothing_and_survives_failures(driver):
    space = SandglassMicroTab()
    budget = parse_budget("95K:106K", space)
    band = band_of(space, budget)
    low, high = band.low, band.high

    def drive():
        sampler = OnNni(driver=driver, population=4).sampler(space, budget, 1)
        asked = [sampler.ask(), sampler.ask()]
        for number in range(20):
            sampler.tell(asked[number], float("inf") if number == 3 else float(number % 5))
            asked.append(sampler.ask())
        return asked

    asked = drive()
    assert len({arch.id for arch in asked}) == len(asked)
    assert all(low <= flops(space, arch) <= high for arch in asked)
    assert asked == drive()


def test_a_search_writes_nothing_into_the_home_folder(tmp_path, home):
    options = {"strategy": "on_nni", "evaluator": "efficiency", "evaluations": 30}
    found = asking.search("sandglass-micro", "0.8M", data="digits", out=tmp_path / "run", **options)
    trials = Run.open(tmp_path / "run").events()
    assert found["params"] == max(trial["params"] for trial in trials)
    assert not list(home.iterdir())


def test_evolution_goes_on_from_the_arch_that_was_evaluated():
    sampler = OnNni(population=2, tournament=2).sampler(SPACE, BUDGET, 0)
    told = []
    for number in range(6):
        arch = sampler.ask()
        told.append(dict(arch.choices))
        sampler.tell(arch, float(number))
    models = sampler._driver._engine.list_models()
    assert [m.sample for m in models if m.metric is not None] == told


def test_an_arch_takes_the_place_of_what_nni_has_no_more_of():
    class Empty:
        def ask(self):
            return None

    sampler = NniSampler(SPACE, BUDGET, 0, Empty())
    archs = [sampler.ask() for _ in range(3)]
    for arch in archs:
        sampler.tell(arch, 1.0)
    assert len({arch.id for arch in archs}) == 3
    assert all(LOW <= flops(SPACE, arch) <= HIGH for arch in archs)


def test_a_strategy_that_fails_ends_the_search_and_one_that_is_dropped_ends_too():
    from nastk.strategies.nni_bridge import StrategyDriver

    def failing(models, engine):
        raise KeyError("broken")

    with pytest.raises(RuntimeError, match="NNI's strategy failed: KeyError"):
        StrategyDriver(failing, SPACE).ask()
    before = threading.active_count()
    sampler = OnNni().sampler(SPACE, BUDGET, 0)
    sampler.ask()
    thread = next(t for t in threading.enumerate() if "_explore" in t.name)
    assert threading.active_count() == before + 1
    del sampler
    gc.collect()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_an_exported_space_is_searched_by_nni_itself_within_the_budget():
    import nni
    from nni.nas.evaluator import FunctionalEvaluator
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import RegularizedEvolution

    seen = []

    def score(network):
        seen.append(network.arch)
        nni.report_final_result(float(sum(p.numel() for p in network.parameters())))

    models = RawFormatModelSpace.from_model(to_nni(SPACE, BUDGET), FunctionalEvaluator(score))
    strategy = RegularizedEvolution(population_size=4, sample_size=2, seed=0)
    strategy(models, SequentialExecutionEngine(max_model_count=8))
    assert len(seen) == 8 and all(LOW <= flops(SPACE, arch) <= HIGH for arch in seen)
    best = next(iter(strategy.list_models(limit=1)))
    assert best.metric == max(SPACE.cost.count(SPACE.indices(arch))["params"] for arch in seen)


def test_an_exported_space_has_the_choices_and_refuses_what_is_outside_of_the_budget():
    exported = to_nni(SPACE, BUDGET)
    mutables = exported.simplify()
    choices = {name: choice.candidates for name, choice in SPACE.choices().items()}
    assert {n: tuple(mutables[n].values) for n in choices} == choices
    largest = {name: candidates[-1] for name, candidates in choices.items()}
    assert exported.contains(largest) is False and to_nni(SPACE).contains(largest) is True
    network = to_nni(SPACE).freeze(largest)
    assert (
        sum(p.numel() for p in network.parameters())
        == SPACE.cost.count(SPACE.indices(network.arch))["params"]
    )
    assert np.isfinite(network(torch.ones(2, *SPACE.input_shape)).sum().item())


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "filelock", None)
    with pytest.raises(ValueError, match=r"^on_nni needs .*: pip install 'nastk\[nni\]'$"):
        OnNni()


@pytest.mark.parametrize("version", ["3.12.0", "4.0.1"])
def test_a_filelock_with_which_experiments_hang_is_refused(version, monkeypatch):
    monkeypatch.setattr(filelock, "__version__", version)
    with pytest.raises(ValueError, match=r"filelock .*; pip install 'filelock<3.12'$"):
        OnNni()
