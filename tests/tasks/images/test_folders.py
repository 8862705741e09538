"""Which images of a folder are used, and that the rest is named."""

import os
import shutil

import asking
import numpy as np
import pytest
from nastk.comparison.contestants import Contestant
from nastk.comparison.jobs import trainings
from nastk.records.execution import Execution
from nastk.tasks.images import repeated
from nastk.tasks.named import make_task
from nastk.training.recipes import RECIPES
from nastk.workflows.planning import what_was_read
from PIL import Image


@pytest.fixture
def data(tmp_path, folder_of_images):
    folder_of_images(tmp_path / "data")
    return tmp_path / "data"


def task_of(data):
    return make_task(f"imagefolder:{data}", 28)


def test_the_record_says_what_was_read_and_what_was_left_out(data):
    for name in ("notes.txt", "more.TXT", "one.heic", "._0.png", "without"):
        (data / "train/cat" / name).write_bytes(b"?")
    (data / "train/cat/@eaDir").mkdir()
    (data / "train/.ipynb_checkpoints").mkdir()
    os.rename(data / "train/cat/0.png", data / "train/stray.png")
    record = task_of(data).describe()
    assert record["left_out"] == {
        ".heic": 1,
        ".png beside the class folders": 1,
        ".txt": 2,
        "folder .ipynb_checkpoints": 1,
        "folder @eaDir": 1,
        "hidden file": 1,
        "no suffix": 1,
    }
    assert record["split_sizes"] == {"weights": 11, "architecture": 4, "train": 15, "test": 16}
    assert record["classes"] == ["cat", "dog"] and record["is_grey"] is False


def test_grey_images_are_called_grey(tmp_path):
    for part in ("train", "val"):
        for name, mode in (("cat", "L"), ("dog", "RGB")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(4):
                image = Image.new("L", (30, 30), 20 * i).convert(mode)
                image.save(tmp_path / part / name / f"{i}.png")
    assert task_of(tmp_path).describe()["is_grey"] is True


def test_folders_behind_links_are_read_once(data, tmp_path):
    os.rename(data / "train/dog", tmp_path / "dogs")
    (data / "train/dog").mkdir()
    for name, target in {
        "part": tmp_path / "dogs",
        "again": tmp_path / "dogs",
        "loop": data / "train/dog",
        "up": data / "train",
        "root": "/",
    }.items():
        (data / "train/dog" / name).symlink_to(target)
    task = task_of(data)
    assert task.size("train") == 16
    assert task.describe()["left_out"] == {"folder linked a second time": 4}


def test_a_real_folder_keeps_its_path_where_a_link_leads_to_it_too(data):
    (data / "train/cat/z").mkdir()
    os.rename(data / "train/cat/0.png", data / "train/cat/z/0.png")
    before = task_of(data).describe()["train_sha256"]
    (data / "train/cat/a").symlink_to("z")
    assert task_of(data).describe()["train_sha256"] == before


@pytest.mark.parametrize(
    "link, target, words",
    [
        ("train/rat", "train/cat", "are the same folder, but belong to two classes"),
        ("train/cat/more", "train/dog", "are the same folder, but belong to two classes"),
        ("val/cat/more", "train/cat", "the test would be on training images"),
        ("train/up", ".", r"class folder .*up holds no images, but 1 folder linked a second time"),
    ],
)
def test_one_folder_in_two_places_is_refused(data, link, target, words):
    (data / link).symlink_to(data / target)
    with pytest.raises(ValueError, match=words):
        task_of(data)


def test_copies_of_training_images_among_those_to_test_on_are_said(data, monkeypatch):
    assert task_of(data).describe()["num_test_in_train"] == 0
    for number in range(3):
        shutil.copy(data / f"train/cat/{number}.png", data / f"val/cat/copy{number}.png")
    shutil.copy(data / "train/cat/4.png", data / "val/dog/of-another-class.png")
    (data / "val/dog/link.png").symlink_to(data / "train/dog/4.png")
    content = bytearray((data / "train/dog/5.png").read_bytes())
    content[-1] ^= 1  # of one size and one middle, and yet another file
    (data / "val/dog/other.png").write_bytes(content)
    os.mkfifo(data / "val/dog/pipe.png")
    task = task_of(data)
    assert task.describe()["num_test_in_train"] == 5
    assert what_was_read(task).endswith("; 5 of the test images are among those to train on too")
    monkeypatch.setattr(repeated, "LOOKED", 11)
    assert task.size("test") == 23
    assert "of 8 test images are among" in what_was_read(task_of(data))


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_without_images_is_refused_by_name(data, part):
    for file in (data / part / "dog").iterdir():
        file.rename(file.with_suffix(".heic"))
    with pytest.raises(
        ValueError, match=rf"class folder .*{part}/dog holds no images, but 8 .heic"
    ):
        task_of(data)


def test_one_class_alone_is_refused(data):
    for part in ("train", "val"):
        os.rename(data / part, data / f"old-{part}")
        (data / part).mkdir()
        os.rename(data / f"old-{part}", data / part / "images")
    with pytest.raises(ValueError, match="one class folder alone, 'images'; expected two or more"):
        task_of(data)


def test_a_class_without_a_test_folder_is_counted(data):
    for file in (data / "val/dog").iterdir():
        file.unlink()
    (data / "val/dog").rmdir()
    assert task_of(data).describe()["left_out"] == {"class without test images": 1}


def test_a_test_class_in_other_letters_is_refused(data):
    os.rename(data / "val/dog", data / "val/Dog")
    with pytest.raises(ValueError, match=r"class 'Dog', which train has not; did you mean 'dog'"):
        task_of(data)


def test_pipes_and_dangling_links_are_unreadable_images(data):
    (data / "train/cat/gone.png").symlink_to("nowhere")
    os.mkfifo(data / "train/cat/pipe.png")
    task = task_of(data)
    assert task.size("train") == 18 and len(task.describe()["train_sha256"]) == 64
    task.batch("train", seed=0, step=0, batch_size=18)
    assert {os.path.basename(file) for file in task.skipped} == {"gone.png", "pipe.png"}


@pytest.mark.slow
def test_names_that_are_no_utf_8_reach_records_and_page(data, tmp_path):
    import nastk

    for part in ("train", "val"):
        os.rename(os.fsencode(data / part / "cat"), os.fsencode(data / part) + b"/caf\xe9")
    folder = os.fsencode(data / "train") + b"/caf\xe9"
    os.rename(folder + b"/0.png", folder + b"/\xff.png")
    with open(folder + b"/\xfe.png", "wb") as file:
        file.write(b"broken")
    os.rename(os.fsencode(data), os.fsencode(tmp_path) + b"/\xe4")
    place = os.fsdecode(os.fsencode(tmp_path) + b"/\xe4")
    found = asking.search("toy", "90%", data=f"imagefolder:{place}", steps=2, out=tmp_path / "run")
    record = nastk.core.run.Run.open(tmp_path / "run").manifest["data_record"]
    assert record["classes"] == ["caf\\udce9", "dog"] and found["num_skipped"] == 1
    assert asking.retrain(tmp_path / "run", steps=2, recipe="demonstration")["num_skipped"] == 1
    assert nastk.evaluate(tmp_path / "run")["num_skipped"] == 0
    nastk.report([tmp_path / "run"])


@pytest.mark.parametrize("split", ["train", "weights"])
def test_a_training_is_another_where_images_of_the_test_move_and_it_is_measured_on_them(
    data, split
):
    entrant = Contestant(
        name="a", kind="given", family="toy", options={}, choices={}, flops=1, params=1
    )

    def key():
        made = {"data": f"imagefolder:{data}", "task": task_of(data), "steps": 1, "split": split}
        made |= {"recipe": RECIPES["small"], "execution": Execution()}
        ((_, job),) = trainings([entrant], 1, **made)
        return job.key

    before = key()
    moved = next((data / "val/cat").iterdir())
    os.rename(moved, data / "val/dog" / f"moved-{moved.name}")
    assert (key() == before) == (split == "weights")


def test_other_images_to_test_on_have_another_hash(tmp_path):
    x, y = np.zeros((40, 9, 9), np.uint8), np.arange(40) % 4
    hashes = []
    for name, labels in (("a", y[:8]), ("b", y[1:9])):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y, x_test=x[:8], y_test=labels)
        task = make_task(f"npz:{tmp_path / name}.npz", 12)
        hashes.append((task.describe()["train_sha256"], task.test_sha256()))
    assert hashes[0][0] == hashes[1][0] and hashes[0][1] != hashes[1][1]
