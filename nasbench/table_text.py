"""The text of tables: unpacked, cut into lines and cells, and its numbers checked."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_text(path: Path, expected: str) -> str:
    """Return the text of a file, unpacked where its name ends in `.gz`.

    Args:
        path: of the file.
        expected: what it should be, for the message where there is none.

    Raises:
        ValueError: if there is no such file, or it is damaged or no UTF-8.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}; {expected}")
    content = path.read_bytes()
    try:
        plain = gzip.decompress(content) if path.suffix.lower() == ".gz" else content
        return plain.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}): save it as that") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}); take another copy") from None


def csv_rows(text: str, path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield every line of a csv below its header: where it is, and its cells by column.

    Raises:
        ValueError: naming the line that is no csv, or has another number of cells.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    try:
        for cells in reader:
            where = f"line {reader.line_num} of {path}"
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if names is None:
                names = cells
                if twice := [name for name in names if names.count(name) > 1]:
                    raise ValueError(f"{where}: there are two columns {twice[0]!r}")
            elif len(cells) != len(names):
                raise ValueError(f"{where}: {len(cells)} cells below {len(names)} columns")
            else:
                yield where, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {path}: {error}") from None


def cell_number(text: str, where: str, what: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: if it is none, or not finite.
    """
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{where}: {what} is {text!r:.60}, which is no number") from None
    return finite(number, where, what)


def finite(value: Any, where: str, what: str) -> float:
    """Return a number of JSON.

    Raises:
        ValueError: if it is none, or not finite.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{where}: {what} is {value!r:.60}, which is no number")
    if value is None or not math.isfinite(value):
        raise ValueError(f"{where}: {what} is not finite; leave out what has not been trained")
    return float(value)
