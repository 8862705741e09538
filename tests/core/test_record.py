"""What stands in the files of a run is checked once, where it is read."""

import json

import pytest
from nastk.core.budget import Budget, recorded_budget
from nastk.core.files import parse_json, read_json
from nastk.core.manifest import Manifest
from nastk.core.record import as_record
from nastk.core.run import Run

GIVEN = {"space": "toy", "target": {"resolution": 28}, "proxy": {}, "data": "digits"}
GIVEN |= {"seed": 0, "device": "cpu", "workers": 0, "strict": False, "threads": 1}


def test_a_manifest_has_typed_fields_and_every_entry(tmp_path):
    later = {"budget": [None, 55_000], "of_a_later_version": [1]}
    manifest = Run.create(tmp_path / "run", GIVEN | later).manifest
    assert manifest.data == manifest["data"] == "digits" and manifest.workers == 0
    assert recorded_budget(manifest) == Budget(None, 55_000)
    assert manifest["of_a_later_version"] == [1] and "strategy" not in manifest
    assert dict(manifest) == GIVEN | later == manifest
    with pytest.raises(ValueError, match=r"manifest\.json is damaged: it misses 'strategy'"):
        manifest["strategy"]


@pytest.mark.parametrize(
    "entries, words",
    [
        ({"space": None}, "its space is None, expected text"),
        ({"target": []}, r"its target is \[\], expected an object"),
        ({"seed": -1}, "its seed is -1, expected a whole number of at least 0 and at most"),
        ({"seed": True}, "its seed is True, expected a whole number"),
        ({"threads": 10**9}, "its threads is 1000000000, expected a whole number of at least 1"),
        ({"threads_of_trainings": {"a": 0}}, r"its threads_of_trainings\.a is 0"),
        ({"processes": 1.5}, "its processes is 1.5, expected a whole number .* or null"),
        ({"budget": [1, 2, 3]}, r"its budget is \[1, 2, 3\]"),
        ({"budget": [5, "x"]}, r"its budget\[1\] is 'x'"),
        ({"budgets": [{"metric": "flops"}]}, r"it misses 'budgets\[0\]\.high'"),
        (
            {"budgets": [{"metric": "watts", "low": 1, "high": 5}]},
            "it bounds 'watts', expected one of flops",
        ),
        ({"code": {"space": {"file": "a.py"}}}, r"it misses 'code\.space\.sha256'"),
    ],
)
def test_a_wrong_entry_is_named(entries, words):
    with pytest.raises(ValueError, match=rf"^m\.json is damaged: {words}"):
        as_record(GIVEN | entries, Manifest, "m.json")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "1" + "0" * 30, "9" * 5000, "1e999", '{"a": 1e200}', "nul", b"\xff", "", "[1]"],
)
def test_what_is_no_object_of_numbers_that_mean_something_is_named(tmp_path, text):
    file = tmp_path / "a.json"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"a\.json is damaged: ") as caught:
        read_json(file)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_not_finite_are_none():
    assert parse_json("[NaN, Infinity, -Infinity, 9223372036854775807]") == [None] * 3 + [2**63 - 1]


def test_a_manifest_is_read_once_and_again_after_a_change(tmp_path, monkeypatch):
    run = Run.create(tmp_path / "run", GIVEN)
    first = run.manifest
    assert run.manifest is first
    run.update_manifest({"seed": 3})
    assert run.manifest.seed == 3 and first.seed == 0
    assert json.loads(run.manifest_path.read_text()) == GIVEN | {"seed": 3}
