"""What is printed: nothing is cut, neither in a terminal of 80 columns nor in a pipe."""

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys

import asking
import nastk
import pytest
from nastk.commands import console, listings, screen
from nastk.core.budget import flops_range
from nastk.core.run import Run
from nastk.nasbench.references import list_references
from nastk.search_spaces import Toy
from nastk.workflows import progress
from rich.console import Console

NASTK = [sys.executable, "-m", "nastk"]


@pytest.fixture
def narrow(monkeypatch):
    """Let this process print into 80 columns."""
    monkeypatch.setattr(console, "_console", Console(width=80, **console.PLAIN))


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
    listings.print_references(rows)
    text = capsys.readouterr().out
    check_references(text, rows)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
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
    listings.print_spaces([row])
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


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The result of a short search by meta kernels, and what it reported."""
    events = []
    folder = tmp_path_factory.mktemp("screen") / "run"
    options = {"strategy": "logits", "out": folder, "report": events.append}
    result = asking.search("toy", "55K", steps=4, **options)
    return dict(result), [event for event in events if "say" not in event]


def test_lines_are_said_at_once_and_not_when_silent(capsys):
    event = {"phase": "start", "step": 0, "total": 0, "say": "60,000 images [grey]"}
    for enabled in (True, False):
        with progress.progress(enabled=enabled) as report:
            report(event)
    assert capsys.readouterr().err == "60,000 images [grey]\n"


def cells_of(text):
    """The rows of a printed table: the name and its figures."""
    rows = [line.strip("│").split("│") for line in text.splitlines() if "│" in line]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


def test_a_search_ends_with_what_it_found_what_it_cost_and_where_it_is(searched, capsys):
    result, _ = searched
    result = result | {"seconds": 73.4, "cpu_seconds": 139.2, "peak_memory_bytes": 3 * 2**29}
    screen.print_search(result)
    text = capsys.readouterr().out
    assert f"arch {result['arch_id']}" in text
    assert cells_of(text) == {
        "budget": ["55,000", ""],
        "found": [f"{result['flops']:,}", f"{result['params']:,}"],
    }
    cost = "4 updates, 73 s wall, 139 CPU s, peak 1.50 GiB"
    assert f"{cost}; results in {result['run']}" in text.splitlines()
    assert "digits-photo is embedded demonstration data; --data imagefolder:PATH is" in text


def test_names_are_printed_as_they_are(searched, tmp_path, capsys):
    run = tmp_path / "of [bold] a :cat:"
    shutil.copytree(searched[0]["run"], run)
    screen.print_search(searched[0] | {"run": str(run)})
    text = capsys.readouterr().out
    assert f"results in {run}\n" in text
    assert shlex.split(text.rpartition("next: ")[2].partition(" (")[0]) == [
        *("nastk", "retrain"),
        str(run),
    ]


def test_a_search_of_the_sandglass_space_stands_beside_mobilenext(searched, tmp_path, capsys):
    """Counted as the target is, and with the choices named that its proxy was blind to."""
    manifest = {
        "space": "sandglass",
        "target": {"resolution": 64, "num_classes": 10},
        "proxy": {"resolution": 32, "num_classes": 10},
        "data": "imagefolder:/somewhere",
        **{"seed": 0, "device": "cpu", "workers": 0, "strict": False, "threads": 1},
    }
    run = Run.create(tmp_path / "run", manifest)
    run.log(trial=0, share=0.25)
    run.log(trial=1, share=1.0)
    run.release()
    screen.print_search(searched[0] | {"run": str(run.path), "num_skipped": 2})
    text = capsys.readouterr().out
    counted = nastk.count("mobilenext-1.0", resolution=64, classes=10)
    row = [f"{counted[name]:,}" for name in ("flops", "params")]
    assert cells_of(text)["MobileNeXt-1.0"] == row
    assert "2 evaluations (1 in full), " in text
    assert "2 images could not be read and were left out" in text
    assert "the proxy could not see" in text
    assert "demonstration" not in text


def test_a_search_by_mixtures_says_what_stood_behind_its_updates(searched, tmp_path, capsys):
    folder = shutil.copytree(searched[0]["run"], tmp_path / "run")
    events = [{"step": n, "loss": 2.0, "supernet": n % 2} for n in range(6)]
    events += [{"tested": n % 3, "supernet": n // 3, "inherited_loss": 2.0} for n in range(6)]
    events += [{"untrained": n, "naswot": None} for n in range(4)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    screen.print_search(searched[0] | {"run": str(folder), "entropy": None, "seconds": 73.4})
    said = capsys.readouterr().out
    assert (
        "6 updates of 2 supernets, 3 archs tested with inherited weights and 4 untrained ones "
        "looked at, 73 s wall"
    ) in said
    assert "entropy" not in said


def test_metrics_from_ten_thousand_on_are_printed_whole(capsys):
    metrics = {"test_loss_nats": 0.17504, "weight_bytes": 53800.0, "train_seconds": 174.43}
    screen.print_metrics({"metrics": metrics, "weakest_classes": None, "weights": "w.safetensors"})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    told = [["test_loss_nats", "0.175"], ["weight_bytes", "53,800"], ["train_seconds", "174.4"]]
    assert lines[:3] == told


def test_a_phase_is_shown_by_what_it_does(capsys):
    with progress.progress(enabled=True) as report:
        report({"phase": "inherited", "doing": "testing archs", "step": 4, "total": 4})
    assert capsys.readouterr().err == "testing archs 4/4\n"


def test_progress_of_a_search_says_loss_expected_flops_and_entropy(searched, capsys):
    _, events = searched
    assert [event["step"] for event in events] == [1, 2, 3, 4]
    assert [event["phase"] for event in events] == ["warm-up"] + ["search"] * 3
    smallest, largest = flops_range(Toy())
    for event in events:
        assert 0 < event["loss"] < 10 and 0 < event["entropy"] <= 1
        assert smallest < event["expected_flops"] < largest
    assert events[0]["entropy"] > 0.99  # the logits still rest, and meet the budget
    with progress.progress(enabled=True) as report:
        report(events[-1])
    loss, flops, entropy = (events[-1][name] for name in ("loss", "expected_flops", "entropy"))
    figures = f"loss {loss:.3f}  E[FLOPs] {flops / 1e3:.1f}K  entropy {entropy:.2f}"
    assert capsys.readouterr().err.splitlines() == [f"search 4/4 {figures}"]
