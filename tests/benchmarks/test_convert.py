"""Public tables become tables of `bench strategies`; a few rows in the public formats."""

import csv
import json

import pytest
from nastk.benchmarks.convert import convert, main
from nastk.nasbench.own_table import as_losses
from nastk.nasbench.table_files import read_table_file
from nastk.search_spaces import NasBench201, NasBenchMacro

MACRO = {
    key: {"test_acc": [accuracy, accuracy + 0.5], "params": 1, "flops": 1}
    for key, accuracy in {"01200000": 89.0, "22222222": 92.0}.items()
}
CELL = "|none~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"


@pytest.fixture
def macro(tmp_path):
    file = tmp_path / "nas-bench-macro_cifar10.json"
    file.write_text(json.dumps(MACRO))
    return file


@pytest.fixture
def nb201(tmp_path):
    file = tmp_path / "nb201_mini.csv"
    file.write_text(f"arch,cellstr,cifar10-test,cifar10-val\n0,{CELL},69.55,63.25\n")
    return file


@pytest.mark.parametrize("ending", ["json", "json.gz", "csv", "csv.gz"])
def test_nasbench_macro_keeps_every_training(ending, macro, tmp_path):
    out, space = tmp_path / f"out.{ending}", NasBenchMacro()
    assert convert(out, macro=macro) == 2
    found = read_table_file(out, space.choices())
    assert found.kind == "accuracies" and not found.left_out
    for entry, (key, record) in zip(found.entries, MACRO.items(), strict=True):
        indices = dict(zip(space.choices(), entry.indices, strict=True))
        assert space.arch_at(indices) == space.parse(key)
        assert list(entry.figures) == record["test_acc"]
    assert as_losses(found)[0][1] == pytest.approx([0.08, 0.075])


@pytest.mark.parametrize("column, accuracy", [("cifar10-test", 69.55), ("cifar10-val", 63.25)])
def test_a_column_of_nasbench201_is_chosen(column, accuracy, nb201, tmp_path):
    out, space = tmp_path / "out.csv", NasBench201()
    assert convert(out, nb201=nb201, column=column) == 1
    (row,) = csv.DictReader(out.open())
    assert float(row.pop("accuracy_1")) == accuracy
    assert space.arch(row) == space.parse(CELL)


def test_wrong_requests_are_refused_and_leave_nothing(macro, nb201, tmp_path):
    out, before = tmp_path / "out.csv", nb201.read_bytes()
    with pytest.raises(ValueError, match="one of --macro and --nb201"):
        convert(out, macro=macro, nb201=nb201)
    with pytest.raises(ValueError, match="is the table itself"):
        convert(nb201, nb201=nb201)
    with pytest.raises(ValueError, match=r"unknown column of .*did you mean 'cifar10-test'"):
        convert(out, nb201=nb201, column="cifar10-tets")
    with pytest.raises(ValueError, match="is no JSON that can be read"):
        convert(out, macro=nb201)
    assert not out.exists() and nb201.read_bytes() == before


def test_the_program_says_what_it_wrote_or_what_is_wrong(macro, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.csv"
    monkeypatch.setattr("sys.argv", ["convert", "--macro", str(macro), "--out", str(out)])
    main()
    assert capsys.readouterr().out == f"{out}: 2 archs\n" and out.exists()
    monkeypatch.setattr("sys.argv", ["convert", "--macro", str(macro), "--out", "o.txt"])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr()
    assert caught.value.code == 2 and not said.out and said.err.count("\n") == 1
    assert "o.txt has no ending of a table" in said.err
