"""What tuning writes, and that it needs a GPU."""

import pytest
import torch
from nastk.ops.kernels.cuda import depthwise, dispatch, norm_act, tuning


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_tuning_without_cuda_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match="no CUDA device"):
        tuning.tune(tmp_path / "wins.toml")
    assert not list(tmp_path.iterdir())


def test_written_wins_are_read_back_and_others_are_kept(tmp_path):
    path = tmp_path / "folder" / "wins.toml"
    tuning.write_wins(path, "8.0", {"forward/a": "torch"})
    tuning.write_wins(path, "9.0", {"forward/a": "triton"})
    tuning.write_wins(path, "9.0", {"forward/b": "torch"})
    assert dispatch.read_table(path) == {
        "8.0": {"forward/a": "torch"},
        "9.0": {"forward/a": "triton", "forward/b": "torch"},
    }


def test_every_pass_is_tried_under_the_key_that_it_is_looked_up_by(monkeypatch):
    """Each trial is run on a CPU, by torch's kernels, as the operator that it stands for."""
    operators = {
        "forward": depthwise.depthwise_conv2d,
        "backward_data": depthwise.depthwise_bwd_data,
        "backward_weight": depthwise.depthwise_bwd_weight,
        "backward_mixture": depthwise.depthwise_bwd_mixture,
        "norm_act": norm_act.norm_act,
        "norm_act_reduce": norm_act.norm_act_bwd_reduce,
        "norm_act_apply": norm_act.norm_act_bwd_apply,
    }
    asked = []

    def backend(pass_name, x, kernel=1, stride=1, *, is_fused=False):
        asked.append(dispatch.shape_key(pass_name, x, kernel, stride, is_fused=is_fused))
        return "torch"

    monkeypatch.setattr(dispatch, "backend", backend)
    trials = list(tuning.trials((2, 20, 9, 11), torch.float32, True, [3, 5], [2], device="cpu"))
    assert set(operators) == set(dispatch.PASSES) == {trial.pass_name for trial in trials}
    for trial in trials:
        operators[trial.pass_name](*trial.arguments)
    keys = [trial.key for trial in trials]
    assert asked == keys and len(set(keys)) == len(keys)
    assert sum("+act/" in key for key in keys) == 6


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tuning_enters_every_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "REPETITIONS", 3)
    path = tmp_path / "wins.toml"
    timings = tuning.tune(
        path, shapes=[(2, 20, 9, 11)], kernels=[3], strides=[1], dtypes=[torch.bfloat16]
    )
    passes = {timing.key.split("/")[0].removesuffix("+act") for timing in timings}
    assert passes == set(dispatch.PASSES)
    (entries,) = dispatch.read_table(path).values()
    assert set(entries) == {timing.key for timing in timings}
