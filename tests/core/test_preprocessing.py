"""Tests of what says how pixels become the input of a network."""

import json

import numpy as np
import pytest
from nastk.core.preprocessing import Preprocessing
from nastk.tasks.named import make_task
from PIL import Image

_GREY = {"mean": (0.5, 0.5, 0.5), "deviation": (0.25, 0.25, 0.25)}


@pytest.mark.parametrize("crop", [None, 1.0, 7 / 8])
def test_it_comes_back_from_json_as_it_was(crop: float | None) -> None:
    made = Preprocessing(resolution=32, crop=crop, resize="bicubic", **_GREY)
    assert Preprocessing.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize(
    "odd",
    [
        {"resolution": 0},
        {"resolution": 2.5},
        {"crop": 1.5},
        {"crop": float("nan")},
        {"resize": "nearest"},
        {"resize": ["bilinear"]},
        {"deviation": [0.2, 0.0, 0.2]},
        {"mean": [0.5]},
        {"mean": ["a", "b", "c"]},
        {"mean": 0.5},
        {"scale": True},
        {"channels": "BGR"},
        {"more": 1},
    ],
)
def test_entries_that_nothing_can_be_computed_with_are_refused(odd: dict[str, object]) -> None:
    sound = Preprocessing(resolution=32, **_GREY).to_json()
    with pytest.raises(ValueError, match=r"preprocessing|mean and deviation"):
        Preprocessing.from_json(sound | odd)


def test_every_task_says_how_its_pixels_become_its_batches(tmp_path) -> None:
    """Kept pixels and `preprocessing` alone give what the network is tested on."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (12, 20, 14, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(12) % 2, x_test=x, y_test=np.arange(12) % 2)
    for part in ("train", "val"):
        for index, pixels in enumerate(x):
            folder = tmp_path / "images" / part / str(index % 2)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{index:02}.png")
    in_order = {"npz:a.npz": x, "imagefolder:images": np.concatenate([x[::2], x[1::2]])}
    for data, pictures in in_order.items():
        task = make_task(data.replace(":", f":{tmp_path}/"), 8)
        preprocessing = task.preprocessing
        assert preprocessing is not None
        pixels = np.stack([preprocessing.pixels(Image.fromarray(p)) for p in pictures])
        expected = preprocessing.standardised(pixels.transpose(0, 3, 1, 2))
        assert np.array_equal(task.ordered("test", 0, 12)[0].numpy(), expected), data


def test_data_are_prepared_as_the_weights_want_them(tmp_path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(10) % 2, x_test=x, y_test=np.arange(10) % 2)
    wanted = Preprocessing(resolution=8, crop=0.5, **_GREY)
    task = make_task(f"npz:{tmp_path}/a.npz", 8)
    task.preprocessing = wanted
    middle = x[:, 4:12, 4:12].transpose(0, 3, 1, 2)
    assert np.array_equal(task.ordered("test", 0, 10)[0].numpy(), wanted.standardised(middle))
