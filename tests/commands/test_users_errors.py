"""Mistakes in a user's own space are one line that says where."""

import subprocess
import sys

import asking
import pytest
from nastk.commands.errors import code_of

SPACE = """
import sys
from dataclasses import dataclass
import nastk
from nastk.ops import conv2d, linear
from torch import nn

class Head(nn.Module):
    def __init__(self, trained):
        super().__init__()
        self.linear, self.trained = nn.Linear(8, 10), trained
    def forward(self, x):
        if self.trained and not x.is_meta and not hasattr(x, "_is_fake"):
            return self.linear(x.flatten(1))["oops"]
        return self.linear(x.flatten(1))

@dataclass(frozen=True, kw_only=True)
class Mine(nastk.Space):
    resolution: int = 16
    num_classes: int = 10
    mistake: str = ""
    def network(self, choose):
        kernel = choose("kernel", (3, 5))
        if self.mistake == "network":
            return nn.Sequentiall(kernel)
        if self.mistake == "nothing":
            return None
        if self.mistake == "exit":
            sys.exit(3)
        if self.mistake == "pieces":
            return nn.Sequential(conv2d(3, 4, kernel), nn.Flatten(), nn.Linear(7, 10))
        width = 9 if self.mistake == "shape" else 8
        head = Head(self.mistake == "training")
        return nn.Sequential(conv2d(3, width, kernel, stride=4), nn.AdaptiveAvgPool2d(1), head)
"""


def line_of(text):
    return 1 + SPACE[: SPACE.index(text)].count("\n")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("network", "mine.py, line {}, in network: AttributeError: module 'torch.nn' has no"),
        ("nothing", "mine.py, line {}, in network) returns NoneType"),
        ("shape", "mine.py, line {}, in forward: RuntimeError: "),
        ("pieces", "mine.py, line {}, in network) cannot compute an input [1, 3, 16, 16]: Linear("),
        ("exit", "mine.py, line {}, in network: SystemExit: 3"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(mistake, words, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(SPACE)
    options = {"space_options": {"mistake": mistake}, "strategy": "random"}
    with pytest.raises((Exception, SystemExit)) as raised:
        asking.search(f"{tmp_path}/mine.py:Mine", "100%", **options, out=tmp_path / "run")
    assert code_of(raised.value) == 2
    said = capsys.readouterr().err
    places = {"network": "nn.Sequentiall", "exit": "sys.exit", "shape": "x.flatten(1))\n"}
    number = line_of(places.get(mistake, "def network"))
    assert words.format(number) in said and said.count("\n") == 1
    assert code_of(raised.value, shows_traceback=True) == 2
    assert "Traceback" in (shown := capsys.readouterr().err) and "nastk --traceback" not in shown
    assert str(tmp_path / "run") not in said and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("@dataclass(frozen=True, kw_only=True)\nclass Mine", "class Mine"),
        ("resolution: int = 16", "resolution = 16"),
    ],
)
def test_a_size_that_would_be_ignored_is_refused(before, after, tmp_path):
    (tmp_path / "mine.py").write_text(SPACE.replace(before, after))
    with pytest.raises(ValueError, match="says resolution = 16, which makes no option of it"):
        asking.search(f"{tmp_path}/mine.py:Mine", "100%", out=tmp_path / "run")


@pytest.mark.slow
def test_a_mistake_in_a_training_in_another_process_is_one_line_too(tmp_path):
    (tmp_path / "mine.py").write_text(SPACE)
    command = [
        sys.executable,
        "-m",
        "nastk",
        "search",
        "--space",
        "mine.py:Mine",
        "--flops",
        "100%",
    ]
    command += [
        "--flops",
        "100%",
        "--strategy",
        "evolution",
        "--evaluations",
        "2",
        "--steps",
        "1",
        "--out",
        "run",
    ]
    command += ["--space-set", "mistake=training", "--processes", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    place = f"{tmp_path}/mine.py, line {line_of('return self.linear(x.flatten(1))[')}, in forward: "
    assert place in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
