"""A table of a user's for a space of theirs: what is read, what is refused, and by which words."""

import gzip
import itertools
import json
from dataclasses import dataclass

import numpy as np
import pytest
from nastk.core.budget import InfeasibleBudgetError
from nastk.core.choice import Choice
from nastk.core.constraint import Constraint
from nastk.core.space import Space
from nastk.nasbench.own_table import read_own_table
from nastk.nasbench.table_files import write_table_file
from nastk.ops import ConvNormAct, batch_norm, conv2d, depthwise_conv2d, linear, residual
from nastk.search_spaces import SandglassMicro, Toy
from nastk.search_spaces.blocks import Head
from torch import nn

LINES = [
    "kernel,width,accuracy_1,accuracy_2",
    "3,8,71.2,70.8",
    "5,8,72.5,71.9",
    "3,16,73.0,",
    "5.0,1.6e1,74.4,74.2",
]
TOY = [(3, 8), (5, 8), (3, 16), (5, 16)]  # in the order of FLOPs, 49,080 to 58,568


@dataclass(frozen=True, kw_only=True)
class Skips(Space):
    """A kernel that is idle where its block is skipped, and a width that another one bounds."""

    resolution: int = 8
    num_classes: int = 2

    @property
    def constraints(self):
        width, top = Choice("width", (4, 8)), Choice("top", (4, 8))
        return (Constraint(name="tapered", terms=(width, top.map(lambda n: -n)), high=0),)

    def network(self, choose):
        width, top = choose("width", (4, 8)), choose("top", (4, 8))
        mode, kernel = choose("mode", ("run", "skip")), choose("kernel", (3, 5))
        keep = mode.map(lambda m: int(m == "run")) if isinstance(mode, Choice) else mode == "run"

        def branch():
            return ConvNormAct(depthwise_conv2d(width, kernel), batch_norm(width))

        return nn.Sequential(
            ConvNormAct(conv2d(3, width, 1), batch_norm(width)),
            residual(branch, width, keep=keep if isinstance(keep, Choice) else int(keep)),
            ConvNormAct(conv2d(width, top, 1), batch_norm(top)),
            Head(linear(top, self.num_classes)),
        )


SKIPS = [
    {"width": w, "top": t, "mode": m, "kernel": k}
    for w, t, m, k in itertools.product((4, 8), (4, 8), ("run", "skip"), (3, 5))
    if w <= t and (m, k) != ("skip", 5)
]


def write(path, content):
    """Write lines, or a document as JSON, packed where the name says so."""
    text = "\n".join(content) if isinstance(content[0], str) else json.dumps(content)
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def entries(archs=None, key="accuracies", figures=(70.0, 71.0)):
    archs = archs or [{"kernel": k, "width": w} for k, w in TOY]
    return [{"choices": choices, key: list(figures)} for choices in archs]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "T.CSV", "t.json", "t.json.gz"])
def test_every_format_gives_the_same_losses(name, tmp_path):
    content = LINES
    if "json" in name:
        figures = [[71.2, 70.8], [72.5, 71.9], [73.0], [74.4, 74.2]]
        content = entries()
        for entry, values in zip(content, figures, strict=True):
            entry["accuracies"] = values
    table, space = read_own_table(write(tmp_path / name, content), Toy()), Toy()
    rows = [table.position(space.arch({"kernel": k, "width": w})) for k, w in TOY]
    assert rows == [0, 1, 2, 3]
    assert [table.num_trainings(row) for row in rows] == [2, 2, 1, 2]
    assert table.loss(0, 1, 1) == pytest.approx(0.292) and table.num_epochs == 1
    assert table.regret == pytest.approx([0.033, 0.021, 0.013, 0], abs=1e-12)
    said = "\n".join(table.notes)
    assert "4 archs of toy with 49,080 to 58,568 FLOPs, all that there are" in said
    assert "from 70.8 to 74.4 are read as per cent" in said and "1 to 2 trainings" in said


@pytest.mark.parametrize("ending", ["csv", "json", "csv.gz", "json.gz"])
def test_what_is_written_is_read_again(ending, tmp_path):
    file = tmp_path / f"t.{ending}"
    write_table_file(file, [(c, [90 + i / 3, 91.0]) for i, c in enumerate(SKIPS)])
    table, space = read_own_table(file, Skips()), Skips()
    for number, choices in enumerate(SKIPS):
        row = table.position(space.arch(choices))
        assert table.loss(row, 0, 1) == 1 - (90 + number / 3) / 100
    assert len(table.regret) == len(SKIPS) == 9
    with pytest.raises(ValueError, match="no ending of a table"):
        write_table_file(tmp_path / "t.parquet", [(SKIPS[0], [1.0])])
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    "key, figures, losses, words",
    [
        ("accuracies", (0.7, 1.0), (0.3, 0.0), "from 0.7 to 1 are read as shares of 1"),
        ("accuracies", (0.9, 1.1), (0.991, 0.989), "from 0.9 to 1.1 are read as per cent"),
        ("accuracies", (0, 0), (1, 1), "shares of 1"),
        ("losses", (-2.5, 170), (-2.5, 170), "losses are taken as they are"),
    ],
)
def test_accuracies_become_losses_and_it_is_said_how(key, figures, losses, words, tmp_path):
    file = write(tmp_path / "t.json", entries(key=key, figures=figures))
    table = read_own_table(file, Toy())
    assert [table.loss(2, i, 1) for i in range(2)] == pytest.approx(losses)
    assert words in table.notes[1]


def test_one_training_an_arch_is_told_as_what_judges(tmp_path):
    table = read_own_table(write(tmp_path / "t.json", entries(figures=[50])), Toy())
    assert "one training an arch: a search is told the very loss that judges" in table.notes[2]


def test_only_the_band_of_the_budget_is_looked_at(tmp_path):
    lines = [line for line in LINES if not line.startswith("3,8,")]
    lines[0] += ",seconds,note"
    lines[1:] = [f"{line},7,a" for line in lines[1:]]
    file, space = write(tmp_path / "t.csv", lines), Toy()
    with pytest.raises(
        ValueError, match=r"lacks 1 of 4 archs of toy .* among them width=8 kernel=3"
    ):
        read_own_table(file, space)
    table = read_own_table(file, space, "50K:57K")
    smaller = space.arch({"kernel": 5, "width": 8})
    assert table.regret.tolist() == pytest.approx([0.008, 0]) and table.position(smaller) == 0
    assert "; not used, as outside: 1" in table.notes[0]
    assert table.notes[-1] == "not used of the file: seconds, note"
    with pytest.raises(ValueError, match=r"lacks an arch of toy .* width=16 kernel=5"):
        table.position(space.arch({"kernel": 5, "width": 16}))
    other = SandglassMicro()
    with pytest.raises(ValueError, match="lacks an arch of sandglass-micro"):
        table.position(other.arch_at(dict.fromkeys(other.choices(), 0)))
    with pytest.raises(InfeasibleBudgetError, match="reaches from 49,080"):
        read_own_table(file, space, "1K")


def changed(number, line, lines=LINES):
    return [line if i == number else old for i, old in enumerate(lines)]


@pytest.mark.parametrize(
    "lines, words",
    [
        (["kernel,accuracy", "3,70"], r"no column of choice 'width' \(1 of 2 .* kernel, accuracy"),
        (["kernel;width;accuracy", "3;8;70"], "no column of choice 'width' .*kernel;width;acc"),
        (["kernel,width,top1", "3,8,70"], "no column that begins with accuracy or loss; it has"),
        (["kernel,width,loss_a,accuracy", "3,8,1,70"], "both accuracies .accuracy. and losses"),
        (["kernel,width,loss,loss", "3,8,1,2"], "line 1 of .*two columns 'loss'"),
        (["kernel,width,loss"], "holds no archs"),
        ([""], "holds no archs"),
        (changed(3, "4,16,73.0,"), "line 4 of .*'kernel' has no candidate '4'; known: 3, 5"),
        (changed(3, ",16,73.0,"), "line 4 of .*'kernel' has no candidate ''"),
        (changed(3, "nan,16,73.0,"), "line 4 of .*'kernel' has no candidate 'nan'"),
        (changed(3, "3,8,73.0,"), "line 4 of .*: the same arch as line 2 of .*; put its trainings"),
        (changed(3, "3,16,,"), "line 4 of .*: no figure of any training"),
        (changed(3, "3,16,high,"), "line 4 of .*'accuracy_1' is 'high', which is no number"),
        (changed(3, "3,16,nan,"), "line 4 of .*'accuracy_1' is not finite"),
        (changed(3, "3,16,7,-inf"), "line 4 of .*'accuracy_2' is not finite"),
        (changed(3, "3,16,-0.5,"), "line 4 of .*: accuracy -0.5 is neither a share of 1 nor"),
        (changed(3, "3,16,730,"), "line 4 of .*: accuracy 730 is neither a share of 1 nor"),
        (changed(3, "3,16"), "line 4 of .*: 2 cells below 4 columns"),
        (changed(3, '3,16,"7,'), "line 5 of .*: unexpected end of data"),
        (
            ["kernel,width,accuracy", "3,8,0.7", "5,8,0.71", "3,16,72", "5,16,0.73"],
            "line 4 of .*: accuracy 72 is per cent, while most of the table are shares",
        ),
    ],
)
def test_a_wrong_csv_is_refused_in_one_line_that_names_it(lines, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        read_own_table(write(tmp_path / "t.csv", lines), Toy())
    assert "\n" not in str(caught.value) and "t.csv" in str(caught.value)


def third(**entry):
    """The table with another third entry."""
    return [entry or None if i == 2 else old for i, old in enumerate(entries())]


RIGHT = {"kernel": 3, "width": 16}


@pytest.mark.parametrize(
    "content, words",
    [
        ([[]], 'entry 1 of .* is no object with "choices"'),
        (third(), 'entry 3 of .* is no object with "choices"'),
        (third(choices={"kernel": 3}, accuracies=[1]), "entry 3 of .* lacks the choice 'width'"),
        (third(choices=RIGHT | {"a": 1}, accuracies=[1]), "entry 3 of .* an unknown choice 'a'"),
        (third(choices=RIGHT | {"kernel": "3"}, accuracies=[1]), "entry 3 of .*no candidate '3'"),
        (third(choices=RIGHT | {"kernel": [3]}, accuracies=[1]), r"entry 3 of .*candidate \[3\]"),
        (third(choices=RIGHT | {"width": 8}, accuracies=[1]), "entry 3 of .*same arch as entry 1"),
        (third(choices=RIGHT, accuracy=[1]), "entry 3 of .*neither .* it has choices, accuracy"),
        (third(choices=RIGHT, losses=[1]), "entry 3 of .* brings losses into .* with accuracies"),
        (
            third(choices=RIGHT, losses=[1], accuracies=[1]),
            "entry 3 of .*brings accuracies, losses",
        ),
        (third(choices=RIGHT, accuracies=70), "entry 3 of .*expected a list of numbers.* got 70"),
        (third(choices=RIGHT, accuracies=[]), "entry 3 of .*expected a list"),
        (third(choices=RIGHT, accuracies=[1, "7"]), "entry 3 of .*figure 2 is '7', which is no n"),
        (third(choices=RIGHT, accuracies=[float("nan")]), "entry 3 of .*figure 1 is not finite"),
        (third(choices=RIGHT, accuracies=[True]), "entry 3 of .*figure 1 is True, which is no n"),
    ],
)
def test_a_wrong_json_is_refused_in_one_line_that_names_the_entry(content, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        read_own_table(write(tmp_path / "t.json", content), Toy())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("t.csv", None, "no file .*t.csv; a table is .csv, with one column a choice"),
        ("t.xlsx", b"PK", "t.xlsx is of no format that is read here"),
        ("t.csv.gz", b"kernel,width", "t.csv.gz is damaged"),
        ("t.csv.gz", gzip.compress(b"kernel,width" * 99, mtime=0)[:-9], "t.csv.gz is damaged"),
        ("t.csv", "kernel,naïve".encode("latin-1"), "is not UTF-8 .byte 9"),
        ("t.json", b'[{"choices": ', "is no JSON that can be read"),
        ("t.json", b"[" * 100_000, "is no JSON that can be read"),
        ("t.json", b"{}", "holds no list"),
        ("t.json", b"[]", "holds no archs"),
        ("t.json", b'{"schema": 1}', "written by `nastk bench table` and knows its space"),
    ],
)
def test_a_file_of_another_kind_is_refused(name, data, words, tmp_path):
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_own_table(tmp_path / name, Toy())


def test_a_byte_order_mark_and_blank_lines_change_nothing(tmp_path):
    file = tmp_path / "t.csv"
    file.write_bytes(("\ufeff" + "\r\n\r\n".join([*LINES, " , , , "])).encode())
    assert len(read_own_table(file, Toy()).regret) == 4


def test_idle_choices_and_rules_of_the_space_are_known(tmp_path):
    table, space = read_own_table(write(tmp_path / "t.json", entries(SKIPS)), Skips()), Skips()
    flops = [space.cost.count(space.indices(choices))["flops"] for choices in SKIPS]
    assert len(set(flops)) == len(flops) == 9 and len(table.regret) == 9
    idle = SKIPS[1] | {"mode": "skip", "kernel": 5}
    with pytest.raises(ValueError, match=r"entry 10 of .*same arch as entry 3 .*idle choices"):
        read_own_table(write(tmp_path / "t.json", entries([*SKIPS, idle])), space)
    broken = SKIPS[-1] | {"top": 4}
    with pytest.raises(ValueError, match=r"entry 10 of .*excluded by the tapered rule"):
        read_own_table(write(tmp_path / "t.json", entries([*SKIPS, broken])), space)
    instead = [SKIPS[0], idle | {"kernel": 5}, *SKIPS[2:]]
    assert instead[1]["mode"] == "skip"
    with pytest.raises(ValueError, match="same arch as entry 2"):
        read_own_table(write(tmp_path / "t.json", entries(instead)), space)


@dataclass(frozen=True, kw_only=True)
class Flags(Toy):
    """Candidates of every type, and a choice that is called like a figure."""

    def network(self, choose):
        width = choose("loss_width", (True, 2.5, "3"))
        channels = width.map(int) if isinstance(width, Choice) else int(width)
        return nn.Sequential(
            ConvNormAct(conv2d(3, channels, 3), nn.ReLU()), Head(linear(channels, 2))
        )


@dataclass(frozen=True, kw_only=True)
class Alike(Flags):
    def network(self, choose):
        channels = choose("width", (3, "3"))
        channels = channels.map(int) if isinstance(channels, Choice) else int(channels)
        return nn.Sequential(
            ConvNormAct(conv2d(3, channels, 3), nn.ReLU()), Head(linear(channels, 2))
        )


@pytest.mark.parametrize("flag", ["True", "true", "1"])
def test_cells_are_candidates_of_any_type(flag, tmp_path):
    lines = ["loss_width,loss", f"{flag},3.5", "2.50,2.5", "3,1.5"]
    table, space = read_own_table(write(tmp_path / "t.csv", lines), Flags()), Flags()
    found = [table.regret[table.position(space.arch({"loss_width": v}))] for v in (True, 2.5, "3")]
    assert found == [2, 1, 0]


def test_candidates_that_look_alike_need_json(tmp_path):
    with pytest.raises(ValueError, match="two candidates of choice 'width' read '3' in a csv"):
        read_own_table(write(tmp_path / "t.csv", ["width,loss", "3,1", "3,2"]), Alike())
    file = write(tmp_path / "t.json", entries([{"width": 3}, {"width": "3"}], "losses"))
    assert len(read_own_table(file, Alike()).regret) == 2


def test_archs_that_are_too_many_to_list_are_missed_when_asked_for(tmp_path):
    space = SandglassMicro()
    arch = space.arch_at(dict.fromkeys(space.choices(), 0))
    table = read_own_table(write(tmp_path / "t.json", entries([dict(arch.choices)])), space)
    assert "too many to see whether all are there" in table.notes[0]
    assert table.position(arch) == 0 and np.array_equal(table.regret, [0])
    other = space.arch_at(dict.fromkeys(space.choices(), 1))
    with pytest.raises(ValueError, match="every arch of the band has to be in it"):
        table.position(other)
