"""Tables are built whole, whatever interrupts that."""

import dataclasses
import json

import numpy as np
import pytest
from nastk.core.sampler import sample
from nastk.nasbench.table import read_table
from nastk.nasbench.table_build import RECIPE, Plan, Row, archs_within, build
from nastk.search_spaces import SandglassMicroTab

PLAN = Plan(
    space="sandglass-micro-tab",
    band=(26_000, 31_500),
    seeds=(0, 1),
    data="digits",
    recipe=dataclasses.replace(RECIPE, epochs=2, batch_size=256),
)


def timeless(content):
    return {k: v for k, v in content.items() if k not in ("record", "sha256", "cpu_seconds")}


def stop_at(number, monkeypatch):
    original, calls = Row.measure, []

    def measure(self, run, report):
        calls.append(self.row)
        if len(calls) == number:
            raise KeyboardInterrupt
        return original(self, run, report)

    monkeypatch.setattr(Row, "measure", measure)
    return calls


def test_a_band_is_enumerated_whole_and_once():
    space, band = SandglassMicroTab(), (95_000, 106_000)
    rows = archs_within(space, band)
    assert len({tuple(row) for row in rows.tolist()}) == len(rows)
    for row in rows[::20]:
        indices = dict(zip(space.choices(), row.tolist(), strict=True))
        assert space.cost.canonical(indices) == indices
        assert band[0] <= space.cost.count(indices)["flops"] <= band[1]
    drawn = np.stack(list(sample(space, 3000, 0, band).values()), 1)
    assert {tuple(row) for row in drawn.tolist()} <= {tuple(row) for row in rows.tolist()}
    everything = archs_within(space, (0, 10**9))
    assert len(everything) == round(10**space.cost.log10_size)


def test_a_broken_build_goes_on_and_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    whole = build(tmp_path / "whole.json.gz", PLAN, processes=1)
    num_archs = len(whole["archs"])
    assert num_archs >= 3
    with monkeypatch.context() as patched:
        stop_at(2, patched)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "broken.json.gz", PLAN, processes=1)
    assert not (tmp_path / "broken.json.gz").exists()
    calls = stop_at(0, monkeypatch)
    steps = []
    broken = build(
        tmp_path / "broken.json.gz", PLAN, processes=1, report=lambda e: steps.append(e["step"])
    )
    assert len(calls) == num_archs - 1 and steps == list(range(1, num_archs + 1))
    assert timeless(broken) == timeless(whole)
    read = read_table(tmp_path / "broken.json.gz")
    assert read.content == json.loads(json.dumps(broken))
    assert read.validation_loss.shape == (num_archs, 2, 2) and read.num_epochs == 2
    assert len(set(read.test_loss.flatten())) == 2 * num_archs  # seeds and archs differ


def test_a_wider_band_trains_what_is_new_and_other_recipes_train_anew(tmp_path, monkeypatch):
    path, calls = tmp_path / "table.json.gz", stop_at(0, monkeypatch)
    tiny = dataclasses.replace(PLAN, band=(25_000, 26_000), seeds=(0,))
    wider = dataclasses.replace(tiny, band=(25_000, 30_000))
    first, second = (build(path, plan, processes=1) for plan in (tiny, wider))
    assert len(second["archs"]) > len(first["archs"]) and len(calls) == len(second["archs"])
    place = second["archs"].index(first["archs"][0])
    assert second["test_loss_nats"][place] == first["test_loss_nats"][0]
    faster = dataclasses.replace(tiny, recipe=dataclasses.replace(tiny.recipe, lr=0.02))
    third = build(path, faster, processes=1)
    assert third["test_loss_nats"][0] != first["test_loss_nats"][0]
    assert len(calls) == len(second["archs"]) + len(third["archs"])


@pytest.mark.parametrize(
    "path, processes, words", [("t.json.gz", 0, "--processes"), ("no/t.json.gz", 1, "no folder")]
)
def test_wrong_options_are_refused(path, processes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        build(tmp_path / path, PLAN, processes=processes)
    assert not list(tmp_path.iterdir())
