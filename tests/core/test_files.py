"""What is written as JSON can be read by every JSON reader, and comes back."""

import json
import math

import pytest
from nastk.core.files import read_json, with_nan
from nastk.core.run import Run, fresh_run, write_json


def refuse(name):
    raise AssertionError(f"{name} is no JSON")


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path):
    content = {"loss": math.nan, "rows": [{"a": (1.5, math.inf)}, -math.inf], "name": "nan"}
    write_json(tmp_path / "x.json", content)
    read = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert read == {"loss": None, "rows": [{"a": [1.5, None]}, None], "name": "nan"}
    assert read_json(tmp_path / "x.json") == read


def test_finite_numbers_come_back_as_they_were(tmp_path):
    content = {"pi": math.pi, "count": 10**18, "tiny": 5e-324, "is_fine": True, "none": None}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json") == content


def test_a_manifest_takes_what_is_not_finite_as_null(tmp_path):
    given = {"space": "toy", "target": {}, "proxy": {}, "data": "digits", "seed": 0}
    given |= {"device": "cpu", "workers": 0, "strict": False, "threads": 1}
    run = Run.create(tmp_path / "run", given)
    assert "figure" not in run.manifest
    run.update_manifest({"figure": math.inf})
    assert run.manifest == given | {"figure": None}


def test_written_metrics_are_numbers_again():
    found = with_nan({"loss": None, "seconds": 2.0})
    assert math.isnan(found["loss"]) and found["seconds"] == pytest.approx(2)


@pytest.mark.parametrize("left", ["checkpoints/last", "result.json"])
def test_a_search_that_fails_keeps_what_a_first_trial_has_done(left, tmp_path):
    with pytest.raises(ValueError, match="a worker was killed"), fresh_run(tmp_path / "run", {}):
        file = tmp_path / "run/trainings/0123" / left
        file.parent.mkdir(parents=True)
        file.touch()
        raise ValueError("a worker was killed")
    assert file.is_file()
