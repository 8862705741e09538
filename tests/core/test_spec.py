"""What networks are fed with where nobody gives data: images, tokens, several inputs at a time."""

import itertools
from dataclasses import dataclass

import asking
import nastk
import pytest
import torch
from nastk.core.dead import dead_operators
from nastk.core.run import Run
from nastk.core.spec import Spec, examples
from nastk.evaluators.efficiency import latency_ms, outside_flops
from nastk.evaluators.zero_cost import jacob_cov, naswot, synflow
from nastk.ops import ConvNormAct, batch_norm, conv2d, linear
from nastk.records.reading import problem_of
from nastk.reports.arch_picture import blocks_of
from nastk.strategies.length import supernet_flops
from nastk.tasks import named
from nastk.tasks.images.arrays import ArrayTask
from nastk.tasks.images.digits import digits
from nastk.training.batch import Batch
from nastk.workflows.check import check_space
from nastk.workflows.export import try_export
from torch import nn

WORDS, LENGTH = 20, 6


class Reads(nn.Module):
    """Adds what a picture and a caption say; the words of the caption are numbers."""

    def __init__(self, body, embedding, head):
        super().__init__()
        self.body, self.embedding, self.head = body, embedding, head

    def forward(self, image, tokens):
        return self.head(self.body(image).mean((2, 3)) + self.embedding(tokens).mean(1))


class Unread(Reads):
    """Never looks at the caption."""

    def forward(self, image, tokens):
        return self.head(self.body(image).mean((2, 3)))


@dataclass(frozen=True, kw_only=True)
class Captions(nastk.Space):
    """An image and whole numbers: two inputs of two kinds."""

    resolution: int = 8
    num_classes: int = 5

    def inputs(self):
        tokens = Spec(shape=(LENGTH,), dtype=torch.int64, high=WORDS, name="tokens")
        return (Spec(shape=(3, self.resolution, self.resolution)), tokens)

    def network(self, choose):
        hidden, kernel = choose("hidden", (4, 8)), choose("kernel", (1, 3))
        body = nn.Sequential(
            ConvNormAct(conv2d(3, hidden, kernel), batch_norm(hidden), nn.ReLU()),
            ConvNormAct(conv2d(hidden, 8, 1), batch_norm(8), nn.ReLU()),
        )
        return Reads(body, nn.Embedding(WORDS, 8), linear(8, self.num_classes))


SPACE = Captions()


def archs():
    for hidden, kernel in itertools.product((4, 8), (1, 3)):
        yield SPACE.arch({"hidden": hidden, "kernel": kernel})


def test_examples_are_a_function_of_their_seed_and_stay_below_the_highest():
    spec = Spec(shape=(400,), dtype=torch.int32, high=3)
    first, again, other = (spec.example(2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (2, 400) and first.dtype == torch.int32
    assert set(first.flatten().tolist()) == {0, 1, 2}
    flags = Spec(shape=(400,), dtype=torch.bool).example()
    assert flags.dtype == torch.bool and 0 < flags.sum() < 400
    alike = examples([Spec(shape=(4,)), Spec(shape=(4,))], 2)
    assert not torch.equal(*alike)
    half = Spec(shape=(3, 4, 6), dtype=torch.float16).example(5, device="meta")
    assert half.is_meta and half.shape == (5, 3, 4, 6) and half.dtype == torch.float16


def test_two_inputs_count_as_the_built_network_does():
    for arch in archs():
        network, found = SPACE.build(arch), SPACE.cost.count(SPACE.indices(arch))
        hidden, kernel = arch.choices["hidden"], arch.choices["kernel"]
        assert found["flops"] == 64 * hidden * (3 * kernel**2 + 8) + 8 * 5
        assert found["flops"] == outside_flops(network, SPACE.inputs())[1]
        assert found["params"] == sum(p.numel() for p in network.parameters())
        SPACE.check_count(arch)


def test_a_count_that_depends_on_a_choice_unseen_is_refused_for_two_inputs_too():
    @dataclass(frozen=True, kw_only=True)
    class Longer(Captions):
        def network(self, choose):
            network = super().network(choose)
            width = choose("words", (8, 16))
            size = width if isinstance(width, int) else 16
            network.embedding = nn.Sequential(nn.Embedding(WORDS, size), linear(width, 8))
            return network

    with pytest.raises(ValueError, match=r"Longer: the params of Embedding at 'embedding\.0'"):
        _ = Longer().cost


def test_two_inputs_are_probed_timed_drawn_checked_and_exported():
    arch = next(archs())
    network = SPACE.build(arch).eval()
    assert dead_operators(network, SPACE.inputs()) == []
    unread = Unread(network.body, network.embedding, network.head).eval()
    assert dead_operators(unread, SPACE.inputs()) == ["embedding"]
    assert latency_ms(SPACE.build(arch), SPACE.inputs(), rounds=1) > 0
    assert try_export(network, SPACE.inputs()) <= 1e-5
    fed = examples(SPACE.inputs(), 4)
    assert naswot(network.train(), *fed) < float("inf")
    assert -float("inf") < jacob_cov(network, *fed) < 0
    assert synflow(SPACE.build(arch), SPACE.inputs()) > 0
    with pytest.raises(ValueError, match="jacob_cov needs gradients of the input"):
        jacob_cov(nn.Embedding(WORDS, 8), fed[1])
    assert sum(block.flops for block in blocks_of(SPACE, arch)) > 0
    assert set(check_space(Captions)["checks"].values()) == {None}


class CaptionedDigits(ArrayTask):
    """Embedded digits with captions, of which one word mostly tells the digit."""

    def __init__(self, resolution):
        super().__init__(source=digits(), resolution=resolution)

    def read(self, split, items, draw):
        batch = super().read(split, items, draw)
        labels = batch.targets["labels"]
        tokens = torch.arange(LENGTH).repeat(len(labels), 1) + 10
        tokens[:, 2] = torch.where(labels > 6, 0, labels)
        return Batch(inputs=(*batch.inputs, tokens), targets=batch.targets)


@pytest.mark.slow
def test_two_inputs_go_from_search_to_exported_file(tmp_path, monkeypatch):
    monkeypatch.setitem(named.TASKS, "captioned", CaptionedDigits)
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    how = {"data": "captioned", "steps": 12, "quiet": True}
    expected = asking.search(Captions, "90%", out=tmp_path / "whole", **how)

    def stop(event):
        if (event["phase"], event["step"]) == ("supernet", 6):
            raise KeyboardInterrupt

    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        asking.search(Captions, "90%", out=run, report=stop, **how | {"quiet": False})
    found = asking.resume(run, space=Captions, quiet=True)
    assert found["arch_id"] == expected["arch_id"] and found["dead"] == []
    made = asking.retrain(run, steps=30, quiet=True)
    assert nastk.evaluate(run)["metrics"]["test_loss_nats"] == made["metrics"]["test_loss_nats"]
    file = nastk.export(run, tmp_path / "a.pt2")
    assert file["input"] == "image float32 [B, 3, 8, 8]; tokens int64 [B, 6]"
    problem = problem_of(Run.open(run))
    whole = SPACE.cost.count({"hidden": 1, "kernel": 1})["flops"] + 8 * 5
    # What folds kernels comes on top.
    assert whole <= supernet_flops(problem, features=False) < 1.002 * whole
    pytest.importorskip("onnxruntime")
    assert nastk.export(run, tmp_path / "a.onnx")["max_difference"] <= 1e-5
