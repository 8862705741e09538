"""`nastk spaces SPACE`: what is wrong with a space stands in one line each."""

import json
from dataclasses import dataclass

import nastk
import pytest
import torch
from nastk.commands.app import app
from nastk.ops import conv2d, linear
from torch import nn
from typer.testing import CliRunner

FILE = """
from dataclasses import dataclass
import nastk
from nastk.ops import conv2d, linear
from torch import nn

@dataclass(frozen=True, kw_only=True)
class Mine(nastk.Space):
    resolution: int = 16
    num_classes: int = 10
    width: int = 8
    is_odd: bool = False

    def network(self, choose):
        layers = [conv2d(3, self.width, choose("kernel", (3, 5)), stride=4)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(self.width, self.num_classes)]
        return nn.Sequential(*layers, *([nn.Unflatten(1, (1, 10))] if self.is_odd else []))
"""


@dataclass(frozen=True, kw_only=True)
class Tail(nastk.Space):
    """A space whose networks end in a module of choice."""

    resolution: int = 16
    num_classes: int = 10

    def network(self, choose):
        first = conv2d(3, 8, choose("kernel", (3, 5)), stride=4)
        return nn.Sequential(
            first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear(8, 10), nn.Identity()
        )


class NotFinite(nn.Module):
    def forward(self, x):
        return (x - 1e3).log()


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x


class Steep(nn.Module):
    def forward(self, x):
        return (x * 0).abs().sqrt() + x


class NoFile(nn.Module):
    def forward(self, x):
        return torch.tensor(x.tolist()) + x if not x.is_meta else x


def checked(tail):
    class Case(Tail):
        def network(self, choose):
            network = super().network(choose)
            network[-1] = tail()
            return network

    return nastk.check_space(Case)


def test_a_space_that_works_is_described(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    words = ["spaces", f"{tmp_path / 'mine.py'}:Mine", "--space-set", "width=12"]
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found["choices"] == {"kernel": [3, 5]} and found["options"]["width"] == 12
    assert found["flops_min"] < found["flops_max"] and not any(found["checks"].values())
    assert list(found["checks"]) == [
        "choices",
        "counts",
        "smallest network",
        "largest network",
        "supernet",
        "export",
    ]
    done = CliRunner().invoke(app, words)
    assert "1 choice, 2 archs of" in done.output and "export: fine" in done.output


def test_a_failed_check_is_one_line_and_exit_code_1(tmp_path):
    (tmp_path / "mine.py").write_text(FILE)
    words = ["spaces", f"{tmp_path / 'mine.py'}:Mine", "--space-set", "is_odd=true"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    (line,) = [line for line in done.output.splitlines() if line.startswith("largest network")]
    assert line.endswith("has to return logits [2, 10]; it returned [2, 1, 10]")


@pytest.mark.parametrize(
    ("tail", "check", "message"),
    [
        (NotFinite, "largest network", "not finite on images of noise"),
        (Steep, "largest network", "gradient of 0.weight is not finite"),
        (NoFile, "export", ""),
    ],
)
def test_what_is_wrong_is_named(tail, check, message):
    found = checked(tail)
    assert found["checks"]["counts"] is None
    assert message in found["checks"][check] and "\n" not in found["checks"][check]


def test_weights_that_nothing_uses_are_noted():
    found = checked(Idle)
    assert found["notes"] == ["no gradient reaches 4.spare"]
    assert not any(found["checks"].values())


def test_a_space_without_a_choice_has_nothing_to_search():
    class Single(Tail):
        def network(self, choose):
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))

    found = nastk.check_space(Single)
    assert "asks for no choice" in found["checks"]["choices"] and found["flops_max"] is None


def test_an_error_of_the_space_is_the_answer(tmp_path):
    (tmp_path / "mine.py").write_text(FILE.replace("layers = [", "layers = [][0] + ["))
    checks = nastk.check_space(f"{tmp_path / 'mine.py'}:Mine")["checks"]
    assert list(checks) == ["choices"]
    assert "IndexError" in checks["choices"] and "mine.py, line 15" in checks["choices"]
