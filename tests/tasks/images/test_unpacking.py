"""Headers that lie, bombs and random damage end in one line, in little memory.

`NASTK_FUZZ=10000 pytest tests/evaluators/test_unpacking.py` changes so many files of each kind.
"""

import gzip
import io
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from nastk.tasks.named import make_task

X = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
Y = np.arange(30, dtype=np.int64) % 4


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def write_idx(folder, compressed, **changed):
    files = {"images": idx(X), "labels": idx(Y.astype(np.uint8))} | changed
    for prefix in ("train", "t10k"):
        for kind, content in files.items():
            place = folder / f"{prefix}-{kind}{'.gz' if compressed else ''}"
            place.write_bytes(gzip.compress(content) if compressed else content)
    return f"idx:{folder}"


def write_npz(file, compression=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in ({"x": npy(X), "y": npy(Y)} | members).items():
            archive.writestr(f"{name}.npy", content)
    return f"npz:{file}"


def write_cifar(folder):
    rows = np.random.default_rng(0).integers(0, 10, (6, 3073), dtype=np.uint8).tobytes()
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        (folder / f"{name}.bin").write_bytes(rows)
    (folder / "batches.meta.txt").write_text("plane car bird cat deer dog frog horse ship truck")
    return f"cifar10:{folder}"


def refusal(data):
    """Return the one line in which data are refused, in a few MB."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as refused:
            make_task(data, 8)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50e6
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def with_shape(array, shape):
    """Return a npy file that declares another shape, with the length of its header kept."""
    content = npy(array)
    old, new = str(array.shape).encode(), str(shape).encode()
    growth = len(new) - len(old)
    content = content.replace(old, new)
    return content.replace(b" " * growth + b"\n", b"\n", 1) if growth else content


@pytest.mark.parametrize("shape", [(10**9, 8, 8), (10**30, 8, 8), (29, 8, 8), (-1, 8, 8)], ids=str)
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_arrays_that_declare_more_than_they_hold(tmp_path, shape, compression):
    data = write_npz(tmp_path / "a.npz", compression, x=with_shape(X, shape))
    said = refusal(data)
    assert f"{tmp_path}/a.npz" in said and "array 'x'" in said
    assert "declares" in said or "expected an array" in said


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    data = write_npz(tmp_path / "a.npz")
    content = bytearray((tmp_path / "a.npz").read_bytes())
    size_in_directory = content.index(b"PK\x01\x02") + 24
    content[size_in_directory : size_in_directory + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    assert "100 to 1; if that is true, write it uncompressed (numpy.savez" in refusal(data)


def test_blank_images_are_no_bomb(tmp_path):
    data = write_npz(tmp_path / "a.npz", x=npy(np.zeros((30, 256, 256), np.uint8)))
    assert make_task(data, 8).size("train") == 24


def test_members_that_nobody_asked_for_stay_packed(tmp_path):
    members = {f"other{i}": b"no array" for i in range(30)} | {"../evil": npy(X)}
    data = write_npz(tmp_path / "a.npz", **members)
    left_out = make_task(data, 8).describe()["left_out"]
    assert left_out["other arrays"] == 21 and left_out["array '../evil'"] == 1
    assert list(tmp_path.parent.glob("evil*")) == []


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(tmp_path, compression):
    assert "compressed as numpy never does" in refusal(write_npz(tmp_path / "a.npz", compression))


HEADERS = {
    "text": b"{'descr': '<U0', 'fortran_order': False, 'shape': (30, ), }",
    "fields": b"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (30, ), }",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (30, ), }",
    "no Python": b"{'descr': '|u1', 'fortran_order'",
    "code": b"__import__('os').system('touch evil')",
    "deep": b"[" * 5000 + b"]" * 5000,
    "unknown": b"{'descr': '|z9', 'fortran_order': False, 'shape': (30, ), }",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_of_other_arrays(tmp_path, header):
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(30)
    assert f"{tmp_path}/a.npz" in refusal(write_npz(tmp_path / "a.npz", y=member))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "header, words",
    [
        ((3, 2**32 - 1, 2**32 - 1, 2**32 - 1), "declares"),
        ((3, 29, 8, 8), "1,856 bytes, and it holds more"),
        ((3, 31, 8, 8), "1,984 bytes, and it holds 1,920"),
        ((200, 30, 8, 8), "not in the MNIST format"),
    ],
    ids=["far more", "less", "more", "axes"],
)
def test_idx_files_that_declare_what_they_do_not_hold(tmp_path, compressed, header, words):
    axes, *sizes = header
    images = bytes([0, 0, 8, axes]) + np.array(sizes, ">u4").tobytes() + X.tobytes()
    said = refusal(write_idx(tmp_path, compressed, images=images))
    assert words in said and f"{tmp_path}/train-images" in said


def test_an_idx_file_that_unpacks_without_end(tmp_path):
    """100 MB of zeros behind a header of 30 small images."""
    data = write_idx(tmp_path, False)
    endless = gzip.compress(idx(X)[:16] + bytes(100_000_000), 1)
    (tmp_path / "train-images").unlink()
    (tmp_path / "train-images.gz").write_bytes(endless)
    assert "holds more" in refusal(data)


def test_a_cifar_batch_has_ten_named_classes(tmp_path):
    data = write_cifar(tmp_path)
    record = make_task(data, 32).describe()
    assert record["num_classes"] == 10 and record["classes"][5] == "dog"
    (tmp_path / "data_batch_3.bin").write_bytes(b"\x0a" + bytes(3072))
    assert "has the label 10; labels are 0 to 9" in refusal(data)


FORMATS = {
    "npz": lambda folder: write_npz(folder / "a.npz"),
    "stored npz": lambda folder: write_npz(folder / "a.npz", zipfile.ZIP_STORED),
    "text npz": lambda folder: write_npz(folder / "a.npz", y=npy(Y.astype("U3"))),
    "idx": lambda folder: write_idx(folder, False),
    "gz idx": lambda folder: write_idx(folder, True),
    "cifar10": write_cifar,
}


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, kind):
    generator = np.random.default_rng(0)
    data = FORMATS[kind](tmp_path)
    originals = {file: file.read_bytes() for file in sorted(tmp_path.iterdir())}
    num_refused, num_changes = 0, int(os.environ.get("NASTK_FUZZ", "150"))
    for i in range(num_changes):
        file = list(originals)[generator.integers(len(originals))]
        file.write_bytes(damaged(originals[file], i, generator))
        try:
            task = make_task(data, 8)
            x, y = task.ordered("test", 0, 4)
            assert x.shape[1:] == (3, 8, 8) and y.max() < task.num_classes
        except ValueError as error:
            num_refused += 1
            assert len(str(error).splitlines()) == 1 and str(tmp_path) in str(error)
        file.write_bytes(originals[file])
    assert 0 < num_refused <= num_changes


def damaged(content, i, generator):
    """Return content with some bytes changed, most near its ends, or a part of it."""
    result = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        near = int(generator.integers(min(len(content), 160)))
        place = [near, len(content) - 1 - near, int(generator.integers(len(content)))][i % 3]
        result[place] = generator.choice([0, 1, 127, 255, int(generator.integers(256))])
    if i % 5 == 0:
        result = result[: generator.integers(len(content))]
    elif i % 7 == 0:
        result += content[: generator.integers(len(content))]
    return bytes(result)
