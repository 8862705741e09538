"""Arrays in the shapes and types that people have give the same images and labels."""

import numpy as np
import pytest
import torch
from nastk.tasks.named import make_task

GREY = np.random.default_rng(0).integers(0, 256, (40, 9, 11), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (40, 9, 11, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4
NAMES = np.array(["ant", "bee", "cat", "dog"])


@pytest.fixture
def task_of(tmp_path):
    def make(**arrays):
        np.savez_compressed(tmp_path / "a.npz", **arrays)
        return make_task(f"npz:{tmp_path / 'a.npz'}", 12)

    return make


def same(task, other):
    for split in ("train", "test"):
        (x, y), (x_other, y_other) = (t.ordered(split, 0, 99) for t in (task, other))
        assert torch.equal(x, x_other) and torch.equal(y, y_other)
    assert task.num_classes == other.num_classes


IMAGES = {
    "channel behind": GREY[..., None],
    "channel first": GREY[:, None],
    "floats to 1": GREY / np.float32(255),
    "half floats to 255": GREY.astype(np.float16),
    "whole numbers": GREY.astype(np.int64),
    "16 bits": GREY.astype(np.uint16) * 257,
    "16 bits in the other byte order": (GREY.astype(np.uint16) * 257).astype(">u2"),
    "Fortran order": np.asfortranarray(GREY),
    "colour": np.repeat(GREY[..., None], 3, 3),
    "colour in floats, first": np.repeat(GREY[:, None], 3, 1) / 255,
}


@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
def test_images_of_every_type_are_the_same_images(task_of, images):
    same(task_of(x=images, y=LABELS), task_of(x=GREY, y=LABELS))


def test_true_is_white(task_of):
    same(task_of(x=GREY > 99, y=LABELS), task_of(x=np.where(GREY > 99, 255, 0), y=LABELS))


TEXT = NAMES[LABELS]
LABEL_TYPES = {
    "a column": LABELS[:, None],
    "floats": LABELS.astype(np.float32),
    "one of K": np.eye(4)[LABELS],
    "text": TEXT,
    "text in bytes": TEXT.astype("S"),
    "a column of text": TEXT[:, None],
}


@pytest.mark.parametrize("labels", LABEL_TYPES.values(), ids=LABEL_TYPES)
def test_labels_of_every_type_are_the_same_labels(task_of, labels):
    task = task_of(x=COLOUR, y=labels)
    same(task, task_of(x=COLOUR, y=LABELS))
    assert task.classes == (NAMES.tolist() if labels.dtype.kind in "US" else None)


def test_names_of_keras_and_of_medmnist(task_of):
    wanted = task_of(x=GREY, y=LABELS, x_test=GREY[:8], y_test=LABELS[:8])
    keras = task_of(x_train=GREY[..., None], y_train=LABELS, x_test=GREY[:8], y_test=LABELS[:8])
    same(keras, wanted)
    arrays = {"train_images": GREY, "train_labels": LABELS[:, None]}
    arrays |= {"test_images": GREY[:8], "test_labels": LABELS[:8, None]}
    medmnist = task_of(**arrays, val_images=GREY, val_labels=LABELS)
    same(medmnist, wanted)
    assert medmnist.describe()["left_out"] == {
        "array 'val_images'": 1,
        "array 'val_labels'": 1,
    }


def test_numbers_with_gaps_are_classes_named_by_their_number(task_of):
    task = task_of(x=GREY, y=np.array([1, 2, 5, 9])[LABELS])
    same(task, task_of(x=GREY, y=LABELS))
    record = task.describe()
    assert record["classes"] == ["1", "2", "5", "9"] and record["num_classes"] == 4
    assert record["left_out"] == {"label without a training image (0, 3, 4, 6, 7, ...)": 6}


def test_the_only_image_of_a_class_trains(task_of):
    """Wherever it stands, so also where the fixed cut would take it for the test."""
    for place in range(40):
        labels = LABELS.copy()
        labels[place] = 4
        task = task_of(x=GREY, y=labels)
        assert task.num_classes == 5 and 4 in task.ordered("train", 0, 99)[1]
        assert task.size("train") + task.size("test") == 40


def test_test_images_that_train_too_are_counted(task_of):
    both = task_of(x=COLOUR, y=LABELS, x_test=COLOUR[:7], y_test=LABELS[:7])
    assert both.describe()["num_test_in_train"] == 7
    assert task_of(x=COLOUR, y=LABELS).describe()["num_test_in_train"] == 0
    doubled = task_of(x=np.concatenate([GREY] * 2), y=np.tile(LABELS, 2)).describe()
    assert doubled["num_test_in_train"] > 8


def test_the_record_says_whether_images_are_grey(task_of):
    assert task_of(x=np.repeat(GREY[:, None], 3, 1), y=LABELS).describe()["is_grey"] is True
    assert task_of(x=COLOUR, y=LABELS).describe()["is_grey"] is False


def test_names_of_classes_can_be_written(task_of):
    labels = np.array(["a\nb", "\ud800", "käfer", "x"])[LABELS]
    assert task_of(x=GREY, y=labels).classes == ["a\\nb", "käfer", "x", "\\ud800"]
