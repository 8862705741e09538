"""The benchmark commands print what scripts rely on; their figures are for people to read."""

import json
import os
import subprocess
import sys

import pytest
import torch
from nastk.benchmarks.kernels import bench_kernels
from nastk.benchmarks.memory import bench_memory
from nastk.benchmarks.ops import bench_ops
from nastk.benchmarks.step import Supernet, bench_step
from nastk.benchmarks.storing import Storing
from nastk.benchmarks.t2t_step import bench_t2t_step
from nastk.benchmarks.tables import markdown
from nastk.ops.kernels.cpu import compiled
from nastk.search_spaces import SandglassMicro

NASTK = [sys.executable, "-m", "nastk"]
KEYS = (
    "meta_over_plain meta_over_eager nsum_over_eager full_path_over_eager saved_meta_over_eager "
    "saved_features_per_block growth_2_to_12"
).split()


@pytest.mark.slow
def test_the_step_benchmark_measures_every_figure():
    result = bench_step(rounds=1, batch=16, width=0.35)
    assert set(KEYS) <= set(result)
    assert result["saved_meta_over_eager"] < 0.8 and result["saved_features_per_block"] <= 4.2
    seconds = result["seconds"]  # one round, so that the ratio of medians is that of the round
    price = seconds["meta"] / seconds["stored"]
    assert result["recompute_over_stored"] == pytest.approx(price)
    assert result["saved_mib"]["full_path"] > result["saved_mib"]["nsum"]
    assert result["saved_mib"]["nsum"] > result["saved_mib"]["eager"]
    text = markdown(result)
    assert result["machine"]["cpu"] in text and "| meta_over_eager |" in text


def test_the_operators_benchmark_compares_every_variant_on_every_shape():
    shapes = ((8, 6, 2), (5, 4, 3))
    result = bench_ops(rounds=1, shapes=shapes)
    rows = {(row["shape"], row["variant"]): row for row in result["rows"]}
    assert {shape for shape, _ in rows} == {"8 x 6 x 2", "5 x 4 x 3"}
    assert rows["8 x 6 x 2", "eager 7x7"]["over_eager"] == 1
    folded, summed = (rows["8 x 6 x 2", f"{name} 3 5 7"] for name in ("meta", "feature sum"))
    assert folded["saved_features"] < summed["saved_features"]
    assert "| 5 x 4 x 3 | feature sum 3 5 7 |" in markdown(result)


@pytest.mark.slow
def test_the_memory_benchmark_measures_every_way_in_a_process_of_its_own():
    result = bench_memory(batch=2, resolution=32, scale=0.1)
    saved = {row["variant"]: row["saved_mib"] for row in result["rows"]}
    ways = [saved[f"meta, memory {memory}"] for memory in ("lowest", "low", "high")]
    assert ways == sorted(ways)
    assert all(row["peak_mib"] > 0 for row in result["rows"])
    assert "features_per_block: high 8.3" in markdown(result)


@pytest.mark.skipif(not compiled.available(), reason="no compiled kernels")
@pytest.mark.parametrize("nchw", [False, True])
def test_the_kernels_benchmark_times_every_pass(nchw):
    shapes = ((8, 6, 2),)
    result = bench_kernels(rounds=1, sizes=(3, 5), strides=(2,), nchw=nchw, shapes=shapes)
    keys = [(row["K"], row["stride"], row["pass"]) for row in result["rows"]]
    assert keys == [(K, 2, name) for K in (3, 5) for name in ("forward", "data", "weight")]
    assert all(row["torch_over_nastk"] > 0 for row in result["rows"])
    assert result["machine"]["layout"] == ("NCHW" if nchw else "NHWC")


def test_storing_what_is_computed_again_changes_no_bit():
    torch.manual_seed(0)
    network = Supernet(SandglassMicro(), memory="low")
    x, grads, storing = torch.randn(4, 3, 28, 28), [], Storing()
    for stores in (False, True):
        network.zero_grad()
        if stores:
            with storing:
                y = network(x)
                assert storing._kept
                y.square().sum().backward()
        else:
            network(x).square().sum().backward()
        grads.append([p.grad for p in network.parameters()])
    assert not storing._kept
    for a, b in zip(*grads, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)


@pytest.mark.slow
def test_the_step_benchmark_of_transformers_measures_every_figure():
    result = bench_t2t_step(rounds=1, batch=2, resolution=64)
    assert result["sampled_over_plain"] > 0 and result["folded_over_largest"] > 0
    # Five ratios keep one feature. Each block keeps the masked weights of its second layer, too.
    weights = 14 * (4 * 384) * 384 * 4 / 2**20
    assert (result["saved_mib"]["folded"] - weights) / result["saved_mib"]["sampled"] < 1.05
    assert "| folded_over_largest |" in markdown(result)


def test_doctor_says_which_kernels_run_and_why_not(command):
    rows = {row["name"]: row for row in json.loads(command("doctor", "--json").stdout)}
    assert rows["CPU kernels"]["status"] in ("ok", "missing")
    environment = os.environ | {"NASTK_KERNELS": "definition"}
    done = subprocess.run(
        [*NASTK, "doctor"], capture_output=True, text=True, check=True, env=environment
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("CPU kernels"))
    assert "missing" in line and "NASTK_KERNELS=definition" in line
