"""What tasks promise of the data of a user, damaged ones included."""

import nastk
import pytest
import torch
from nastk.core.metrics import test_metrics as measure
from nastk.evaluators.tasks import make_task
from nastk.search_spaces import Toy


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
    nastk.search("toy", "90%", data=data, strategy="random", out=tmp_path / "run")
    record = nastk.core.run.Run.open(tmp_path / "run").manifest["data_record"]
    assert record["classes"] == ["cat", "dog"] and record["num_classes"] == 2
