"""Patches of photos: what they show, that no split sees another's pixels, and what is learned."""

from importlib.util import find_spec

import asking
import numpy as np
import pytest
import sklearn.datasets
import torch
from nastk.core.budget import Budget
from nastk.core.run import Run
from nastk.evaluators import EVALUATORS
from nastk.search_spaces import SandglassMicro
from nastk.tasks.images import patches, photos
from nastk.tasks.named import EMBEDDED, make_task
from nastk.training.strategy import Problem

SPLITS = ("weights", "architecture", "test")
SHARES = {"weights": (0, 0.5), "architecture": (0.5, 0.72), "test": (0.72, 1)}


@pytest.fixture(params=["textures", "textures-photos"])
def data(request):
    if request.param == "textures-photos" and not find_spec("skimage"):
        pytest.skip("scikit-image is not installed")
    return request.param


def bytes_of_splits(side=8):
    source = EMBEDDED["textures"]()
    train, test = source.train(side)[0], source.test(side)[0]
    chosen = (train[~source.chooses], train[source.chooses], test)
    return dict(zip(SPLITS, chosen, strict=True))


@pytest.fixture(scope="module")
def as_they_are():
    return bytes_of_splits()


@pytest.mark.parametrize("split", SPLITS)
def test_other_pixels_change_one_split_and_all_of_it(split, as_they_are, monkeypatch):
    """The column of a split is painted over in every region; only its patches may show it."""
    photos = {n: sklearn.datasets.load_sample_image(n).copy() for n in ("china.jpg", "flower.jpg")}
    noise = np.random.default_rng(0)
    for region in patches.REGIONS:
        left, top, right, bottom = region.box
        start, stop = (left + round((right - left) * share) for share in SHARES[split])
        pixels = photos[region.photo][top:bottom, start:stop]
        pixels[:] = noise.integers(0, 256, pixels.shape)
    monkeypatch.setattr(sklearn.datasets, "load_sample_image", photos.__getitem__)
    for name, painted in bytes_of_splits().items():
        changed = (painted != as_they_are[name]).any((1, 2, 3))
        assert changed.all() if name == split else not changed.any(), name


def test_regions_share_no_pixel():
    seen = {n: np.zeros((427, 640), int) for n in ("china.jpg", "flower.jpg")}
    for region in patches.REGIONS:
        left, top, right, bottom = region.box
        assert 0 <= left < right <= 640 and 0 <= top < bottom <= 427
        seen[region.photo][top:bottom, left:right] += 1
    assert max(counts.max() for counts in seen.values()) == 1


def test_classes_have_names_and_equal_shares_of_every_split(data):
    task = make_task(data, 8)
    assert task.num_classes == len(set(task.class_names)) == 10
    sizes = {split: task.size(split) for split in (*SPLITS, "train")}
    assert sizes == {"weights": 3000, "architecture": 1000, "test": 1500, "train": 4000}
    for split, size in sizes.items():
        _, labels = task.ordered(split, 0, size)
        assert labels.reshape(-1, 10).sort(1).values.unique(dim=0).tolist() == [list(range(10))]


def test_batches_follow_from_seed_and_step(data):
    task, again = make_task(data, 12), make_task(data, 12)
    first = task.batch("weights", seed=3, step=40, batch_size=8)
    task.batch("weights", seed=3, step=41, batch_size=8)
    same = again.batch("weights", seed=3, step=40, batch_size=8)
    assert torch.equal(first[0], same[0]) and torch.equal(first[1], same[1])
    for seed, step in ((4, 40), (3, 41)):
        other, _ = again.batch("weights", seed=seed, step=step, batch_size=8)
        assert not torch.equal(first[0], other)


def test_neither_brightness_nor_contrast_tells_the_class(data):
    """Of a patch as a whole; only where half of it is noise does the deviation stay smaller."""
    images = EMBEDDED[data]().train(12)[0].astype(float)
    assert np.abs(images.mean((1, 2, 3)) - 128).max() < 8
    deviations = images.std((1, 2, 3))
    assert deviations.max() < 49 and np.median(deviations) > 44


def test_photos_that_are_not_installed_are_refused_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr(photos, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"scikit-image: pip install 'nastk\[data\]', or take"):
        asking.search("toy", "90%", data="textures-photos", steps=2, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_search_records_what_the_patches_are(tmp_path):
    asking.search("sandglass-micro", "0.8M", data="textures", steps=2, out=tmp_path / "run")
    record = Run.open(tmp_path / "run").manifest["data_record"]
    assert record["name"] == "textures" and "CC-BY 2.0" in record["licence"]
    assert "danielbuechele" in record["origin"] and "vultilion" in record["origin"]
    assert record["classes"] == [region.name for region in patches.REGIONS]
    assert record["split_sizes"]["architecture"] == 1000


@pytest.mark.slow
def test_a_short_training_learns_much_but_not_all(data):
    space = SandglassMicro()
    problem = Problem(
        space=space, proxy=space, task=make_task(data, 28), budget=Budget(None, 10**6)
    )
    arch = space.arch_at({name: 0 for name in space.choices()})
    metrics = EVALUATORS["train"](problem=problem, steps=120).evaluate(arch)
    assert 0.5 < metrics["architecture_loss_nats"] < 1.9 < np.log(10)
