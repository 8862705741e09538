"""Drawn images of salient objects: functions of their number, splits without a shared pixel."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from nastk.tasks.images.photos import COLUMNS, column_of
from nastk.tasks.named import TASKS, family_of, make_task
from nastk.tasks.saliency import composite as composites
from nastk.tasks.saliency.composite import Composite, composite
from nastk.training.task import training_batch
from PIL import Image

SMALL = {"weights": 24, "architecture": 8, "test": 6}


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(composites, "_SIZES", SMALL)
    return make_task("composite", 48)


def photo(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (90, 120, 3), np.uint8)
    return Image.fromarray(pixels)


def test_an_image_is_a_function_of_its_seed_and_its_photos():
    photos = [photo(0), photo(1)]
    one, again, other = (composite(photos, 48, seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[0], other[0])
    assert one[0].shape == (3, 48, 48) and one[1].shape == (48, 48)


@pytest.mark.parametrize("side", [32, 48, 64])
def test_objects_cover_a_seventh_of_the_pixels_at_any_resolution(side):
    photos = [photo(0), photo(1)]
    shares = [composite(photos, side, (0, n))[1].mean() / 255 for n in range(100)]
    assert 0.1 < np.mean(shares) < 0.2 and min(shares) > 0.01


def test_neither_brightness_nor_colour_is_the_answer():
    """Objects are brighter than their ground in half of the images, in every channel."""
    photos = [Image.new("RGB", (90, 120), (128, 128, 128)) for _ in range(2)]
    brighter = []
    for number in range(200):
        image, mask = composite(photos, 48, (5, number))
        inside, outside = image[:, mask > 200].mean(1), image[:, mask < 50].mean(1)
        brighter.append(inside > outside)
    assert np.abs(np.mean(brighter, axis=0) - 0.5).max() < 0.15


def test_splits_share_no_pixel_of_a_photo():
    numbers = np.arange(100 * 7, dtype=np.uint32).reshape(7, 100)
    image = Image.fromarray(numbers.view(np.uint8).reshape(7, 100, 4))
    seen = {
        name: set(np.asarray(column_of(image, name)).copy().view(np.uint32).ravel().tolist())
        for name in COLUMNS
    }
    assert sum(map(len, seen.values())) == 700 and len(set().union(*seen.values())) == 700


def test_the_training_split_is_the_two_it_is_cut_into(task):
    assert {split: task.size(split) for split in ("weights", "architecture", "train", "test")} == {
        "weights": 24,
        "architecture": 8,
        "train": 32,
        "test": 6,
    }
    parts = [task.pairs(split, range(SMALL[split])) for split in ("weights", "architecture")]
    images, masks = task.pairs("train", range(32))
    assert np.array_equal(images, np.concatenate([p[0] for p in parts]))
    assert np.array_equal(masks, np.concatenate([p[1] for p in parts]))


def test_a_record_tells_the_data_and_draws_no_test_image(task, monkeypatch):
    drawn = []
    real = composites._drawn
    monkeypatch.setattr(
        composites,
        "_drawn",
        lambda photos, name, side: drawn.append(name) or real(photos, name, side),
    )
    about = task.describe()
    assert about["name"] == "composite" and "vultilion" in about["origin"]
    assert about["split_sizes"]["test"] == 6 and len(about["train_sha256"]) == 64
    assert set(drawn) == {"weights", "architecture"}


def test_masks_are_mirrored_with_their_images(task):
    drawn = training_batch(task, "weights", seed=0, step=0, batch_size=24)
    again = training_batch(task, "weights", seed=0, step=0, batch_size=24)
    assert torch.equal(drawn.inputs[0], again.inputs[0])
    plain = task.read("weights", range(24), None)
    kinds = []
    for x, mask in zip(drawn.inputs[0], drawn.targets["mask"], strict=True):
        for flip in (False, True):
            xs, masks = plain.inputs[0], plain.targets["mask"]
            xs, masks = (xs.flip(3), masks.flip(3)) if flip else (xs, masks)
            same = [n for n in range(24) if torch.equal(xs[n], x)]
            if same:
                assert torch.equal(masks[same[0]], mask)
                kinds.append(flip)
    assert len(kinds) == 24 and 4 < sum(kinds) < 20


def test_three_baselines_are_as_poor_as_they_should_be(task):
    found = task.baselines()
    assert list(found) == ["constant", "centre", "colour"]
    assert all(set(row) == {m.name for m in task.metrics} for row in found.values())
    share = task.read("test", range(6), None).targets["mask"].ge(0.5).float().mean((1, 2, 3))
    expected = 1.3 * float(share.mean()) / (0.3 * float(share.mean()) + 1)
    assert found["constant"]["max_f"] == pytest.approx(expected)
    assert found["centre"]["max_f"] > found["constant"]["max_f"]


def test_pictures_show_image_mask_and_answer_side_by_side(task):
    batch = task.read("test", range(2), None)
    certain = torch.where(batch.targets["mask"] >= 0.5, 20.0, -20.0)
    first, second = (np.asarray(one) for one in task.pictures(batch, certain))
    images, masks = task.pairs("test", range(2))
    assert first.shape == (48, 3 * 48, 3)
    assert np.abs(first[:, :48].astype(int) - images[0].transpose(1, 2, 0)).max() <= 1
    assert np.array_equal(first[:, 48:96, 0], masks[0])
    assert np.array_equal(second[:, 96:, 0] > 127, masks[1] > 127)


def test_the_photos_of_scikit_image_make_other_data():
    assert TASKS["composite-photos"].photos[:2] == Composite.photos
    if find_spec("skimage"):
        one, other = (make_task(name, 16).describe() for name in ("composite", "composite-photos"))
        assert one["train_sha256"] != other["train_sha256"]
    else:
        with pytest.raises(ValueError, match=r"composite-photos needs .* or take --data composite"):
            make_task("composite-photos", 16).describe()


def test_the_kind_decides_what_networks_are_built():
    family = family_of("composite")
    assert (family.kind, family.sizes, family.metrics[0].name) == (
        "saliency",
        {"num_classes": 1},
        "loss_nats",
    )
