"""What tuning writes, and that it needs a GPU."""

import pytest
import torch
from nastk.ops.kernels import dispatch, tuning


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_tuning_without_cuda_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="no CUDA device"):
        tuning.tune(tmp_path / "wins.toml")
    assert not list(tmp_path.iterdir())


def test_written_wins_are_read_back_and_others_are_kept(tmp_path):
    path = tmp_path / "folder" / "wins.toml"
    tuning.write_wins(path, "8.0", {"forward/a": "native"})
    tuning.write_wins(path, "9.0", {"forward/a": "triton"})
    tuning.write_wins(path, "9.0", {"forward/b": "native"})
    assert dispatch.read_table(path) == {
        "8.0": {"forward/a": "native"},
        "9.0": {"forward/a": "triton", "forward/b": "native"},
    }


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tuning_enters_every_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "REPETITIONS", 3)
    path = tmp_path / "wins.toml"
    timings = tuning.tune(
        path, shapes=[(2, 20, 9, 11)], kernels=[3], strides=[1], dtypes=[torch.bfloat16]
    )
    assert {timing.key.split("/")[0] for timing in timings} == set(dispatch.PASSES)
    (entries,) = dispatch.read_table(path).values()
    assert set(entries) == {timing.key for timing in timings}
