"""The readers of public tables, on a few rows in their formats."""

import gzip
import json

import pytest
from nastk.nasbench.public_tables import COLUMNS, read_nasbench201_csv, read_nasbench_macro
from nastk.search_spaces import NasBench201, NasBenchMacro

MACRO = {
    "02012100": {
        "test_acc": [89.47000122070312, 88.94999694824219, 89.16999816894531],
        "mean_acc": 89.19666544596355,
        "std": 0.21312667374448538,
        "params": 890666,
        "flops": 47327744,
    },
    "22222222": {
        "test_acc": [92.5, 92.25],
        "mean_acc": 92.375,
        "std": 0.125,
        "params": 2932586,
        "flops": 105660928,
    },
}
CELLS = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|none~2|",
)
LINES = [
    "arch,cellstr,cifar10-test,cifar10-val,cifar100-test,cifar100-val,imagenet-test,imagenet-val",
    f"0,{CELLS[0]},69.55,63.36399998046875,31.25,31.84,16.99,18.46",
    f"1,{CELLS[1]},88.22,82.83399999389648,58.25,57.79,33.8,35.43",
]


def macro_file(path, content=MACRO):
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def csv_file(path, lines=LINES):
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_nasbench_macro_is_read_and_counts_as_the_space_does(tmp_path):
    found, space = read_nasbench_macro(macro_file(tmp_path / "m.json.gz")), NasBenchMacro()
    assert list(found) == list(MACRO)
    for key, figures in found.items():
        assert figures.test_top1_percent == tuple(MACRO[key]["test_acc"])
        counted = space.cost.count(space.indices(space.parse(key)))
        assert (counted["flops"], counted["params"]) == (figures.flops, figures.params)


def test_the_csv_of_nasbench201_is_read_by_the_names_of_its_cells(tmp_path):
    found = read_nasbench201_csv(csv_file(tmp_path / "n.csv.gz"))
    assert list(found) == list(CELLS) and all(set(row) == set(COLUMNS) for row in found.values())
    assert found[CELLS[1]]["cifar10-val"] == 82.83399999389648
    assert found[CELLS[0]]["imagenet-val"] == 18.46
    assert NasBench201().parse(CELLS[0]).choices["node3.input0"] == "none"
    one = [line.rpartition(",")[0] for line in LINES]
    assert (
        "imagenet-val" not in read_nasbench201_csv(csv_file(tmp_path / "n.csv.gz", one))[CELLS[0]]
    )


def macro_with(**figures):
    return MACRO | {"00000000": MACRO["02012100"] | figures}


@pytest.mark.parametrize(
    "content, words",
    [
        ([], "holds no archs by key; expected nas-bench-macro_cifar10.json"),
        ({}, "holds no archs by key"),
        ({"0000000": MACRO["02012100"]}, "arch '0000000' of .* no entry of 8 digits"),
        ({"00000003": MACRO["02012100"]}, "arch '00000003' of .* no entry of 8 digits"),
        ({"00000000": 89.0}, "arch '00000000' of .* no entry of 8 digits"),
        (macro_with(test_acc=[]), "arch '00000000' of .*test_acc is no list"),
        (macro_with(test_acc=[89.0, None]), "arch '00000000' of .*test_acc is not finite"),
        (macro_with(test_acc=["89"]), "arch '00000000' of .*test_acc is '89', which is no num"),
        (macro_with(test_acc=[890]), "arch '00000000' of .*accuracy 890, expected 0 to 100"),
        (macro_with(flops="1M"), "arch '00000000' of .*params and flops are no counts"),
    ],
)
def test_a_wrong_macro_table_is_refused(content, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_nasbench_macro(macro_file(tmp_path / "m.json.gz", content))


@pytest.mark.parametrize(
    "lines, words",
    [
        (["kernel,accuracy", "3,70"], "is another csv; expected a csv"),
        (["cellstr,top1", f"{CELLS[0]},70"], "is another csv; expected a csv"),
        (LINES[:1], "holds no archs"),
        ([*LINES, LINES[1]], r"line 4 of .* arch \|avg_pool.* occurs a second time"),
        (
            [*LINES, LINES[1].replace("none~0", "none~1")],
            "line 4 of .* is no arch of NAS-Bench-201",
        ),
        ([*LINES, LINES[1].replace("none~0", "max~0")], "line 4 of .* is no arch of NAS-Bench-201"),
        ([LINES[0], LINES[1].replace("69.55", "")], "line 2 of .*cifar10-test is '', which is no"),
        ([LINES[0], LINES[1].replace("69.55", "nan")], "line 2 of .*cifar10-test is not finite"),
        ([LINES[0], LINES[1].replace("69.55", "101")], "line 2 of .*accuracy 101, expected 0 to"),
        ([LINES[0], LINES[1] + ",1"], "line 2 of .*9 cells below 8 columns"),
    ],
)
def test_a_wrong_csv_of_nasbench201_is_refused(lines, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        read_nasbench201_csv(csv_file(tmp_path / "n.csv.gz", lines))


@pytest.mark.parametrize("read", [read_nasbench_macro, read_nasbench201_csv])
def test_files_that_are_missing_or_damaged_are_named(read, tmp_path):
    with pytest.raises(ValueError, match=r"no file .*none\.gz; expected"):
        read(tmp_path / "none.gz")
    (tmp_path / "damaged.gz").write_bytes(gzip.compress(b"{}" * 999)[:-20])
    with pytest.raises(ValueError, match=r"damaged\.gz is damaged"):
        read(tmp_path / "damaged.gz")
