"""What is printed: nothing is cut, neither in a terminal of 80 columns nor in a pipe."""

import os
import pty
import subprocess
import sys

import pytest
from nastk import progress, screen
from nastk.nasbench.references import list_references
from rich.console import Console

NASTK = [sys.executable, "-m", "nastk"]


@pytest.fixture
def narrow(monkeypatch):
    """Let this process print into 80 columns."""
    monkeypatch.setattr(screen, "_console", Console(width=80))


def in_terminal(*arguments, columns=80):
    """What a command prints into a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "LINES": "24", "TERM": "dumb"}
    process = subprocess.Popen([*NASTK, *arguments], stdout=theirs, env=environment)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so, instead of returning nothing, when the other end closes
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait() == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


def words_of(row):
    """What the line of a reference has to show."""
    mark = "" if row["verified"] else "?"
    keys = ("params_millions", "flops_millions", "top1_percent")
    printed = [f"{row['published'][key]:g}" if key in row["published"] else "-" for key in keys]
    words = [row["name"], row["kind"][0], row["paper"].removeprefix("arXiv:"), *printed]
    words[-1] += mark
    if not row["builds"]:
        return [*words, "not", "built"]
    flops = row["flops"] / 1e6
    words += [f"{row['params'] / 1e6:.2f}", f"{flops:.1f}" if flops < 1000 else f"{flops:.0f}"]
    difference = row["difference_percent"]
    return words + ([] if difference is None else [f"{difference:+.1f}"])


def check_references(text, rows):
    """Every row is there whole, and so is every note; return the number of notes."""
    assert "…" not in text
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
    numbers = 0
    for row in rows:
        words = words_of(row) + ["*"] * bool(row["inside_budget"])
        if row["note"]:
            numbers += 1
            words.append(str(numbers))
            assert f"[{numbers}] {row['name']}: {row['note']}" in " ".join(text.split())
        assert lines[row["name"]] == words
    return numbers


@pytest.fixture(scope="module")
def rows():
    return list_references("300M:400M")


@pytest.mark.slow
def test_piped_references_show_every_name_and_figure_uncut(rows):
    environment = os.environ | {"COLUMNS": "80"}
    command = [*NASTK, "references", "--flops", "300M:400M"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    notes = check_references(done.stdout, rows)
    assert sum(line.startswith("[") for line in done.stdout.splitlines()) == notes  # not wrapped


def test_references_fit_into_80_columns(rows, narrow, capsys):
    screen.print_references(rows)
    text = capsys.readouterr().out
    check_references(text, rows)
    assert max(map(len, text.splitlines())) <= 80


def test_a_terminal_of_80_columns_is_not_taken_for_a_pipe():
    text = in_terminal("count", "mobilenetv3-large-0.75", "--per-layer")
    assert "…" not in text and "154,560,624" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_list_of_spaces_fits_into_80_columns(narrow, capsys):
    row = {
        "name": "sandglass-micro",
        "num_choices": 1126,
        "log10_size": 173.25,
        "flops_min": 185_218_944,
        "flops_max": 5_510_290_432,
        "tasks": ["classification", "segmentation", "language-modelling"],
    }
    screen.print_spaces([row])
    text = capsys.readouterr().out
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    words = {"sandglass-micro", "1126", "10^173.2", "185.2M", "5510.3M", *row["tasks"]}
    assert words <= set(text.split())


def test_a_comparison_with_spreads_fits_into_80_columns(narrow, capsys):
    row = {
        "name": "mobilenetv3-large-0.75",
        "kind": "reference",
        "flops": 1_356_123_456,
        "params": 13_535_416,
        "inside_budget": False,
        "loss_nats": 11.1,
        "loss_spread_nats": 12.5,
        "top1_percent": 100.0,
        "top1_spread_percent": 10.0,
    }
    costs = {"num_trainings": 3, "cpu_seconds": 3.0, "seconds": 2.0, "file": "runs/x.json"}
    screen.print_comparison({"rows": [row], "data": "digits", "recipe": "small", **costs})
    line = next(line for line in capsys.readouterr().out.splitlines() if "mobilenet" in line)
    words = "mobilenetv3-large-0.75 ^ 1,356,123,456 13,535,416 11.100 ± 12.500 100.0 ± 10.0"
    assert line.split() == words.split()


@pytest.mark.parametrize("seconds, lines", [(0, 4), (60, 1)])
def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(seconds, lines, monkeypatch, capsys):
    monkeypatch.setattr(progress, "_SECONDS_A_LINE", seconds)
    with progress.progress(enabled=True) as report:
        for step in range(1, 5):
            report({"phase": "search", "step": step, "total": 4, "loss": 2.0})
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == lines
    assert said.err.splitlines()[-1] == "search 4/4 loss 2.000"
