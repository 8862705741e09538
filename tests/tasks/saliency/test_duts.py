"""Images and masks in folders: what is read, and one line for what cannot be."""

import numpy as np
import pytest
from nastk.tasks.named import find_data, make_task
from PIL import Image


def write(folder, part, count, *, suffix="jpg", size=(40, 30)):
    """Write images and masks of a part; the left third of each mask is white."""
    for kind in ("Image", "Mask"):
        (folder / f"DUTS-{part}-{kind}").mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        pixels = draw.integers(0, 256, (size[1], size[0], 3), np.uint8)
        mask = np.zeros((size[1], size[0]), np.uint8)
        mask[:, : size[0] // 3] = 255
        name = f"{part}{number:03}"
        Image.fromarray(pixels).save(folder / f"DUTS-{part}-Image" / f"{name}.{suffix}")
        Image.fromarray(mask).save(folder / f"DUTS-{part}-Mask" / f"{name}.png")


def hashes_of(folder):
    task = make_task(f"duts:{folder}", 24)
    return task.describe()["train_sha256"], task.test_sha256()


@pytest.mark.parametrize("nested", [False, True], ids=["flat", "nested"])
def test_images_and_masks_of_the_same_names_are_read(tmp_path, nested):
    for part, count in (("TR", 16), ("TE", 3)):
        write(tmp_path / f"DUTS-{part}" if nested else tmp_path, part, count)
    task = make_task(f"duts:{tmp_path}", 24)
    assert [task.size(s) for s in ("weights", "architecture", "train", "test")] == [12, 4, 16, 3]
    batch = task.read("test", range(3), None)
    assert batch.inputs[0].shape == (3, 3, 24, 24)
    mask = batch.targets["mask"]
    assert mask.shape == (3, 1, 24, 24) and float(mask[..., :7].min()) == 1
    assert float(mask[..., 9:].max()) == 0
    about = task.describe()
    assert about["has_own_test"] and not task.is_demonstration
    assert about["train_sha256"] == make_task(f"duts:{tmp_path}", 24).describe()["train_sha256"]


def test_other_images_to_test_on_have_another_hash(tmp_path):
    write(tmp_path, "TR", 16)
    write(tmp_path, "TE", 3)
    hashes = [hashes_of(tmp_path)]
    for kind in ("Image", "Mask"):
        next((tmp_path / f"DUTS-TE-{kind}").glob("TE000.*")).unlink()
    hashes.append(hashes_of(tmp_path))
    assert hashes[0][0] == hashes[1][0] and hashes[0][1] != hashes[1][1]


def test_every_fifth_image_tests_where_no_part_is_for_that(tmp_path):
    write(tmp_path, "TR", 20)
    task = make_task(f"duts:{tmp_path}", 24)
    assert [task.size(s) for s in ("weights", "architecture", "train", "test")] == [12, 4, 16, 4]
    assert not task.describe()["has_own_test"]


def refused(folder):
    with pytest.raises(ValueError) as error:
        make_task(f"duts:{folder}", 24).read("train", range(2), None)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_image_without_a_mask_is_refused(tmp_path):
    write(tmp_path, "TR", 8)
    (tmp_path / "DUTS-TR-Mask" / "TR003.png").unlink()
    message = refused(tmp_path)
    assert "TR003.jpg has no mask: expected" in message and "DUTS-TR-Mask/TR003.png" in message


def test_a_mask_of_another_size_is_refused(tmp_path):
    write(tmp_path, "TR", 8)
    Image.new("L", (39, 30)).save(tmp_path / "DUTS-TR-Mask" / "TR005.png")
    message = refused(tmp_path)
    assert "TR005.jpg has 40x30 pixels, its mask" in message and "39x30" in message


def test_a_mask_that_is_not_white_within_objects_is_refused(tmp_path):
    write(tmp_path, "TR", 8)
    for number in range(8):
        classes = np.zeros((30, 40), np.uint8)
        classes[:, :13] = 1
        Image.fromarray(classes).save(tmp_path / "DUTS-TR-Mask" / f"TR{number:03}.png")
    message = refused(tmp_path)
    assert "DUTS-TR-Mask" in message and "brightest pixel is 1; masks are 255" in message


def turned(folder, number, tag):
    """Say in the EXIF of an image how it was taken."""
    file = folder / "DUTS-TR-Image" / f"TR{number:03}.jpg"
    exif = Image.Exif()
    exif[0x0112] = tag
    with Image.open(file) as image:
        image.save(file, exif=exif)


def test_an_image_that_its_exif_turns_has_a_mask_as_it_is_seen(tmp_path):
    write(tmp_path, "TR", 8)
    turned(tmp_path, 3, 6)
    assert "TR003.jpg has 30x40 pixels, its mask" in refused(tmp_path)
    mask = np.zeros((40, 30), np.uint8)
    mask[:10] = 255
    Image.fromarray(mask).save(tmp_path / "DUTS-TR-Mask" / "TR003.png")
    make_task(f"duts:{tmp_path}", 24).read("train", range(6), None)
    turned(tmp_path, 5, 3)  # which keeps the size
    assert "TR005.jpg and its mask" in refused(tmp_path)


def test_folders_that_are_missing_or_empty_are_refused(tmp_path):
    assert "has no folders DUTS-TR-Image and DUTS-TR-Mask" in refused(tmp_path)
    (tmp_path / "DUTS-TR-Image").mkdir()
    assert "has no folder DUTS-TR-Mask" in refused(tmp_path)
    (tmp_path / "DUTS-TR-Mask").mkdir()
    assert "DUTS-TR-Image holds no image" in refused(tmp_path)
    write(tmp_path, "TR", 3)
    assert "too few" in refused(tmp_path)
    file = tmp_path / "file"
    file.write_text("")
    assert f"{file} is no folder" in refused(file)
    with pytest.raises(ValueError, match=r"there is nothing at|is no folder"):
        find_data(f"duts:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize("damage", ["head", "body"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    write(tmp_path, "TR", 8, suffix="png")
    for file in (tmp_path / "DUTS-TR-Image").iterdir():
        content = file.read_bytes()
        file.write_bytes(b"no image" if damage == "head" else content[: len(content) // 2])
    message = refused(tmp_path)
    assert message.startswith("cannot read image") and "DUTS-TR-Image" in message
