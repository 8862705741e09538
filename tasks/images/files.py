"""The user's own arrays: npz, idx (the MNIST file format) and CIFAR-10's binary version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .arrays import Source
from .labelled import labelled_source
from .unpacking import npz_arrays, npz_names, read_cifar, read_idx

# How people name images and labels, for training and then for the test; the first that is there.
_NAMES = (
    (("x", "y"), (("x_test", "y_test"), ("x_val", "y_val"))),
    (("x_train", "y_train"), (("x_test", "y_test"), ("x_val", "y_val"))),
    (
        ("train_images", "train_labels"),
        (("test_images", "test_labels"), ("val_images", "val_labels")),
    ),
)


def npz(path: str) -> Source:
    """Read arrays `x` and `y` from one file; `x_train` and `y_train` as Keras names them do too.

    `x_test`, `y_test` (or `x_val`, `y_val`) are the test part; without them the last fifth is.
    `train_images`, `train_labels`, `test_images` ... are read as well, other arrays are not.
    For shapes and types see `labelled_source`.
    """
    file = _existing(path, "npz")
    names = npz_names(file)
    used = _used(file, names)
    others = sorted(ascii(name) for name in set(names) - set(used))
    left_out = {f"array {name}": 1 for name in others[:10]}
    if len(others) > 10:
        left_out["other arrays"] = len(others) - 10
    arrays = npz_arrays(file, used)
    held_out = (arrays[2], arrays[3]) if len(arrays) == 4 else None
    return labelled_source(f"npz:{path}", (arrays[0], arrays[1]), held_out, left_out=left_out)


def _used(file: Path, names: Sequence[str]) -> list[str]:
    """Return the names of the images and labels, and of those of the test part if there is one."""
    known = [(train, tests) for train, tests in _NAMES if set(train) <= set(names)]
    if not known:
        some = ", ".join(sorted(map(ascii, names))[:10]) or "nothing"
        raise ValueError(
            f"{file} holds {some}; expected the arrays x and y, or x_train and y_train"
        )
    train, tests = known[0]
    for pair in tests:
        given = [name for name in pair if name in names]
        if len(given) == 1:
            raise ValueError(f"{file} holds {given[0]} alone; give both {pair[0]} and {pair[1]}")
        if given:
            return [*train, *pair]
    return list(train)


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
            arrays.append(read_idx(found[0]))
        parts.append((arrays[0], arrays[1]))
    return labelled_source(f"idx:{path}", *parts)


def cifar10(path: str) -> Source:
    """Read CIFAR-10 in its binary version (data_batch_1.bin ... test_batch.bin).

    Where `batches.meta.txt` lies with them, it names the classes.
    """
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
    train = [read_cifar(folder / name) for name in names]
    joined = (np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train]))
    test = read_cifar(folder / "test_batch.bin")
    return labelled_source(f"cifar10:{path}", joined, test, classes=_cifar_names(folder), flip=True)


def _cifar_names(folder: Path) -> list[str]:
    file = folder / "batches.meta.txt"
    lines = []
    if file.is_file():
        with open(file, encoding="utf-8", errors="backslashreplace") as opened:
            lines = opened.read(10_000).split()
    return lines if len(lines) == 10 and len(set(lines)) == 10 else [str(n) for n in range(10)]


def _existing(path: str, kind: str) -> Path:
    if not Path(path).is_file():
        raise ValueError(f"no file {path}; {kind}: takes the path of an existing file")
    return Path(path)
