"""The table of NAS-Bench-101, read from the record file that the user has."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import IO, Any, NamedTuple

from .nasbench101 import Cell

EPOCHS = (4, 12, 36, 108)


class Trial(NamedTuple):
    """One training, at its end; accuracies are shares of 1 on 10,000 images each."""

    seconds: float
    train_accuracy: float
    validation_accuracy: float
    test_accuracy: float


@dataclass(frozen=True, kw_only=True)
class NasBench101Table:
    """What trainings of the cells of NAS-Bench-101 on CIFAR-10 came to, means over three each.

    Attributes:
        path: the file.
        epochs: length of the trainings.
        trials: by the hash of the cell.
        num_params: trainable scalars, by the hash of the cell.
    """

    path: Path
    epochs: int
    trials: dict[str, list[Trial]]
    num_params: dict[str, int]

    def __len__(self) -> int:
        return len(self.trials)

    def loss(self, cell: Cell) -> float:
        """Return the validation error as a share of 1: the table has no cross-entropy.

        Raises:
            ValueError: if the table lacks the cell; also in the methods below.
        """
        return 1 - fmean(trial.validation_accuracy for trial in self._trials(cell))

    def top1_percent(self, cell: Cell) -> float:
        """Return the validation accuracy in percent."""
        return 100 * fmean(trial.validation_accuracy for trial in self._trials(cell))

    def test_top1_percent(self, cell: Cell) -> float:
        """Return the test accuracy in percent; never choose by it."""
        return 100 * fmean(trial.test_accuracy for trial in self._trials(cell))

    def seconds(self, cell: Cell) -> float:
        """Return the seconds of one training."""
        return fmean(trial.seconds for trial in self._trials(cell))

    def params(self, cell: Cell) -> int:
        """Return the trainable scalars of the network."""
        self._trials(cell)
        return self.num_params[cell.hash]

    def _trials(self, cell: Cell) -> list[Trial]:
        if cell.hash not in self.trials:
            raise ValueError(
                f"{self.path} has no {self.epochs}-epoch trainings of cell {cell.hash}"
            )
        return self.trials[cell.hash]


def open_nasbench101(path: Path | str, *, epochs: int = 108) -> NasBench101Table:
    """Read the table of NAS-Bench-101 (arXiv:1902.09635).

    TensorFlow is not needed, and nothing in the file is run: its records are JSON that carries
    protocol buffers.

    Args:
        path: `nasbench_only108.tfrecord`, or `nasbench_full.tfrecord` for other lengths.
        epochs: length of the trainings that are kept: 4, 12, 36 or 108.

    Raises:
        ValueError: if there is no such file, it is damaged, or it holds no such trainings.
    """
    path = Path(path).expanduser()
    if epochs not in EPOCHS:
        raise ValueError(f"NAS-Bench-101 trains for 4, 12, 36 or 108 epochs, not for {epochs}")
    if not path.is_file():
        raise ValueError(f"no file {path}; expected nasbench_only108.tfrecord of NAS-Bench-101")
    trials: dict[str, list[Trial]] = {}
    num_params: dict[str, int] = {}
    with path.open("rb") as file:
        for number, record in enumerate(_records(file, path)):
            try:
                name, length, _, _, encoded = json.loads(record)
                if length == epochs:
                    trial, params = _read_metrics(base64.b64decode(encoded, validate=True))
                    trials.setdefault(name, []).append(trial)
                    num_params[name] = params
            except (ValueError, TypeError, KeyError, IndexError, binascii.Error) as error:
                raise ValueError(
                    f"record {number} of {path} is none of NAS-Bench-101: {error}"
                ) from None
    if not trials:
        raise ValueError(
            f"{path} holds no trainings of {epochs} epochs; nasbench_full.tfrecord has all lengths"
        )
    return NasBench101Table(path=path, epochs=epochs, trials=trials, num_params=num_params)


def _records(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file: length, its checksum, data, their checksum."""
    number = 0
    while head := file.read(12):
        if len(head) < 12 or not _agrees(head[:8], head[8:]):
            raise ValueError(f"{path} is no TFRecord file, or its record {number} is damaged")
        (length,) = struct.unpack("<Q", head[:8])
        data = file.read(length + 4)
        if len(data) < length + 4 or not _agrees(data[:-4], data[-4:]):
            raise ValueError(f"record {number} of {path} is damaged; fetch the file again")
        yield data[:-4]
        number += 1


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC = _crc_table()


def _agrees(data: bytes, checksum: bytes) -> bool:
    """Tell whether the CRC-32C of data, rotated and shifted as TFRecord files have it, is this."""
    crc, table = 0xFFFFFFFF, _CRC
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF == int.from_bytes(checksum, "little")


def _read_metrics(message: bytes) -> tuple[Trial, int]:
    """Return the end of a training and the params from a message `ModelMetrics`.

    Evaluations are field 1, params field 2; an evaluation has seconds in field 2, then accuracies
    on training, validation and test images. The last evaluation is the end of the training.
    """
    fields = list(_fields(message))
    evaluations = [value for number, value in fields if number == 1]
    last = dict(_fields(evaluations[-1]))
    return Trial(*(float(last[number]) for number in (2, 3, 4, 5))), int(dict(fields)[2])


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of every field of a protocol-buffer message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == 2:
            size, position = _varint(message, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"field {number} has wire type {kind}")
        raw = message[position : position + size]
        if len(raw) < size:
            raise ValueError("a message is cut off")
        position += size
        yield number, raw if kind == 2 else struct.unpack("<d" if kind == 1 else "<f", raw)[0]


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and the position behind it."""
    value = shift = 0
    while True:
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
