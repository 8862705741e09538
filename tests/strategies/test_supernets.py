"""What each of the strategies on a supernet computes, and what it leaves alone."""

import dataclasses
import math
from itertools import pairwise

import asking
import numpy as np
import pytest
import torch
from nastk.commands.options import show
from nastk.core.band import band_of
from nastk.core.best import best_arch
from nastk.core.budget import Budget
from nastk.core.checkpoint import load_checkpoint
from nastk.core.loop import silent
from nastk.core.run import Run
from nastk.core.supernet import Supernet
from nastk.evaluators.inherit import load_supernet
from nastk.search_spaces import SandglassMicro
from nastk.strategies import STRATEGIES
from nastk.strategies.effects import Features, ridge
from nastk.strategies.inherited import ArchTest
from nastk.tasks.named import make_task
from nastk.training.strategy import Problem

SPACE, BUDGET, TASK = SandglassMicro(), Budget.parse("0.8M"), make_task("digits", 28)


class Doubles:
    """A task whose batches are in float64."""

    def __init__(self, task):
        self.size, self.objective, self._read = task.size, task.objective, task.read

    def read(self, *given):
        batch = self._read(*given)
        return batch.like([x.double() if x.is_floating_point() else x for x in batch.tensors])


@pytest.fixture
def in_float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def problem(task=None, seed=0):
    return Problem(space=SPACE, proxy=SPACE, task=task or TASK, budget=BUDGET, seed=seed)


def search(name, folder, problem, report=silent, **options):
    """Search in a new folder; return its events and the weights at its end."""
    run = Run.create(folder, {})
    STRATEGIES[name](**options).search(problem, run, report)
    run.release()
    return run.events(), load_checkpoint(folder / "checkpoints", "last")[0]


@pytest.mark.parametrize(
    "level, term", [("single", "exact"), ("bilevel", "exact"), ("single", "smooth")]
)
def test_summing_features_and_summing_kernels_are_one_function(level, term, in_float64, tmp_path):
    options = {"steps": 3, "warmup": 0.4, "level": level, "budget_term": term, "batch_size": 4}
    given = problem(Doubles(TASK))
    results = []
    for name in ("logits", "multi_feature"):
        results.append(search(name, tmp_path / name, given, **options))
    (events_a, weights_a), (events_b, weights_b) = results
    for a, b in zip(events_a, events_b, strict=True):
        probs_a, probs_b = a.pop("probs", {}), b.pop("probs", {})
        assert a == pytest.approx(b, rel=1e-9, abs=0)
        assert probs_a == probs_b  # rounded when logged
    assert weights_a["logits.values"].dtype == torch.float64
    for key, a in weights_a.items():
        assert (a - weights_b[key]).abs().max() <= 1e-9 * max(1, a.abs().max())


def test_features_are_summed_and_not_kernels(tmp_path, monkeypatch):
    from nastk.ops import meta_convolution

    folds = []
    original = meta_convolution.fold_kernels
    monkeypatch.setattr(
        meta_convolution, "fold_kernels", lambda *a: folds.append(0) or original(*a)
    )
    search("multi_feature", tmp_path / "features", problem(), steps=1)
    assert not folds
    search("meta_kernel", tmp_path / "kernels", problem(), steps=1)
    assert len(folds) == 12


def kernels_of(weights):
    """The names of the candidate kernels of each searched convolution."""
    names = {}
    for key in weights:
        convolution, dot, _ = key.removeprefix("supernet.").rpartition("kernels.")
        if dot:
            names.setdefault(convolution, []).append(key.removeprefix("supernet."))
    return [keys for keys in names.values() if len(keys) == 3]


@pytest.mark.parametrize("mixture, most", [("two_path", 2), ("binary", 1), ("straight_through", 1)])
@pytest.mark.parametrize("warmup", [0.0, 0.9])
def test_a_step_leaves_candidates_alone_that_were_not_drawn(mixture, most, warmup, tmp_path):
    options = {"steps": 1, "mixture": mixture, "warmup": warmup, "batch_size": 8}
    before = SPACE.supernet(seed=0).state_dict()
    _, after = search("gumbel", tmp_path / "run", problem(), **options)
    changed = [
        sum(not torch.equal(before[key], after[f"supernet.{key}"]) for key in keys)
        for keys in kernels_of(after)
    ]
    assert len(changed) == 12 and max(changed) == most
    skipped = 0 if most == 2 else 6  # a block that was not drawn to be kept has no gradient
    assert sum(count < most for count in changed) <= skipped


def test_a_kernel_that_is_not_drawn_again_keeps_still(tmp_path, monkeypatch):
    """Neither the momentum of the step before nor weight decay moves it."""
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    options = {"steps": 6, "mixture": "straight_through", "warmup": 0.0, "batch_size": 8}
    states = []

    def look(event):
        found = load_checkpoint(tmp_path / "run/checkpoints", "last")
        states.append(found and found[0])  # of the step before

    _, last = search("gumbel", tmp_path / "run", problem(), look, **options)
    states = [SPACE.supernet(seed=0).state_dict(prefix="supernet."), *states[1:], last]
    again = 0
    for keys in kernels_of(last):
        moves = [
            [not torch.equal(a[f"supernet.{k}"], b[f"supernet.{k}"]) for k in keys]
            for a, b in pairwise(states)
        ]
        assert all(sum(row) <= 1 for row in moves)
        again += sum(any(row[n] for row in moves[:-1]) and not moves[-1][n] for n in range(3))
    assert again > 5


def test_testing_archs_leaves_the_supernet_as_training_left_it(tmp_path, monkeypatch):
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    trained = []

    def look(event):
        if event["phase"] == "inherited" and not trained:
            trained.append(load_checkpoint(tmp_path / "run/checkpoints", "last")[0])

    _, last = search("single_path", tmp_path / "run", problem(), look, steps=2, evaluations=8)
    assert trained[0].keys() == last.keys()
    assert all(torch.equal(trained[0][key], last[key]) for key in last)


def test_an_arch_is_tested_without_the_smoothing_of_a_recipe():
    supernet, chosen = SPACE.supernet(), dict.fromkeys(SPACE.choices(), 0)
    objectives = [TASK.objective({"label_smoothing": share}) for share in (0.0, 0.5)]
    plain, smoothed = (ArchTest(supernet, o, problem(), items=16).loss(chosen) for o in objectives)
    assert plain == smoothed


@pytest.mark.parametrize(
    "name, options",
    [
        ("single_path", {"evaluations": 8}),
        pytest.param("meta_kernel", {"archs": 8, "untrained": 0}, marks=pytest.mark.slow),
        ("logits", {}),
    ],
)
def test_archs_inherit_the_averaged_weights_of_a_recipe(name, options, tmp_path, monkeypatch):
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    folder, states = tmp_path / "run", []

    def look(event):  # after a step, before its checkpoint
        if event["step"] > 1:
            states.append(load_checkpoint(folder / "checkpoints", "last")[0])

    given = dataclasses.replace(problem(seed=3), recipe={"ema_decay": 0.15})
    events, last = search(name, folder, given, look, steps=3, batch_size=8, **options)
    averaged = SPACE.supernet(seed=3)
    for step, state in enumerate([*states, last][:3]):
        keep = (0.1, 0.15, 0.15)[step]  # rises to what the recipe says
        for key, mean in averaged.state_dict().items():
            value = state[f"supernet.{key}"]
            mean.copy_(value + keep * (mean - value) if mean.is_floating_point() else value)
    found = load_supernet(folder, SPACE).state_dict()
    for key, mean in averaged.state_dict().items():
        torch.testing.assert_close(found[key], mean)
    assert any(not torch.equal(found[key], last[f"supernet.{key}"]) for key in found)
    tested = [event for event in events if "tested" in event]
    test = ArchTest(load_supernet(folder, SPACE), TASK.objective(), given, items=16)
    for event in tested:
        chosen = dict(zip(SPACE.choices(), event["indices"], strict=True))
        assert test.loss(chosen) == event["inherited_loss"]
    assert bool(tested) == (name != "logits")


def test_single_path_answers_by_a_fit_of_inherited_losses_and_the_solver(tmp_path):
    given = problem(seed=2)
    options = {"steps": 40, "evaluations": 30}
    events, weights = search("single_path", tmp_path / "run", given, **options)
    supernet = SPACE.supernet()
    prefix = "supernet."
    supernet.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items()})
    tested = [event for event in events if "tested" in event]
    test = ArchTest(supernet, TASK.objective(), given, items=_images_of(given, options))
    names = list(SPACE.choices())
    for event in tested:
        chosen = dict(zip(names, event["indices"], strict=True))
        assert test.loss(chosen) == event["inherited_loss"]
    rows_AD = np.array([event["indices"] for event in tested])
    features = Features(SPACE)
    rows_AF = features.of_archs(dict(zip(names, rows_AD.T, strict=True)))
    losses_A = np.log([event["inherited_loss"] for event in tested])
    score = features.polynomial(-ridge(rows_AF, losses_A, 1.0))
    again = STRATEGIES["single_path"](**options).search(given, Run(tmp_path / "run"), silent)
    assert again.id == best_arch(SPACE, score, BUDGET).id
    assert again.id not in {SPACE.arch_at(dict(zip(names, row, strict=True))).id for row in rows_AD}


def _images_of(given, options):
    """On how many images each arch is tested: a seventh of the training, at least 16."""
    return max(16, 3 * options["steps"] * 64 // (7 * options["evaluations"]))


@pytest.mark.parametrize("sampling", ["band", "space"])
def test_single_paths_are_drawn_from_where_they_should(sampling, tmp_path, monkeypatch):
    paths, original = [], Supernet.select

    def watched(self, arch):
        paths.append(SPACE.cost.count(SPACE.indices(arch))["flops"])
        original(self, arch)

    monkeypatch.setattr(Supernet, "select", watched)
    options = {"steps": 12, "evaluations": 8, "sampling": sampling}
    search("single_path", tmp_path / "run", problem(), batch_size=8, **options)
    band = band_of(SPACE, BUDGET)
    low, high = band.low, band.high
    inside = [low <= flops <= high for flops in paths]
    assert len(paths) == 12 and (all(inside) if sampling == "band" else sum(inside) <= 3)


def test_mixtures_come_near_single_paths(tmp_path, monkeypatch):
    assert SPACE.num_candidates  # has been traced, before mixtures are watched
    largest, original = [], Supernet.mix

    def watched(self, probs, **options):
        largest.append(float(probs.max(1).values.mean()))
        original(self, probs, **options)

    monkeypatch.setattr(Supernet, "mix", watched)
    options = {"steps": 12, "archs": 0, "untrained": 0, "concentration_start": 1.0}
    search("meta_kernel", tmp_path / "run", problem(), batch_size=8, **options)
    assert len(largest) == 13  # one when the supernet was made
    assert sum(largest[1:4]) / 3 < 0.75 and sum(largest[-3:]) / 3 > 0.85


def test_weights_of_every_supernet_can_be_inherited(tmp_path):
    for name in ("gumbel", "multi_feature", "single_path"):
        run = tmp_path / name
        options = {"evaluations": 8} if name == "single_path" else {}
        asking.search("toy", "55K", strategy=name, steps=2, data="digits", out=run, **options)
        trained = asking.retrain(run, steps=2, inherit=True)
        assert "inherit" in trained["weights"]


@pytest.mark.parametrize("name", ["meta_kernel", "single_path"])
def test_a_search_that_diverges_says_so_and_logs_nothing_of_it(name, tmp_path):
    options = {"data": "digits", "steps": 6, "strategy_options": {"weights_lr": 1e12}}
    with pytest.raises(RuntimeError, match=r"diverged at update \d: .* weights_lr \(now 1e\+12\)"):
        asking.search("sandglass-micro", "0.8M", strategy=name, out=tmp_path / "run", **options)
    with pytest.raises(RuntimeError, match="diverged"):
        asking.resume(tmp_path / "run")
    events = Run.open(tmp_path / "run").events()
    assert all(math.isfinite(event["loss"]) for event in events)


def test_numbers_that_are_not_finite_are_null_in_events_and_in_what_is_printed(tmp_path, capsys):
    run = Run.create(tmp_path / "run", {})
    run.log(loss=math.nan, rows=[1.0, math.inf], name="NaN")
    run.release()
    assert run.events_path.read_text() == '{"loss": null, "rows": [1.0, null], "name": "NaN"}\n'
    show({"metrics": {"loss": -math.inf}}, True, print)
    assert capsys.readouterr().out == '{"metrics": {"loss": null}}\n'
