"""What is not finite never wins, and a training that ends in it says so."""

import math

import asking
import pytest
import torch
from nastk.core.ranked import as_ranked
from nastk.core.run import Run
from nastk.evaluators.best import Best, check_finite
from nastk.evaluators.train import Training
from nastk.search_spaces import Toy
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION
from torch import nn


class Breaks(nn.Module):
    """A network whose training breaks down behind so many updates, as an overflow does."""

    def __init__(self, after):
        super().__init__()
        self.network = Toy().build(Toy().arch({"kernel": 3, "width": 8}))
        self.after, self.updates = after, 0

    def forward(self, x):
        if self.training:
            self.updates += 1
            if self.updates > self.after:
                return self.network(x) * math.nan
        return self.network(x)


def trained(run, after, **options):
    task = make_task("digits", 28)
    training = Training(
        network=Breaks(after), task=task, recipe=DEMONSTRATION, run=run, steps=16, **options
    )
    return training, training.fit()


def test_held_out_weights_are_finite_and_those_that_were_measured_best(tmp_path):
    run = Run.create(tmp_path / "run", {})
    training, network = trained(run, 9, split="weights")
    assert all(bool(p.isfinite().all()) for p in network.parameters())
    assert training.diverged_at == 10 and training.restored_from in (4, 8)
    said = []
    check_finite(training.diverged_at, training.restored_from, said.append)
    assert "diverged at update 10" in said[0]["say"] and "are kept" in said[0]["say"]
    run.release()


@pytest.mark.parametrize("options", [{}, {"split": "weights"}])
def test_a_training_without_finite_weights_is_refused(tmp_path, options):
    run = Run.create(tmp_path / "run", {})
    training, _ = trained(run, 0, **options)
    assert training.diverged_at == 1 and training.restored_from is None
    with pytest.raises(RuntimeError, match="diverged at update 1: train with a lower --lr"):
        check_finite(training.diverged_at, training.restored_from, pytest.fail)
    again, _ = trained(run, 100, **options)  # goes on from where it broke, and not far
    assert again.diverged_at == 1 and again.network.updates == 0
    run.release()


def test_a_finite_loss_of_broken_weights_is_not_kept(tmp_path):
    best, network, notes = Best(tmp_path, "train"), nn.Linear(2, 2), {}
    best.offer(network, math.nan, notes, 0)
    assert not notes and best.restore(network, notes) is None
    best.offer(network, 0.5, notes, 1)
    kept = network.weight.detach().clone()
    nn.init.constant_(network.weight, math.nan)
    best.offer(network, 0.1, notes, 2)
    best.offer(network, -math.inf, notes, 3)
    assert best.restore(network, notes) == 2 and torch.equal(network.weight, kept)


def test_losses_that_are_not_finite_rank_last():
    losses = [math.nan, 0.5, None, -math.inf, 0.1, math.inf]
    assert sorted(losses, key=as_ranked)[:2] == [0.1, 0.5]


@pytest.mark.slow
def test_a_retraining_that_ends_in_nan_writes_no_weights(tmp_path):
    found = asking.search("toy", "100%", strategy="random", out=tmp_path / "run", quiet=True)
    with pytest.raises(RuntimeError, match="diverged at update"):
        asking.retrain(found["run"], steps=20, lr=1e6, quiet=True)
    assert not list((tmp_path / "run").glob("*.safetensors"))
    assert not (tmp_path / "run/retrain.json").exists()
