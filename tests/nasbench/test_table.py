"""The table that nastk carries is whole, unchanged and true to its space."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from nastk.comparison.signal import intraclass_correlation
from nastk.nasbench import table as table_module
from nastk.nasbench.table import TABLES, hash_of_content, load_table, read_table
from nastk.nasbench.table_build import Plan, archs_within
from nastk.search_spaces import SPACES, SandglassMicro

FILE = Path(table_module.__file__).parent / TABLES["mbconv-micro"]


def test_every_arch_of_the_band_is_there_once():
    table, plan = load_table(), Plan()
    assert table.content["band"] == list(plan.band) and table.content["seeds"] == list(plan.seeds)
    assert table.space == SPACES[plan.space]()
    rows = archs_within(table.space, plan.band).tolist()
    assert table.content["archs"] == rows and 300 <= len(rows) <= 2000
    candidates = {name: list(c.candidates) for name, c in table.space.choices().items()}
    assert table.content["choices"] == candidates
    for number, row in enumerate(rows):
        indices = dict(zip(candidates, row, strict=True))
        assert table.position(table.space.arch_at(indices)) == number


def test_counts_equal_the_polynomial_and_the_networks():
    content, space = load_table().content, load_table().space
    columns = dict(zip(space.choices(), np.array(content["archs"]).T, strict=True))
    assert content["flops"] == space.cost.flops.evaluate(columns).tolist()
    assert content["params"] == space.cost.params.evaluate(columns).tolist()
    for number in range(0, len(content["archs"]), 50):
        indices = dict(zip(space.choices(), content["archs"][number], strict=True))
        network = space.build(space.arch_at(indices))
        assert content["params"][number] == sum(p.numel() for p in network.parameters())
        assert network(torch.zeros(2, *space.input_shape)).shape == (2, 10)


def test_figures_are_whole_and_say_something():
    table, plan = load_table(), Plan()
    shape = (len(table.content["archs"]), 3)
    assert table.validation_loss.shape == table.validation_top1.shape == (*shape, table.num_epochs)
    assert table.test_loss.shape == table.test_top1.shape == shape
    assert table.num_epochs == plan.recipe.epochs and len(table.content["cpu_seconds"]) == shape[0]
    for losses in (table.validation_loss[:, :, -1], table.test_loss):
        assert np.isfinite(losses).all() and 0 < losses.min() < losses.max() < 3
    assert np.isfinite(table.validation_loss).all()
    assert table.validation_top1[..., -1].mean() > 40  # ten classes
    assert (np.diff(table.validation_loss.mean((0, 1))) < 0).all()  # training goes on helping
    assert intraclass_correlation(table.validation_loss[:, :, -1]) > 0.7
    assert table.regret.min() == 0 and (table.regret == 0).sum() == 1


def test_it_says_where_it_comes_from():
    content = load_table().content
    record = content["record"]
    assert {"command", "date", "nastk", "torch", "python", "cpu", "cpu_seconds"} <= set(record)
    assert record["data"]["name"] == "digits-photo" and len(record["data"]["train_sha256"]) == 64
    assert content["recipe"]["epochs"] == 4
    assert FILE.stat().st_size < 2**20
    assert content["sha256"] == hash_of_content(content)


def changed(path, edit):
    content = json.loads(gzip.decompress(FILE.read_bytes()))
    edit(content)
    path.write_bytes(gzip.compress(json.dumps(content).encode()))
    return path


def test_a_changed_figure_is_noticed(tmp_path):
    def edit(content):
        content["test_loss_nats"][7][1] += 1e-4

    with pytest.raises(ValueError, match="content that its hash promises"):
        read_table(changed(tmp_path / "t.json.gz", edit))
    assert read_table(changed(tmp_path / "t.json.gz", lambda content: None)).regret.min() == 0


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "text", "schema"])
def test_a_damaged_file_is_named_in_one_line(damage, tmp_path):
    path, data = tmp_path / "t.json.gz", bytearray(FILE.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "text":
        path.write_text("no table")
    elif damage == "schema":
        changed(path, lambda content: content.update(schema=2))
    with pytest.raises(ValueError, match=r"table .*t\.json\.gz|t\.json\.gz is no table") as caught:
        read_table(path)
    assert "\n" not in str(caught.value)


def test_a_table_of_ones_own_is_loaded_by_its_file(tmp_path):
    file = tmp_path / "mine.json.gz"
    file.write_bytes(FILE.read_bytes())
    assert load_table(str(file)).content == load_table().content
    with pytest.raises(ValueError, match=r"no table .*its\.json\.gz; build one: nastk bench table"):
        load_table(str(tmp_path / "its.json.gz"))


def test_archs_outside_of_the_band_and_of_other_spaces_are_refused():
    table = load_table()
    smallest = table.space.arch_at(dict.fromkeys(table.space.choices(), 0))
    with pytest.raises(ValueError, match="160,000 to 180,000 FLOPs"):
        table.position(smallest)
    other = SandglassMicro()
    with pytest.raises(ValueError, match="of sandglass-micro is not in the table"):
        table.position(other.arch_at(dict.fromkeys(other.choices(), 0)))
    with pytest.raises(ValueError, match="did you mean 'mbconv-micro'"):
        load_table("mbconv-micros")
