"""Tables of trained archs as users write them: csv with one column a choice, or JSON."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.choice import Choice, Value
from ..core.files import file_sha256, parse_json, write_atomically
from .table_text import cell_number, csv_rows, finite, read_text

FORMAT = (
    "a table is .csv, with one column a choice and columns accuracy... or loss..., or .json, a "
    'list of {"choices": {...}, "accuracies": [...]} (or "losses"); either may be .gz'
)
_KINDS = {"accuracies": "accuracy", "losses": "loss"}  # keys of JSON, and how columns begin
_MOST_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One arch of a file.

    Attributes:
        where: line or entry of the file, for messages.
        indices: candidate index of every choice, in the order of the space.
        figures: accuracies or losses, one a training.
    """

    where: str
    indices: tuple[int, ...]
    figures: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TableFile:
    """What a file holds.

    Attributes:
        path: of the file.
        kind: what its figures are, `accuracies` or `losses`.
        entries: in the order of the file.
        left_out: columns or keys that mean nothing here.
        sha256: of the bytes of the file.
    """

    path: Path
    kind: str
    entries: list[Entry]
    left_out: tuple[str, ...]
    sha256: str


def is_listed(path: Path) -> bool:
    """Whether a file is of the format that `read_table_file` reads, as far as one sees at once."""
    kind = _suffix(path)
    return kind == ".csv" or (kind == ".json" and read_text(path, "").lstrip()[:1] == "[")


def read_table_file(path: Path, choices: Mapping[str, Choice]) -> TableFile:
    """Read a table of archs of these choices.

    Args:
        path: `.csv`, `.csv.gz`, `.json` or `.json.gz`.
        choices: of the space, by name.

    Raises:
        ValueError: if there is no such file, or a line or entry of it is wrong.
    """
    readers = {".csv": _read_csv, ".json": _read_json}
    if (suffix := _suffix(path)) not in readers:
        raise ValueError(f"{path} is of no format that is read here: {FORMAT}")
    text = read_text(path, FORMAT)
    kind, entries, left_out = readers[suffix](text, path, choices)
    if not entries:
        raise ValueError(f"{path} holds no archs; {FORMAT}")
    sha256 = file_sha256(path)
    return TableFile(path=path, kind=kind, entries=entries, left_out=left_out, sha256=sha256)


def write_table_file(
    path: Path, archs: Iterable[tuple[Mapping[str, Value], Sequence[float]]]
) -> None:
    """Write archs and their accuracies as `read_table_file` reads them.

    Args:
        path: `.csv`, `.csv.gz`, `.json` or `.json.gz`.
        archs: choices and accuracies of each, in csv equally many of both.

    Raises:
        ValueError: if the name has another ending.
    """
    archs = list(archs)
    if (suffix := _suffix(path)) == ".json":
        listed = [{"choices": dict(choices), "accuracies": list(a)} for choices, a in archs]
        text = "[\n" + ",\n".join(map(json.dumps, listed)) + "\n]\n"
    elif suffix == ".csv":
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        names, count = list(archs[0][0]), len(archs[0][1])
        writer.writerow([*names, *(f"accuracy_{number + 1}" for number in range(count))])
        writer.writerows([*(choices[name] for name in names), *a] for choices, a in archs)
        text = file.getvalue()
    else:
        raise ValueError(f"{path} has no ending of a table; {FORMAT}")
    content = text.encode()
    write_atomically(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _read_csv(
    text: str, path: Path, choices: Mapping[str, Choice]
) -> tuple[str, list[Entry], tuple[str, ...]]:
    rows = csv_rows(text, path)
    texts = {name: _texts(choice) for name, choice in choices.items()}
    entries: list[Entry] = []
    figures: list[str] = []
    kind, left_out = "", tuple[str, ...]()
    for where, cells in rows:
        if not figures:
            kind, figures = _columns(list(cells), path, choices)
            left_out = tuple(n for n in cells if n not in choices and n not in figures)
        indices = tuple(_from_text(choices[n], texts[n], cells[n], where) for n in choices)
        given = [name for name in figures if cells[name]]
        if not given:
            raise ValueError(f"{where}: no figure of any training; give one, or leave the line out")
        values = tuple(cell_number(cells[name], where, f"column {name!r}") for name in given)
        entries.append(Entry(where=where, indices=indices, figures=values))
    return kind, entries, left_out


def _columns(names: list[str], path: Path, choices: Mapping[str, Choice]) -> tuple[str, list[str]]:
    """Return what the figures of a csv are, and their columns."""
    has = f"it has {_some(names)}"
    if lacking := [name for name in choices if name not in names]:
        raise ValueError(
            f"{path} has no column of choice {lacking[0]!r} ({len(lacking)} of {len(choices)} "
            f"choices have none); {has}"
        )
    found = {
        kind: [n for n in names if n not in choices and n.lower().startswith(start)]
        for kind, start in _KINDS.items()
    }
    kinds = [kind for kind, columns in found.items() if columns]
    if not kinds:
        raise ValueError(f"{path} has no column that begins with accuracy or loss; {has}")
    if len(kinds) > 1:
        raise ValueError(
            f"{path} has both accuracies ({_some(found['accuracies'])}) and losses "
            f"({_some(found['losses'])}): keep the columns of one kind"
        )
    return kinds[0], found[kinds[0]]


def _texts(choice: Choice) -> dict[str, int]:
    """Return how candidates look in a csv.

    Raises:
        ValueError: if two look alike.
    """
    found: dict[str, int] = {}
    for index, candidate in enumerate(choice.candidates):
        forms = {str(candidate).strip()}
        if not isinstance(candidate, str):
            forms.add(json.dumps(candidate))
        for text in forms:
            if found.setdefault(text, index) != index:
                raise ValueError(
                    f"two candidates of choice {choice.name!r} read {text!r} in a csv: give the "
                    "table as JSON, which tells text from numbers"
                )
    return found


def _from_text(choice: Choice, texts: dict[str, int], text: str, where: str) -> int:
    """Return the index of a candidate as a csv has it; numbers may be written in any way."""
    if text not in texts:
        try:
            texts[text] = choice.position(float(text))
        except ValueError:
            raise ValueError(f"{where}: {_unknown(choice, text)}") from None
    return texts[text]


def _read_json(
    text: str, path: Path, choices: Mapping[str, Choice]
) -> tuple[str, list[Entry], tuple[str, ...]]:
    try:
        content = parse_json(text)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON that can be read: {error}") from None
    if isinstance(content, dict) and "schema" in content:
        raise ValueError(
            f"{path} was written by `nastk bench table` and knows its space: "
            "leave out --space and --flops"
        )
    if not isinstance(content, list):
        raise ValueError(f"{path} holds no list; {FORMAT}")
    entries: list[Entry] = []
    kinds: set[str] = set()
    left_out: dict[str, None] = {}
    for number, record in enumerate(content, 1):
        where = f"entry {number} of {path}"
        if not isinstance(record, dict) or not isinstance(record.get("choices"), dict):
            raise ValueError(f'{where} is no object with "choices"; {FORMAT}')
        kinds |= (own := {kind for kind in _KINDS if kind in record})
        if not own:
            raise ValueError(f"{where} has neither accuracies nor losses; it has {_some(record)}")
        if len(kinds) > 1:
            raise ValueError(
                f"{where} brings {_some(sorted(own))} into a table with {_some(sorted(kinds))}: "
                "give one kind for all archs"
            )
        left_out |= dict.fromkeys(name for name in record if name not in {"choices", *own})
        entries.append(_json_entry(record["choices"], record[next(iter(own))], where, choices))
    return next(iter(kinds), ""), entries, tuple(left_out)


def _json_entry(
    given: Mapping[str, Any], figures: Any, where: str, choices: Mapping[str, Choice]
) -> Entry:
    if odd := [name for name in (*choices, *given) if (name in choices) != (name in given)]:
        what = "lacks the" if odd[0] in choices else "has an unknown"
        raise ValueError(f"{where} {what} choice {odd[0]!r}; the space has {_some(choices)}")
    indices = []
    for name, choice in choices.items():
        try:
            indices.append(choice.position(given[name]))
        except ValueError:
            raise ValueError(f"{where}: {_unknown(choice, given[name])}") from None
    if not isinstance(figures, list) or not figures:
        raise ValueError(
            f"{where}: expected a list of numbers, one a training; got {figures!r:.60}"
        )
    values = tuple(finite(value, where, f"figure {i}") for i, value in enumerate(figures, 1))
    return Entry(where=where, indices=tuple(indices), figures=values)


def _unknown(choice: Choice, value: Any) -> str:
    known = _some(map(repr, choice.candidates))
    return f"choice {choice.name!r} has no candidate {value!r:.60}; known: {known}"


def _some(names: Iterable[Any]) -> str:
    names = list(map(str, names))
    more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
