"""Data that a Python program holds, arrays or torch Datasets, under a name of their content.

    source = hold((x, y))  # or (x, y, x_test, y_test), a Dataset, or (train, test) of them
    task = make_task(source.name, resolution=28)

The name, `arrays:` and twelve digits of a hash of all that they hold, stands for them in a run's
record, and finds them while the source is alive, also in worker processes after `share_held`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .arrays import Source
from .decode import as_rgb
from .labelled import Given, labelled_source
from .unpacking import npz_arrays, npz_names

KIND = "arrays"

_EXPECTED = (
    "data= takes a name as --data does, (x, y), (x, y, x_test, y_test), a torch Dataset of "
    "(image, label), or two of them (train, test)"
)

# Where worker processes find what their parents hold.
_FOLDER = "NASTK_HELD_DATA"

# Datasets may hold more than fits in memory; this share of it they may take.
_SHARE = 0.5

# So many items are read twice, to find transforms that draw random numbers.
_TWICE = 3

_HELD: weakref.WeakValueDictionary[str, Source] = weakref.WeakValueDictionary()


def hold(data: object) -> Source:
    """Return what a program holds as a source, which `make_task` finds by its name.

    Images and labels are as in `labelled_source`: [N, H, W], [N, 3, H, W] or the like, in bytes or
    floats from 0 to 1, numpy arrays, tensors or sequences of them or of PIL images, all of one
    size. The last fifth is the test part where there is none. Items of a Dataset are (image,
    label): a PIL image, a tensor [C, H, W] or an array; its `classes` name the labels. They are
    read once, and are in memory then, in bytes.

    The name is known while the source is alive: who starts a run keeps it as long as the run.

    Raises:
        ValueError: if it is anything else, or a Dataset gives an item differently each time.
    """
    if isinstance(data, Source):
        _HELD[data.name] = data
        return data
    train, test, classes = _parts(data)
    return _named(labelled_source("data", train, test, classes=classes))


def find_held(name: str) -> None:
    """Refuse a name of which nothing is held.

    Raises:
        ValueError: then.
    """
    if name not in _HELD and not _shared_file(name).is_file():
        raise ValueError(
            f"{name} was given in Python and is not held by this process; give the same data "
            "again as data="
        )


def held(name: str) -> Source:
    """Return what is held under a name.

    Raises:
        ValueError: if nothing is.
    """
    find_held(name)
    return _HELD[name] if name in _HELD else _read(_shared_file(name), name)


def share_held() -> None:
    """Let worker processes that are started from now on find what this process holds."""
    for name, source in list(_HELD.items()):
        if _shared_file(name).is_file():
            continue
        file = _folder() / _shared_file(name).name
        (x, y), (x_test, y_test) = source.train(0), source.test(0)
        arrays: dict[str, Any] = {"x": x, "y": y, "x_test": x_test, "y_test": y_test}
        if source.classes is not None:
            arrays["classes"] = np.array(source.classes)
        temporary = file.with_suffix(".tmp.npz")
        np.savez(temporary, **arrays)
        os.replace(temporary, file)
        weakref.finalize(source, file.unlink, missing_ok=True)


@cache
def _folder() -> Path:
    """Return the folder of this process and its workers; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="nastk-held-", ignore_cleanup_errors=True)
    weakref.finalize(_HELD, folder.cleanup)
    os.environ[_FOLDER] = folder.name
    return Path(folder.name)


def _shared_file(name: str) -> Path:
    """Return where data of a name are shared; no file is below the null device."""
    return Path(os.environ.get(_FOLDER, os.devnull)) / f"{name.removeprefix(KIND + ':')}.npz"


@cache
def _read(file: Path, name: str) -> Source:
    x, y, x_test, y_test = npz_arrays(file, ("x", "y", "x_test", "y_test"))
    names = npz_arrays(file, ["classes"])[0].tolist() if "classes" in npz_names(file) else None
    return _named(labelled_source(name, (x, y), (x_test, y_test), classes=names))


def _named(made: Source) -> Source:
    """Return a source under a name that follows from its content, and hold it."""
    digest = hashlib.sha256(repr((made.num_classes, made.classes)).encode("utf-8", "replace"))
    for array in (*made.train(0), *made.test(0)):
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).data)
    name = f"{KIND}:{digest.hexdigest()[:12]}"
    source = dataclasses.replace(made, name=name, origin="arrays given in Python")
    return _HELD.setdefault(name, source)


def _parts(data: object) -> tuple[Given, Given | None, Sequence[str] | None]:
    """Return images and labels for training and, if there are any, for the test, and names."""
    if _is_dataset(data):
        images, labels = _items_of(data, "dataset")
        return (images, labels), None, _classes_of(data)
    if isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_dataset, data)):
        train, test = (
            _items_of(part, f"{name} dataset")
            for part, name in zip(data, ("training", "test"), strict=True)
        )
        names, others = map(_classes_of, data)
        if names and others and list(names) != list(others):
            raise ValueError(
                f"the training dataset has the classes {list(names)[:8]}, that for the test "
                f"{list(others)[:8]}; give both the same"
            )
        return train, test, names or others
    if isinstance(data, tuple | list) and len(data) in (2, 4):
        arrays = [_array(part) for part in data]
        held_out = (arrays[2], arrays[3]) if len(arrays) == 4 else None
        return (arrays[0], arrays[1]), held_out, None
    loader = " (of a DataLoader give loader.dataset)" if hasattr(data, "dataset") else ""
    raise ValueError(f"{_EXPECTED}; got {type(data).__name__}{loader}")


def _is_dataset(data: object) -> bool:
    """Whether something gives items by their number, and is no array or plain sequence."""
    is_plain = isinstance(data, np.ndarray | torch.Tensor | Sequence) or hasattr(data, "keys")
    return not is_plain and hasattr(data, "__getitem__") and hasattr(data, "__len__")


def _classes_of(dataset: Any) -> Sequence[str] | None:
    """Return the names that a Dataset, or the one of which it is a part, has for its labels."""
    while dataset is not None:
        names = getattr(dataset, "classes", None)
        if isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names):
            return names
        dataset = getattr(dataset, "dataset", None)
    return None


def _items_of(dataset: Any, name: str) -> Given:
    """Return all images and labels of a Dataset."""
    count = len(dataset)
    if count == 0:
        raise ValueError(f"the {name} is empty")
    images: list[NDArray[Any]] = []
    labels = []
    for i in range(count):
        image, label = _item(dataset, i, name)
        if i == 0:
            _check_memory(count * image.nbytes, name)
        if i < _TWICE and not np.array_equal(image, _item(dataset, i, name)[0], equal_nan=True):
            raise ValueError(
                f"the {name} gives item {i} differently each time; leave random transforms out, "
                "nastk augments by itself"
            )
        if images and image.shape != images[0].shape:
            raise ValueError(
                f"the {name} has images of shape {images[0].shape} and, as item {i}, of "
                f"{image.shape}; add a Resize to its transform, or give files as imagefolder:PATH"
            )
        images.append(image)
        labels.append(label)
    return np.stack(images), _array(labels)


def _item(dataset: Any, i: int, name: str) -> tuple[NDArray[Any], Any]:
    item = dataset[i]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise ValueError(
            f"item {i} of the {name} is {_what(item)}; expected (image, label), an image being a "
            "PIL image, a tensor [C, H, W] or an array"
        )
    image, label = item
    return _array(image), _array(label) if isinstance(label, torch.Tensor) else label


def _what(item: object) -> str:
    size = f" of {len(item)}" if isinstance(item, tuple | list) else ""
    return f"{type(item).__name__}{size}"


def _check_memory(num_bytes: int, name: str) -> None:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > _SHARE * memory:
        raise ValueError(
            f"the {name} takes {num_bytes / 1e9:.1f} GB once it is read, and this machine has "
            f"{memory / 1e9:.1f}; make its images smaller, or give files as imagefolder:PATH"
        )


def _array(data: Any) -> NDArray[Any]:
    """Return an array of its own of what may be a tensor, a PIL image, or a sequence of these."""
    if isinstance(data, Image.Image):
        return np.asarray(as_rgb(data))
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        return np.array((data.float() if data.dtype == torch.bfloat16 else data).numpy())
    if isinstance(data, Sequence) and not isinstance(data, str) and len(data):
        if isinstance(data[0], Image.Image | torch.Tensor | np.ndarray):
            data = [_array(part) for part in data]
        elif all(isinstance(part, str) for part in data):
            return np.array(data, dtype=np.str_)
    try:
        array = np.array(data)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{_EXPECTED}; got a sequence that is no array ({error})") from None
    if array.dtype == object and all(isinstance(part, str) for part in array.ravel()):
        return array.astype(np.str_)
    return array
