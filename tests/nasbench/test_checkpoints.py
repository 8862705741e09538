"""Checkpoints give their tensors and nothing else, whatever they hold besides."""

import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from nastk.nasbench.checkpoints import read_weights
from torch import nn

FORMATS = {"zip": True, "sequence": False}


def weights():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(6, 5, generator=generator)
    return {
        "a.weight": torch.randn(3, 4, generator=generator),
        "a.bias": torch.randn(3, generator=generator).half(),
        "turned": table.t()[1:4],  # of a storage that it shares, with strides of its own
        "row": table[2],
        "count": torch.tensor(7),
        "none": torch.empty(0, 3),
        "mask": torch.tensor([True, False]),
        "brain": torch.ones(2, dtype=torch.bfloat16),
    }


def saved(content, folder, kind="zip"):
    torch.save(content, folder / "file.pth", _use_new_zipfile_serialization=FORMATS[kind])
    return folder / "file.pth"


def check(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype and torch.equal(found[name], value), name


@pytest.mark.parametrize("kind", FORMATS)
def test_tensors_come_back_as_they_were(kind, tmp_path):
    check(read_weights(saved(weights(), tmp_path, kind)), weights())


class Wild:
    """Would make a folder if it were unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("made by a checkpoint",))


@pytest.mark.parametrize("kind", FORMATS)
def test_what_else_a_checkpoint_holds_is_neither_run_nor_in_the_way(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    optimizer = torch.optim.AdamW(nn.Linear(2, 2).parameters())
    extra = {
        "args": argparse.Namespace(lr=np.float64(1e-3), place=Path("x")),
        "metric": np.float32(0.5),
        "history": np.arange(5),
        "optimizer": optimizer.state_dict(),
        "wild": Wild(),
    }
    content = {"epoch": np.int64(3), **extra, "state_dict": weights() | {"version": 2}}
    check(read_weights(saved(content, tmp_path, kind)), weights())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.pth"]


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "_orig_mod.", "module.module.", "module._orig_mod.model."]
)
def test_prefixes_of_wrappers_are_left_out(prefix, tmp_path):
    stored = {f"{prefix}{name}": value for name, value in weights().items()}
    check(read_weights(saved({"model": {"state_dict": stored}}, tmp_path)), weights())


def test_a_parameter_is_a_tensor(tmp_path):
    network = nn.Linear(3, 2)
    found = read_weights(saved(dict(network.named_parameters()), tmp_path))
    assert torch.equal(found["weight"], network.weight) and not found["weight"].requires_grad


def archive(members, compress=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, words",
    [
        ({"state_dict": {"a": Wild(), "b": torch.ones(1)}}, r"state_dict\['a'\] is an object of"),
        ({"state_dict": {"a": torch.ones(1), "module.a": torch.ones(1)}}, "there twice"),
        ({"state_dict": {"epoch": 3}}, "no tensors by name.* state_dict holds 'epoch'"),
        ({"model": nn.Linear(2, 2)}, "model is an object of .*Linear.* save its state_dict"),
        (nn.Linear(2, 2), "it is an object of .*Linear"),
        ([1, 2], "it is a list; expected weights by name"),
        ({"a": torch.ones(2).to_sparse()}, "_rebuild_sparse_tensor.* not plain"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_entry_in_the_way_is_named(content, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        read_weights(saved(content, tmp_path))
    assert str(caught.value).isprintable() and "file.pth" in str(caught.value)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "no checkpoint that can be read"),
        (b"no checkpoint\x07\n", "no checkpoint that can be read"),
        (pickle.dumps([1, 2]), "begins otherwise"),
        (archive({"a/b": b"x"}), "without data.pkl"),
        (archive({"a/data.pkl": b"\x80\x02\x07\x1b."}), "opcode"),
        (archive({"a/data.pkl": b"x"}, zipfile.ZIP_DEFLATED), "no 'data.pkl' as torch.save"),
        (archive({"a/data.pkl": b"\x80\x02}.", "a/byteorder": b"big"}), "high bytes first"),
    ],
)
def test_other_files_are_refused_in_one_line(content, words, tmp_path):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_weights(tmp_path / "file.pth")
    assert str(caught.value).isprintable()
    with pytest.raises(ValueError, match="no file"):
        read_weights(tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of escapes in damaged text
@pytest.mark.parametrize("kind", FORMATS)
def test_damage_anywhere_is_a_line_or_goes_unnoticed(kind, tmp_path):
    """Every byte but those of numbers says something that can be wrong."""
    whole = saved({"args": argparse.Namespace(a=1), "state_dict": weights()}, tmp_path, kind)
    content, generator = whole.read_bytes(), np.random.default_rng(0)
    for trial in range(300):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), 3):
            damaged[position] = generator.integers(256)
        if trial % 3 == 0:
            damaged = damaged[: generator.integers(len(content))]
        whole.write_bytes(damaged)
        try:
            read_weights(whole)
        except ValueError as error:
            assert str(error).isprintable() and str(error).startswith(str(whole))
