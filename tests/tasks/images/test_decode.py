"""What a file shows is what training, evaluation and export see, whatever its format."""

import os

import numpy as np
import pytest
from nastk.core.preprocessing import Preprocessing
from nastk.tasks.images.decode import decode, read_image, suffixes
from PIL import Image

RAMP = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8) * 2  # 0 to 220
WAY = Preprocessing(resolution=28, mean=(0.5,) * 3, deviation=(0.25,) * 3)
COLOUR = np.stack([RAMP, 255 - RAMP, RAMP // 2], -1)


def pixels(file):
    return np.asarray(read_image(str(file))).astype(int)


def deep(kind):
    """Return RAMP in a mode of more than 8 bits."""
    scaled = RAMP.astype(np.uint16) * 257
    if kind == "float":
        return Image.fromarray(RAMP.astype(np.float32) / 255)
    return Image.fromarray(scaled.astype(">u2") if kind == "I;16B" else scaled)


@pytest.mark.parametrize(
    "kind, ending",
    [("I;16", "png"), ("I;16", "tif"), ("I;16B", "tif"), ("float", "tif"), ("I;16", "pgm")],
)
def test_deep_grey_is_its_8_bit_copy(tmp_path, kind, ending):
    image = deep(kind)
    image.save(tmp_path / f"a.{ending}", format="PPM" if ending == "pgm" else None)
    assert np.array_equal(pixels(tmp_path / f"a.{ending}"), np.repeat(RAMP[..., None], 3, 2))


def test_deep_grey_jpeg_2000_is_its_8_bit_copy(tmp_path):
    deep("I;16").save(tmp_path / "a.jp2")
    assert np.abs(pixels(tmp_path / "a.jp2")[..., 0] - RAMP).max() <= 1


def test_a_tiff_whose_white_is_zero_is_not_a_negative(tmp_path):
    Image.fromarray((255 - RAMP).astype(np.uint16) * 257).save(
        tmp_path / "a.tif", tiffinfo={262: 0}
    )
    assert np.array_equal(pixels(tmp_path / "a.tif")[..., 0], RAMP)


@pytest.mark.parametrize(
    "array, words",
    [
        (RAMP.astype(np.int32), "32-bit or signed whole numbers, whose range is unknown"),
        (RAMP.astype(np.float32), "float pixels outside"),
        (np.full((9, 9), np.nan, np.float32), "float pixels outside"),
    ],
    ids=["int32", "float bytes", "nan"],
)
def test_pixels_of_unknown_range_are_not_guessed(tmp_path, array, words):
    Image.fromarray(array).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=words):
        read_image(str(tmp_path / "a.tif"))


@pytest.mark.parametrize("ending", ["tif", "tiff", "gif", "jfif", "avif", "jp2", "webp", "bmp"])
def test_every_format_shows_the_same_picture(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    Image.fromarray(COLOUR).save(file)
    assert f".{ending}" in suffixes()
    assert np.abs(pixels(file) - COLOUR).mean() < 12  # a palette of 256 is the coarsest


def test_the_first_frame_of_an_animation_is_taken(tmp_path):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    for ending in ("gif", "png", "tif"):
        frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
        assert pixels(tmp_path / f"a.{ending}")[20, 20].tolist() == [255, 0, 0]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, ending, orientation):
    """Of the four quarters of the picture the red one is at the top left, and blue at its right."""
    image = Image.new("RGB", (64, 32), "white")
    image.paste("red", (0, 0, 32, 16))
    image.paste("blue", (32, 0, 64, 16))
    stored = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    stored = image if stored is None else image.transpose(Image.Transpose(stored))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{ending}", exif=exif)
    upright = pixels(tmp_path / f"a.{ending}")
    assert upright.shape == (32, 64, 3)
    assert np.abs(upright[8, 16] - [255, 0, 0]).max() < 40
    assert np.abs(upright[8, 48] - [0, 0, 255]).max() < 40


def test_broken_exif_does_not_lose_the_picture(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "a.png", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert np.array_equal(pixels(tmp_path / "a.png"), COLOUR)


def transparent(kind):
    """Return a picture whose left half is transparent over black, and whose right half is grey."""
    alpha = np.zeros((40, 40), np.uint8)
    alpha[:, 20:] = 255
    level = np.where(alpha > 0, 90, 0).astype(np.uint8)
    if kind == "RGBA":
        return Image.fromarray(np.dstack([level, level, level, alpha])), {}
    if kind == "LA":
        return Image.fromarray(np.dstack([level, alpha])), {}
    if kind == "I;16":
        return Image.fromarray(level.astype(np.uint16) * 257), {"transparency": 0}
    image = Image.fromarray(level)
    return (image.convert("P") if kind == "P" else image), {"transparency": 0}


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "L", "I;16"])
def test_transparent_pixels_are_white(tmp_path, kind):
    image, options = transparent(kind)
    image.save(tmp_path / "a.png", **options)
    assert pixels(tmp_path / "a.png")[20, [5, 35]].tolist() == [[255] * 3, [90] * 3]


def eps(file):
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")


UNREADABLE = {
    "pipe": (os.mkfifo, "not a regular file"),
    "folder": (os.mkdir, "not a regular file"),
    "link to nowhere": (lambda file: os.symlink("nowhere", file), "no such file"),
    "link to a device": (lambda file: os.symlink("/dev/zero", file), "not a regular file"),
    "eps": (eps, "no image in a format that is read"),
    "text": (lambda file: file.write_text("a picture"), "no image in a format that is read"),
    "too large": (lambda file: Image.new("1", (20_000, 9_000)).save(file), "pixels"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_picture_is_named_and_never_waited_for(tmp_path, monkeypatch, kind):
    started = tmp_path / "started"
    gs = tmp_path / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {started}\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    make, reason = UNREADABLE[kind]
    make(tmp_path / "a.png")
    said = decode((str(tmp_path / "a.png"), WAY, None, 0))
    assert isinstance(said, str) and f"{tmp_path}/a.png (" in said and reason in said
    assert "\n" not in said and not started.exists()


def test_damaged_files_are_named_in_one_line(tmp_path):
    """Bytes of real files of every format are changed; each result is a picture or one line."""
    generator = np.random.default_rng(0)
    num_changes = int(os.environ.get("NASTK_FUZZ", "400"))
    endings = ["png", "jpg", "gif", "tif", "webp", "bmp", "ppm", "jp2", "avif", "tga", "ico"]
    originals = []
    for ending in endings:
        Image.fromarray(COLOUR).save(tmp_path / f"a.{ending}")
        originals.append((tmp_path / f"a.{ending}").read_bytes())
    file = tmp_path / "changed"
    num_refused = 0
    for i in range(num_changes):
        content = bytearray(originals[i % len(originals)])
        for place in generator.integers(0, min(len(content), 400), generator.integers(1, 5)):
            content[place] = generator.integers(256)
        file.write_bytes(content[: generator.integers(1, len(content) + 1) if i % 3 else None])
        answer = decode((str(file), WAY, None, 0))
        if isinstance(answer, str):
            num_refused += 1
            assert answer.startswith(f"{file} (") and "\n" not in answer
        else:
            assert answer.shape == (28, 28, 3) and answer.dtype == np.uint8
    assert 0 < num_refused < num_changes
