"""Public tables of trained archs as tables of `nastk bench strategies --table FILE --space NAME`.

python -m nastk.benchmarks.convert --macro nas-bench-macro_cifar10.json.gz --out macro.json.gz
python -m nastk.benchmarks.convert --nb201 nb201_mini.csv.gz --out nb201.csv.gz

The first is for --space nasbench-macro, the second for --space nasbench201. The accuracies stay
per cent; costs are not written, as nastk counts the space.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..core.choice import Value
from ..core.lookup import lookup
from ..nasbench.public_tables import COLUMNS, read_nasbench201_csv, read_nasbench_macro
from ..nasbench.table_files import write_table_file
from ..search_spaces import NasBench201, NasBenchMacro

Row = tuple[Mapping[str, Value], Sequence[float]]


def macro_rows(path: Path) -> list[Row]:
    """Return choices and test accuracies, one a training, of the archs of NAS-Bench-Macro.

    Raises:
        ValueError: if the file is not that table.
    """
    space = NasBenchMacro()
    return [
        (space.parse(key).choices, figures.test_top1_percent)
        for key, figures in read_nasbench_macro(path).items()
    ]


def nasbench201_rows(path: Path, column: str) -> list[Row]:
    """Return choices and one accuracy of the archs of NAS-Bench-201.

    Args:
        path: of the csv.
        column: which accuracy, see `COLUMNS`.

    Raises:
        ValueError: if the file is not that table, or has no such column.
    """
    space, rows = NasBench201(), read_nasbench201_csv(path)
    return [
        (space.parse(text).choices, [lookup(f"column of {path}", column, found)])
        for text, found in rows.items()
    ]


def convert(
    out: Path, *, macro: Path | None = None, nb201: Path | None = None, column: str = "cifar10-val"
) -> int:
    """Write a public table as `bench strategies` reads it.

    Args:
        out: file to write, `.csv` or `.json`, maybe `.gz`.
        macro: file of NAS-Bench-Macro.
        nb201: csv of NAS-Bench-201; one of the two.
        column: of NAS-Bench-201.

    Returns:
        The number of archs.

    Raises:
        ValueError: if a file is not that table, or `out` is one of them.
    """
    source = macro or nb201
    if source is None or (macro and nb201):
        raise ValueError("give one of --macro and --nb201")
    if out.resolve() == source.expanduser().resolve():
        raise ValueError(f"{out} is the table itself: write it under another name")
    rows = nasbench201_rows(source, column) if macro is None else macro_rows(source)
    write_table_file(out, rows)
    return len(rows)


def main() -> None:
    """Convert, and say how many archs were written."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--macro", type=Path, help="nas-bench-macro_cifar10.json.gz")
    parser.add_argument("--nb201", type=Path, help="nb201_mini.csv.gz")
    parser.add_argument("--column", default="cifar10-val", help=", ".join(COLUMNS))
    parser.add_argument("--out", type=Path, required=True, help=".csv or .json, maybe .gz")
    given = parser.parse_args()
    try:
        count = convert(given.out, macro=given.macro, nb201=given.nb201, column=given.column)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{given.out}: {count:,} archs")


if __name__ == "__main__":
    main()
