"""What tasks promise of the data of a user, damaged ones included."""

import tracemalloc

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.search_spaces import Toy
from nastk.tasks.named import EMBEDDED, make_task
from nastk.training.task import measure
from PIL import Image


def network_of(task):
    return Toy(num_classes=task.num_classes).build({"width": 8, "kernel": 3}, seed=0)


def test_a_chunk_without_a_readable_image_is_left_out_of_the_measure(tmp_path, folder_of_images):
    """The last of 129 images fills a chunk of its own."""
    folder_of_images(tmp_path, per_class=65)
    (tmp_path / "val/cat/0.png").unlink()
    task = make_task(f"imagefolder:{tmp_path}", 28)
    (tmp_path / "val/dog/9.png").write_bytes(b"broken")
    last, _ = task.ordered("test", 128, 129)
    assert task.size("test") == 129 and last.shape == (0, 3, 28, 28) and task.num_skipped == 1
    damaged = measure(network_of(task), task)
    (tmp_path / "val/dog/9.png").unlink()
    whole = make_task(f"imagefolder:{tmp_path}", 28)
    assert whole.size("test") == 128 and damaged == measure(network_of(whole), whole)


def test_batches_of_mostly_corrupt_images_are_full_and_follow_from_the_step(
    tmp_path, folder_of_images
):
    folder_of_images(tmp_path)
    for file in sorted((tmp_path / "train").rglob("*.png"))[:-2]:
        file.write_bytes(b"broken")
    task, again = (make_task(f"imagefolder:{tmp_path}", 28) for _ in range(2))
    drawn = [task.batch("train", seed=1, step=step, batch_size=4) for step in range(5)]
    assert task.num_skipped == 14 and all(x.shape == (4, 3, 28, 28) for x, _ in drawn)
    for step in (4, 2):  # as a resumed training would, which has not seen the steps before
        x, labels = again.batch("train", seed=1, step=step, batch_size=4)
        assert torch.equal(x, drawn[step][0]) and torch.equal(labels, drawn[step][1])


def test_a_split_without_a_readable_image_is_refused(tmp_path, folder_of_images):
    folder_of_images(tmp_path)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"broken")
    task = make_task(f"imagefolder:{tmp_path}", 28)
    with pytest.raises(ValueError, match="any of the 16 images of split 'train', for example"):
        task.batch("train", seed=0, step=0, batch_size=4)
    with pytest.raises(ValueError, match=r"any of the 16 images of split 'test'.*val"):
        measure(network_of(task), task)


def test_the_record_of_an_image_folder_names_its_classes(tmp_path, folder_of_images):
    folder_of_images(tmp_path / "images")
    data = f"imagefolder:{tmp_path / 'images'}"
    asking.search("toy", "90%", data=data, strategy="random", out=tmp_path / "run")
    record = nastk.core.run.Run.open(tmp_path / "run").manifest["data_record"]
    assert record["classes"] == ["cat", "dog"] and record["num_classes"] == 2


def written_as_npz(path, shape):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, shape, dtype=np.uint8)
    np.savez(path, x=x, y=np.arange(len(x)) % 4, x_test=x[:20], y_test=np.arange(20) % 4)
    return f"npz:{path}", x


def test_small_images_stay_small_in_memory_at_a_large_resolution(tmp_path):
    """At 224 px these 500 images would be 75 MB, and four times as much while they are averaged."""
    data, x = written_as_npz(tmp_path / "a.npz", (500, 32, 32, 3))
    tracemalloc.start()
    task = make_task(data, 224)
    task.describe()
    images, _ = task.batch("train", seed=0, step=0, batch_size=8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert images.shape == (8, 3, 224, 224)
    assert x.nbytes < peak < 12 * x.nbytes


@pytest.mark.parametrize("shape", [(300, 12, 12), (300, 12, 16, 3), (300, 3, 12, 12)], ids=str)
def test_images_of_every_layout_are_resized_and_standardised(tmp_path, shape):
    data, x = written_as_npz(tmp_path / "a.npz", shape)
    task = make_task(data, 24)
    colour = np.repeat(x[..., None], 3, 3) if x.ndim == 3 else x
    colour = colour.transpose(0, 2, 3, 1) if colour.shape[1] == 3 else colour
    sized = np.stack([np.asarray(Image.fromarray(image).resize((24, 24))) for image in colour[:20]])
    wanted = (sized - colour.mean((0, 1, 2))) / colour.std((0, 1, 2))
    got, labels = task.ordered("test", 0, 20)
    assert np.abs(got.numpy() - wanted.transpose(0, 3, 1, 2)).max() < 1e-4
    assert labels.tolist() == [i % 4 for i in range(20)]


@pytest.mark.parametrize("data", ["digits", "digits-photo"])
def test_embedded_images_are_standardised_as_one_array_is_to_the_last_bit(data):
    images, _ = EMBEDDED[data]().train(28)
    pixels = images.astype(np.float32)
    mean, deviation = (
        torch.from_numpy(v).reshape(1, 3, 1, 1)
        for v in (pixels.mean((0, 2, 3)), pixels.std((0, 2, 3)))
    )
    got, _ = make_task(data, 28).ordered("train", 0, 64)
    assert torch.equal(got, (torch.from_numpy(pixels[:64]) - mean) / deviation)


def test_labels_of_every_whole_type_are_class_numbers(tmp_path):
    x = np.zeros((20, 8, 8), np.uint8)
    for kind in (np.uint8, np.int16, np.uint64):
        np.savez(tmp_path / "a.npz", x=x, y=(np.arange(20) % 4).astype(kind))
        task = make_task(f"npz:{tmp_path / 'a.npz'}", 8)
        _, labels = task.ordered("train", 0, 16)
        assert task.num_classes == 4 and labels.dtype == torch.int64 and labels.max() == 3
