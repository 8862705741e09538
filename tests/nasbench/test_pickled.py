"""Pickles are read as data: nothing that they name is imported, called or changed."""

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from nastk.nasbench.pickled import Call, read_pickle

DATA = {
    "numbers": [0, 1, -1, 255, 256, 70_000, 2**40, -(2**70), 0.1, float("inf"), True, False, None],
    "text": ["", "a", "ä" * 300, "b" * 70_000],
    "bytes": [b"", b"x" * 300],
    ("tuple", 1, 2, 3, 4): (1, (2,), (3, 4), (5, 6, 7)),
    "sets": [{1, 2}, frozenset({3})],
    "ordered": OrderedDict([(0, 1.5), (1, 2.5)]),
    "shared": [shared := [1, 2], shared],
    "empty": [(), [], {}, set()],
}


def read(content):
    return read_pickle(io.BytesIO(content))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_data_come_back(protocol):
    data = dict(DATA)
    if protocol < 4:
        del data["sets"], data["empty"]  # old protocols call `set`
    if protocol < 3:
        del data["bytes"]  # and encode bytes as text
    found = read(pickle.dumps(data, protocol))
    assert found == data
    assert found["shared"][0] is found["shared"][1]
    assert type(found["ordered"]) is dict and list(found["ordered"]) == [0, 1]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.int32])
def test_scalars_of_numpy_are_numbers(kind):
    assert read(pickle.dumps([kind(2.5), 1], 4)) == [float(kind(2.5)), 1]
    big = np.array([1.5], dtype=">f8")[0]
    assert read(pickle.dumps(big.astype(">f8"), 4)) == 1.5


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("made by a pickle",))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_calls_are_not_carried_out(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read(pickle.dumps({"evil": Evil()}, protocol))
    assert isinstance(found["evil"], Call)
    assert found["evil"].name.endswith(".mkdir")
    assert found["evil"].arguments == ("made by a pickle",)
    assert not list(tmp_path.iterdir())


def test_an_object_of_a_class_is_its_name_and_state():
    # `pickle.dumps` of an instance of a class elsewhere, attribute x = 1.
    content = b"\x80\x02celsewhere\nThing\n)\x81}X\x01\x00\x00\x00xK\x01sb."
    found = read(content)
    assert (found.name, found.arguments, found.state) == ("elsewhere.Thing", (), {"x": 1})


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "ends|exhausted|empty"),
        (b"hello", "damaged"),
        (b"\xff", "opcode"),
        (pickle.dumps([1, 2])[:-1], "ends|exhausted"),
        (pickle.dumps(list(range(300)))[:40], "ends|exhausted|expected"),
        (b"\x80\x04K\x01K\x02R.", "no name"),
        (b"\x80\x04]\x94h\x07a.", "damaged"),
        (b"\x80\x04e.", "mark"),
        (b"\x80\x04R.", "stack"),
        (b"\x80\x04K\x01K\x02a.", "adds to"),
        (b"\x80\x04}]K\x01s.", "damaged"),
        (b"\x80\x04P1\n.", "PERSID"),
    ],
)
def test_what_is_no_pickle_is_refused(content, words):
    with pytest.raises(ValueError, match=words):
        read(content)
