"""What a space may ask: candidates that an arch can record, each once."""

import json

import numpy as np
import pytest
from nastk.core.choice import ChooseAll, ChooseValues


def test_numbers_of_numpy_are_numbers():
    choice = ChooseAll()("width", np.array([8, 16]))
    assert json.dumps(choice.candidates) == "[8, 16]"
    choice = ChooseAll()("ratio", (np.float32(0.5), 2, np.str_("half")))
    assert json.dumps(choice.candidates) == '[0.5, 2, "half"]'
    value = ChooseValues({"width": 16})("width", np.array([8, 16]))
    assert value == 16 and type(value) is int


@pytest.mark.parametrize(
    ("name", "candidates", "message"),
    [
        (3, (1, 2), "takes a name as text first"),
        ("", (1, 2), "takes a name as text first"),
        ("a", "abc", "takes a tuple of candidates, got 'abc'"),
        ("a", {3, 5}, "takes a tuple of candidates"),
        ("a", 3, "takes a tuple of candidates, got 3"),
        ("a", (3, (5, 5)), r"has the candidate \(5, 5\), which an arch cannot record"),
        ("a", (3, None), "has the candidate None"),
        ("a", (3, len), "which an arch cannot record"),
        ("a", (3, float("inf")), "has the candidate inf"),
        ("a", (3, float("nan")), "is no number"),
        ("a", (3, 5, 3.0), "candidate 3.0 of choice 'a' occurs twice"),
        ("a", (1, True), "candidate True of choice 'a' occurs twice"),
    ],
)
def test_what_an_arch_cannot_record_is_refused(name, candidates, message):
    with pytest.raises(ValueError, match=message):
        ChooseAll()(name, candidates)
