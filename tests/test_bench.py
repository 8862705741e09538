"""The benchmark commands print what scripts rely on; their figures are for people to read."""

import json
import os
import subprocess
import sys

import pytest
from nastk.benchmarks.step import bench_step
from nastk.benchmarks.t2t_step import bench_t2t_step
from nastk.benchmarks.tables import markdown

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
    assert result["saved_mib"]["full_path"] > result["saved_mib"]["nsum"]
    assert result["saved_mib"]["nsum"] > result["saved_mib"]["eager"]
    text = markdown(result)
    assert result["machine"]["cpu"] in text and "| meta_over_eager |" in text


@pytest.mark.slow
def test_the_step_benchmark_of_transformers_measures_every_figure():
    result = bench_t2t_step(rounds=1, batch=2, resolution=64)
    assert result["sampled_over_plain"] > 0.5 and result["folded_over_largest"] > 0.5
    # Five ratios keep one feature; at this size the masked weights weigh as much as the features.
    assert result["saved_folded_over_largest"] < 2
    assert "| folded_over_largest |" in markdown(result)


def test_doctor_says_which_kernels_run_and_why_not():
    done = subprocess.run([*NASTK, "doctor", "--json"], capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["CPU kernels"]["status"] in ("ok", "missing")
    environment = os.environ | {"NASTK_KERNELS": "definition"}
    done = subprocess.run(
        [*NASTK, "doctor"], capture_output=True, text=True, check=True, env=environment
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("CPU kernels"))
    assert "missing" in line and "NASTK_KERNELS=definition" in line
