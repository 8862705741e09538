"""Public tables of trained archs, read from files that the user has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from ..core.files import parse_json
from ..search_spaces.nasbench201 import OPERATIONS
from .table_text import cell_number, csv_rows, finite, read_text

COLUMNS = tuple(
    f"{data}-{split}" for data in ("cifar10", "cifar100", "imagenet") for split in ("test", "val")
)
"""Of the csv of NAS-Bench-201: accuracies in percent, `imagenet` being ImageNet16-120."""

_KEY = re.compile("[012]{8}")
_OPERATION = f"(?:{'|'.join(OPERATIONS)})"
_CELL = re.compile(
    r"\+".join(r"\|" + "".join(rf"{_OPERATION}~{i}\|" for i in range(n)) for n in (1, 2, 3))
)
_MACRO = "expected nas-bench-macro_cifar10.json, maybe .gz, of NAS-Bench-Macro"
_MINI = "expected a csv, maybe .gz, with the columns cellstr and some of " + ", ".join(COLUMNS)


class MacroFigures(NamedTuple):
    """What is known of one arch of NAS-Bench-Macro.

    Attributes:
        test_top1_percent: on the test images of CIFAR-10, one a training of 50 epochs.
        params: trainable scalars.
        flops: multiply-adds of one image.
    """

    test_top1_percent: tuple[float, ...]
    params: int
    flops: int


def read_nasbench_macro(path: Path | str) -> dict[str, MacroFigures]:
    """Read the table of NAS-Bench-Macro (arXiv:2103.11922).

    Returns:
        Figures by key: eight digits, one a layer, which `NasBenchMacro.parse` reads.

    Raises:
        ValueError: if there is no such file, it is damaged, or an entry of it is wrong.
    """
    path = Path(path).expanduser()
    text = read_text(path, _MACRO)
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON that can be read: {error}; {_MACRO}") from None
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} holds no archs by key; {_MACRO}")
    return {key: _macro_figures(record, key, path) for key, record in content.items()}


def read_nasbench201_csv(path: Path | str) -> dict[str, dict[str, float]]:
    """Read accuracies of the archs of NAS-Bench-201 from a csv, which holds no costs.

    Returns:
        By the string of the arch, which `NasBench201.parse` reads: percent by name of `COLUMNS`,
        those that the file has.

    Raises:
        ValueError: if there is no such file, it is damaged, or a line of it is wrong.
    """
    path = Path(path).expanduser()
    found: dict[str, dict[str, float]] = {}
    for where, cells in csv_rows(read_text(path, _MINI), path):
        columns = [name for name in COLUMNS if name in cells]
        if "cellstr" not in cells or not columns:
            raise ValueError(f"{path} is another csv; {_MINI}")
        if not _CELL.fullmatch(cell := cells["cellstr"]):
            raise ValueError(f"{where}: {cell!r:.120} is no arch of NAS-Bench-201")
        if cell in found:
            raise ValueError(f"{where}: arch {cell} occurs a second time")
        found[cell] = {
            name: _percent(cell_number(cells[name], where, name), where) for name in columns
        }
    if not found:
        raise ValueError(f"{path} holds no archs; {_MINI}")
    return found


def _macro_figures(record: Any, key: str, path: Path) -> MacroFigures:
    where = f"arch {key!r:.40} of {path}"
    if not _KEY.fullmatch(key) or not isinstance(record, dict):
        raise ValueError(f"{where} is no entry of 8 digits 0, 1 and 2; {_MACRO}")
    accuracies = record.get("test_acc")
    if not isinstance(accuracies, list) or not accuracies:
        raise ValueError(f"{where}: test_acc is no list of accuracies; {_MACRO}")
    params, flops = record.get("params"), record.get("flops")
    if not isinstance(params, int) or not isinstance(flops, int):
        raise ValueError(f"{where}: params and flops are no counts; {_MACRO}")
    percents = tuple(_percent(finite(a, where, "test_acc"), where) for a in accuracies)
    return MacroFigures(percents, params, flops)


def _percent(accuracy: float, where: str) -> float:
    if not 0 <= accuracy <= 100:
        raise ValueError(f"{where}: accuracy {accuracy:g}, expected 0 to 100 percent")
    return accuracy
