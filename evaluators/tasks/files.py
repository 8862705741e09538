"""The user's own arrays: npz, idx (the MNIST file format) and CIFAR-10's binary version."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import Arrays, Source, check_size

# A larger label is a mistake, and its classifier would hardly fit in memory.
_MAX_CLASSES = 100_000


def npz(path: str) -> Source:
    """Read arrays `x` ([N, H, W], [N, H, W, 3] or [N, 3, H, W] bytes) and `y` from one file.

    `x_test`, `y_test` (or `x_val`, `y_val`) are the test part; without them the last fifth is.
    """
    file = _existing(path, "npz")
    arrays = _arrays_of(file)
    if "x" not in arrays or "y" not in arrays:
        raise ValueError(f"{file} holds {sorted(arrays)}; expected the arrays x and y")
    for part in ("test", "val"):
        given = [f"{axis}_{part}" for axis in "xy" if f"{axis}_{part}" in arrays]
        if len(given) == 1:
            raise ValueError(f"{file} holds {given[0]} alone; give both x_{part} and y_{part}")
        if given:
            held_out = (arrays[f"x_{part}"], arrays[f"y_{part}"])
            return _source(f"npz:{path}", (arrays["x"], arrays["y"]), held_out)
    name = f"npz:{path}"
    _check_arrays(name, arrays["x"], arrays["y"])
    return _source(name, *_cut(arrays["x"], arrays["y"]))


def _arrays_of(file: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file, which is a zip archive of them."""
    if not zipfile.is_zipfile(file):
        raise ValueError(
            f"{file} is no npz file, or is cut short; write one with numpy.savez(FILE, x=x, y=y)"
        )
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise ValueError(
                f"{file} holds an array of Python objects, which nastk never loads; save x as "
                "uint8 and y as whole numbers"
            ) from None
        raise ValueError(f"{file} is damaged ({error}); write it again") from None


def idx(path: str) -> Source:
    """Read a folder of MNIST-format files (train-images..., train-labels..., t10k-...)."""
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(
            f"no folder {path}; idx: takes the folder that holds train-images-idx3-ubyte"
        )
    parts = []
    for prefix in ("train", "t10k"):
        arrays = []
        for kind in ("images", "labels"):
            found = sorted(f for f in folder.glob(f"{prefix}-{kind}*") if f.is_file())
            if not found:
                raise ValueError(f"{path} has no {prefix}-{kind}... file of the MNIST format")
            arrays.append(_read_idx(found[0]))
        parts.append((arrays[0], arrays[1]))
    return _source(f"idx:{path}", *parts)


def cifar10(path: str) -> Source:
    """Read CIFAR-10 in its binary version (data_batch_1.bin ... test_batch.bin)."""
    folder = Path(path)
    if (folder / "data_batch_1").exists() or path.endswith("python.tar.gz"):
        raise ValueError(
            f"{path} is the python version of CIFAR-10, whose files are pickles, which nastk never "
            "loads; download the binary version"
        )
    names = [f"data_batch_{n}.bin" for n in range(1, 6)]
    missing = [name for name in [*names, "test_batch.bin"] if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{path} misses {missing[0]}; expected the binary version of CIFAR-10")
    train = [_read_cifar(folder / name) for name in names]
    joined = (np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]))
    return _source(f"cifar10:{path}", joined, _read_cifar(folder / "test_batch.bin"), flip=True)


def _existing(path: str, kind: str) -> Path:
    if not Path(path).is_file():
        raise ValueError(f"no file {path}; {kind}: takes the path of an existing file")
    return Path(path)


def _cut(x: NDArray[np.uint8], y: NDArray[np.int64]) -> tuple[Arrays, Arrays]:
    order = np.random.default_rng(0).permutation(len(y))
    cut = len(y) * 4 // 5
    return (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]])


def _read_idx(path: Path) -> NDArray[np.uint8]:
    opened = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
    try:
        with opened as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); download it again") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not in the MNIST format of unsigned bytes")
    num_axes = content[3]
    if len(content) < 4 + 4 * num_axes:
        raise ValueError(f"{path} is cut short: it ends within its header")
    shape = tuple(np.frombuffer(content, ">u4", num_axes, 4).astype(int))
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes)
    if data.size != np.prod(shape):
        raise ValueError(f"{path} is cut short: {data.size} bytes for shape {shape}")
    return data.reshape(shape)


def _read_cifar(path: Path) -> Arrays:
    content = np.fromfile(path, np.uint8)
    if content.size == 0 or content.size % 3073:
        raise ValueError(f"{path} is no CIFAR-10 batch: its size is not a multiple of 3073 bytes")
    rows = content.reshape(-1, 3073)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def _source(name: str, train: Arrays, test: Arrays, *, flip: bool = False) -> Source:
    for images, labels in (train, test):
        _check_arrays(name, images, labels)
    check_size(name, len(train[1]))
    (x, y), (x_test, y_test) = train, test
    y, y_test = y.astype(np.int64), y_test.astype(np.int64)

    return Source(
        name=name,
        origin="files of the user",
        licence="the user's",
        num_classes=int(max(y.max(), y_test.max())) + 1,
        train=lambda resolution: (x, y),
        test=lambda resolution: (x_test, y_test),
        num_test=len(y_test),
        flip=flip,
        is_demonstration=False,
    )


def _check_arrays(name: str, images: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse what is no stack of grey or RGB byte images with a class number each.

    Raises:
        ValueError: with what was found and what is expected.
    """
    if images.dtype != np.uint8:
        raise ValueError(f"{name} holds {images.dtype} images; expected bytes (uint8)")
    is_colour = images.ndim == 4 and 3 in (images.shape[1], images.shape[-1])
    if images.ndim != 3 and not is_colour:
        raise ValueError(
            f"{name} holds images of shape {images.shape}; expected [N, H, W], [N, H, W, 3] or "
            "[N, 3, H, W]"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} holds labels of shape {labels.shape} and type {labels.dtype}; expected one "
            "whole number for each image"
        )
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"{name} has {len(images)} images and {len(labels)} labels")
    for label in (int(labels.min()), int(labels.max())):
        if not 0 <= label < _MAX_CLASSES:
            raise ValueError(
                f"{name} has the label {label}; expected classes 0, 1, 2... below {_MAX_CLASSES:,}"
            )
