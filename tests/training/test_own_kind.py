"""A kind of task of one's own, in one file and one line of registry, from search to report."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import asking
import nastk
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from nastk.search_spaces import Toy
from nastk.tasks import named
from nastk.tasks.images.digits import digits
from nastk.training.batch import Batch
from nastk.training.task import Meter, Metric, Objective, Task, measure, training_batch
from torch import nn

ROOT = Path(__file__).parents[2]
# By what is true of which digit; an image has ten answers that do not exclude each other.
FACTS = {
    "even": "02468",
    "prime": "2357",
    "above 4": "56789",
    "square": "0149",
    "multiple of 3": "0369",
    "round": "0689",
    "with a hole": "4689",
    "with a bar": "2457",
    "power of 2": "1248",
    "odd prime": "357",
}
NOISE = 1  # the only stream of random numbers


class DigitFacts(Task):
    """Ten facts about each embedded digit, all of them yes or no."""

    kind = "multilabel"
    metrics = (
        Metric(name="all_right_percent", title="all right %", maximises=True, digits=1),
        Metric(name="loss_nats", title="test loss"),
    )
    is_demonstration = True

    def __init__(self, resolution):
        self.sizes, self.class_names = {"num_classes": len(FACTS)}, list(FACTS)
        source = digits()
        parts = {"train": source.train(resolution), "test": source.test(resolution)}
        self.parts = {name: (x[:240], y[:240]) for name, (x, y) in parts.items()}

    def size(self, split):
        return {"weights": 180, "architecture": 60, "train": 240}.get(split, len(self.of(split)[1]))

    def of(self, split):
        return self.parts["test" if split == "test" else "train"]

    def read(self, split, items, draw):
        index = np.asarray(items) + (180 if split == "architecture" else 0)
        images, digit = (part[index] for part in self.of(split))
        x = torch.from_numpy(np.asarray(images, dtype=np.float32) / 255)
        if draw is not None:
            noise = [draw.of_item(i, NOISE).normal(size=x.shape[1:]) for i in items]
            x = x + 0.05 * torch.from_numpy(np.array(noise)).float()
        facts = [[float(str(d) in true) for true in FACTS.values()] for d in digit]
        return Batch(inputs=(x,), targets={"facts": torch.tensor(facts)})

    def objective(self, amounts=None):
        return Independent((amounts or {}).get("label_smoothing", 0.0))

    def meter(self, split=None):
        return AllRight()

    def describe(self):
        sizes = {split: self.size(split) for split in ("weights", "architecture", "train", "test")}
        about = {"name": "digit-facts", "split_sizes": sizes, "train_sha256": "0" * 64}
        return about | self.sizes


class Independent(Objective):
    """A binary cross-entropy for each fact, at a temperature that trains with the weights."""

    def __init__(self, smoothing):
        super().__init__()
        self.smoothing, self.scale = smoothing, nn.Parameter(torch.ones(len(FACTS)))

    def forward(self, network, batch, step):
        facts = batch.targets["facts"] * (1 - self.smoothing) + self.smoothing / 2
        logits = self.scale * network(*batch.inputs).float()
        return F.binary_cross_entropy_with_logits(logits, facts)


class AllRight(Meter):
    """The share of images of which all facts are told; it is no mean over facts."""

    def __init__(self):
        self.right, self.losses = [], []

    def update(self, outputs, batch):
        facts = batch.targets["facts"]
        self.right += ((outputs > 0) == (facts > 0)).all(1).tolist()
        losses = F.binary_cross_entropy_with_logits(outputs, facts, reduction="none")
        self.losses += losses.mean(1).tolist()

    def compute(self):
        right = 100 * float(np.mean(self.right))
        return {"all_right_percent": right, "loss_nats": float(np.mean(self.losses))}


@dataclass(frozen=True, kw_only=True)
class FactsSpace(Toy):
    """The toy space, for facts."""

    name = "facts"
    tasks = ("multilabel",)


SEARCH = {"steps": 12, "data": "digit-facts", "quiet": True}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(named.TASKS, "digit-facts", DigitFacts)
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")


def interrupted(phase, step):
    """Return a report that stops at a step, once."""

    def report(event):
        if (event["phase"], event["step"]) == (phase, step):
            raise KeyboardInterrupt

    return report


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_kind_goes_from_search_to_report(tmp_path):
    run = tmp_path / "run"
    found = asking.search(FactsSpace, "90%", out=run, **SEARCH)
    made = asking.retrain(run, steps=6, hold_out=True, quiet=True)
    assert {"test_all_right_percent", "test_loss_nats"} <= set(made["metrics"])
    assert made["classes"] == list(FACTS)
    curve = json.loads(next(run.glob("*-curve.json")).read_text())
    assert len(curve["held_out_all_right_percent"]) == len(curve["held_out_steps"]) > 0
    told = nastk.evaluate(run)
    assert told["metrics"]["test_loss_nats"] == made["metrics"]["test_loss_nats"]
    compared = nastk.compare(run, seeds=2, random=1, steps=4, processes=1, quiet=True)
    rows = {row["kind"]: row for row in compared["rows"]}
    assert {"all_right_percent", "all_right_spread_percent", "loss_nats"} <= set(rows["found"])
    assert len(rows["found"]["all_right_percent_each"]) == 2
    ahead = rows["random"]["all_right_percent"] > rows["found"]["all_right_percent"]
    assert compared["rank"] == 1 + ahead
    page = Path(nastk.report(run)["html"]).read_text()
    assert "all right %" in page and "task multilabel" in page and "top-1" not in page
    assert found["arch_id"] in page


def test_a_search_and_a_training_of_a_kind_resume_bit_for_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = asking.search(FactsSpace, "90%", out=whole, **SEARCH)
    with pytest.raises(KeyboardInterrupt):
        given = SEARCH | {"report": interrupted("supernet", 7)}
        asking.search(FactsSpace, "90%", out=parts, **given)
    found = asking.resume(parts, space=FactsSpace, quiet=True)
    assert found["arch_id"] == expected["arch_id"] and lines(parts) == lines(whole)

    once = asking.retrain(whole, steps=6, quiet=True)["metrics"]
    with pytest.raises(KeyboardInterrupt):
        asking.retrain(parts, steps=6, report=interrupted("train", 4))
    again = asking.retrain(parts, steps=6, quiet=True)["metrics"]
    for name in ("test_all_right_percent", "test_loss_nats"):
        assert again[name] == once[name]


def test_black_box_strategies_choose_by_the_first_metric(tmp_path):
    options = {"strategy": "random", "evaluations": 2, "processes": 1}
    asking.search(FactsSpace, "90%", out=tmp_path / "run", **SEARCH | options)
    trials = [line for line in lines(tmp_path / "run") if "trial" in line]
    assert [t["loss"] for t in trials] == [-t["architecture_all_right_percent"] for t in trials]


@pytest.mark.parametrize("space, data", [("toy", "digit-facts"), (FactsSpace, "digits")])
def test_a_space_for_other_kinds_is_refused_before_a_folder_is_made(space, data, tmp_path):
    words = "builds networks for (classification.*|multilabel), but the data are for"
    with pytest.raises(ValueError, match=words):
        asking.search(space, "90%", out=tmp_path / "run", data=data, quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_the_objective_owns_trains_and_is_not_part_of_the_network(tmp_path):
    run = tmp_path / "run"
    asking.search(FactsSpace, "90%", out=run, **SEARCH)
    made = asking.retrain(run, steps=4, quiet=True)
    network = nastk.load(run)
    assert not any("scale" in name for name in network.state_dict())
    metrics = measure(network, DigitFacts(28))
    assert metrics["test_loss_nats"] == made["metrics"]["test_loss_nats"]


def test_a_batch_is_a_function_of_seed_and_step():
    task = DigitFacts(28)
    drawn = [
        training_batch(task, "weights", seed=seed, step=step, batch_size=8).inputs[0]
        for seed, step in ((3, 5), (3, 5), (3, 6), (4, 5))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not any(torch.equal(drawn[0], other) for other in drawn[2:])


def test_loops_strategies_evaluators_comparison_and_reports_name_no_kind():
    """But for the pages on single answers, which kinds without answers do not have."""
    names = re.compile(r"classif|multilabel|cross_entropy|\bnum_classes|\btop[15]|\"labels\"", re.I)
    answers = {"reports/by_class.py", "reports/class_facts.py"}
    found = []
    for room in ("training", "strategies", "evaluators", "comparison", "reports"):
        for path in (ROOT / room).rglob("*.py"):
            code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.S)
            if names.search(code) and str(path.relative_to(ROOT)) not in answers:
                found.append(f"{path}: {names.search(code)[0]}")
    assert not found
