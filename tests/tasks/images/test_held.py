"""Data of a Python program are the same data as in a file, and are known by what they hold."""

import gc

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.comparison.jobs import TrainingJob, train_all
from nastk.core.loop import silent
from nastk.core.pool import worker_pool
from nastk.core.sampler import sample_archs
from nastk.records.execution import Execution
from nastk.records.manifest import absolute_data
from nastk.search_spaces import Toy
from nastk.tasks.images.held import hold, share_held
from nastk.tasks.named import make_task
from nastk.training.recipes import DEMONSTRATION
from PIL import Image

X = np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)
Y = np.arange(40) % 4
TEST = (X[:8], Y[:8])
NAMES = ["ant", "bee", "cat", "dog"]


class Pairs(torch.utils.data.Dataset):
    def __init__(self, images, labels, classes=None):
        self.images, self.labels = images, labels
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.images[i], self.labels[i]


def pictures(array):
    return [Image.fromarray(image) for image in array]


def tensors(array):
    return torch.from_numpy(array).permute(0, 3, 1, 2) / 255


def batches(name):
    task = make_task(name, 12)
    return [task.ordered(split, 0, 99) for split in ("train", "test")]


@pytest.fixture
def from_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y, x_test=TEST[0], y_test=TEST[1])
    return batches(f"npz:{tmp_path / 'a.npz'}")


FORMS = {
    "arrays": (X, Y, *TEST),
    "tensors": (tensors(X), torch.from_numpy(Y), tensors(TEST[0]), torch.from_numpy(TEST[1])),
    "lists": (list(X), Y.tolist(), list(TEST[0]), TEST[1].tolist()),
    "pictures": (pictures(X), Y.tolist(), pictures(TEST[0]), TEST[1].tolist()),
    "datasets of pictures": (Pairs(pictures(X), Y), Pairs(pictures(TEST[0]), TEST[1])),
    "datasets of tensors": (Pairs(tensors(X), torch.from_numpy(Y)), Pairs(tensors(TEST[0]), Y[:8])),
}


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_every_form_is_the_data_of_the_file(from_file, data):
    source = hold(data)
    for (x, y), (x_file, y_file) in zip(batches(source.name), from_file, strict=True):
        assert torch.equal(x, x_file) and torch.equal(y, y_file)
    assert make_task(source.name, 12).describe()["origin"] == "arrays given in Python"
    assert not source.is_demonstration


def test_the_name_follows_from_the_content(tmp_path):
    source = hold((X, Y))
    assert source.name.startswith("arrays:") and len(source.name) == 19
    assert absolute_data(source.name) == source.name
    assert hold((X.copy(), Y.tolist())) is source
    others = [hold((X, (Y + 1) % 4)), hold((255 - X, Y)), hold((X, Y, *TEST))]
    others += [hold(Pairs(X, Y, NAMES)), hold(Pairs(X, Y, NAMES[::-1]))]
    assert len({source.name, *(other.name for other in others)}) == 6


def test_later_changes_of_the_array_do_not_matter():
    mine = X.copy()
    source = hold((mine, Y, *TEST))
    mine[:] = 0
    assert np.array_equal(source.train(12)[0], X)


def test_a_part_of_a_dataset_keeps_its_names():
    source = hold(torch.utils.data.Subset(Pairs(X, Y, NAMES), range(30)))
    assert make_task(source.name, 12).class_names == NAMES


def test_a_name_is_known_as_long_as_its_data_are_held():
    source = hold((X, Y))
    name = source.name
    share_held()
    make_task(name, 12)
    del source
    gc.collect()
    with pytest.raises(ValueError, match="not held by this process; give the same data again as"):
        make_task(name, 12)


def in_worker(name):
    task = make_task(name, 12)
    return task.describe(), task.ordered("test", 0, 9)[0].numpy()


def test_worker_processes_find_what_is_held():
    sources = [hold((X, Y, *TEST)), hold(Pairs(X, np.array(NAMES)[Y]))]
    share_held()
    with worker_pool(1) as pool:
        for source in sources:
            record, x = pool.submit(in_worker, source.name).result()
            task = make_task(source.name, 12)
            assert record["train_sha256"] == task.describe()["train_sha256"]
            assert record["classes"] == task.describe()["classes"]
            assert np.array_equal(x, task.ordered("test", 0, 9)[0].numpy())


class Noisy(Pairs):
    def __getitem__(self, i):
        return torch.rand(3, 8, 8), self.labels[i]


class Triples(Pairs):
    def __getitem__(self, i):
        return self.images[i], self.labels[i], i


WRONG = {
    "a number": (3, r"got int$"),
    "one array": (X, r"got ndarray$"),
    "three arrays": ((X, Y, X), r"got tuple$"),
    "a loader": (torch.utils.data.DataLoader(Pairs(X, Y)), r"of a DataLoader give loader.dataset"),
    "triples": (Triples(X, Y), r"item 0 of the dataset is tuple of 3; expected \(image, label\)"),
    "noise": (Noisy(X, Y), "item 0 differently each time; leave random transforms out"),
    "nothing": (Pairs(X, []), "the dataset is empty"),
    "normalised": (Pairs(tensors(X) - 0.5, Y), "pixels from -0.5 to"),
    "sizes": (Pairs([*X[:30], *X[30:, :5]], Y), r"as item 30, of \(5, 9, 3\); add a Resize"),
    "ragged": (([*X[:30], *X[30:, :5]], Y), "got a sequence that is no array"),
    "class orders": ((Pairs(X, Y, NAMES), Pairs(X, Y, NAMES[::-1])), "give both the same"),
    "few names": (Pairs(X, Y, NAMES[:3]), "the label 3, but names 3 classes"),
    "unequal": ((X, Y[:-1]), "40 images and 39 labels"),
    "objects": ((X, [{}] * 40), "labels of shape"),
}


@pytest.mark.parametrize("data, words", WRONG.values(), ids=WRONG)
def test_other_objects_are_refused_in_one_line(data, words):
    with pytest.raises(ValueError, match=words) as refused:
        hold(data)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.slow
def test_a_search_in_worker_processes_takes_what_is_held(tmp_path):
    source = hold((X, Y, *TEST))
    options = {"strategy": "local", "evaluations": 2, "processes": 2, "steps": 2}
    found = asking.search("toy", "90%", data=source.name, out=tmp_path / "run", **options)
    assert found["evaluations"] == 2
    trained = asking.retrain(tmp_path / "run", steps=2, recipe="demonstration")
    tested = nastk.evaluate(tmp_path / "run")["metrics"]
    assert tested["test_loss_nats"] == trained["metrics"]["test_loss_nats"]


def test_one_process_writes_no_arrays_for_others(monkeypatch, tmp_path):
    def refused(*args, **arrays):
        raise AssertionError("arrays are written")

    monkeypatch.setattr(np, "savez", refused)
    source = hold((X, Y, *TEST))
    (arch, *_) = sample_archs(Toy(), 1, 0)
    job = TrainingJob(
        title="a training",
        space="toy",
        options={"num_classes": 4},
        choices=arch.choices,
        data=source.name,
        data_sha256=make_task(source.name, 12).describe()["train_sha256"],
        recipe=DEMONSTRATION,
        steps=1,
        execution=Execution(processes=1),
    )
    assert train_all([job], tmp_path, silent)[job.key].metrics["test_loss_nats"] > 0
