"""Thousands of random shapes through the kernels under an address sanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++17", "-O1", "-g1", "-pthread", "-fsanitize=address,undefined"]


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs g++ or clang++")
def test_no_shape_reaches_beyond_its_memory_or_differs_from_naive_loops(tmp_path):
    driver, source = tmp_path / "fuzz", Path(__file__).with_name("fuzz_kernels.cpp")
    build = [COMPILER, *FLAGS, "-fno-sanitize-recover=all", "-o", driver, source]
    built = subprocess.run(build, capture_output=True, text=True)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    result = subprocess.run([driver, "2400"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr[:5000]
    assert result.stdout.startswith("2400 shapes agree")
