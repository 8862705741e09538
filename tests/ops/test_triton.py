"""Runs the agreement of Triton kernels with their definitions: interpreted, and on CUDA."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

needs_triton = pytest.mark.skipif(not find_spec("triton"), reason="triton is not installed")
AGREEMENT = Path(__file__).with_name("triton_agreement.py")


def run_agreement(device, marks, folder, **environment):
    """Run triton_agreement.py in a process of its own, as Triton's mode is fixed at import."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marks, AGREEMENT],
        env={
            **os.environ,
            "NASTK_TEST_DEVICE": device,
            "NASTK_KERNELS": "triton",
            "TRITON_CACHE_DIR": str(folder),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


@pytest.mark.slow
@needs_triton
def test_interpreted_kernels_agree_with_their_definitions(tmp_path):
    run_agreement("cpu", "not slow", tmp_path, TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_interpreted_kernels_agree_over_the_whole_range(tmp_path):
    run_agreement("cpu", "slow", tmp_path, TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_compiled_kernels_agree_over_the_whole_range(tmp_path):
    run_agreement("cuda", "slow or not slow", tmp_path, TRITON_INTERPRET="0")
