"""Each pass of a depthwise convolution: the compiled kernel beside torch's, share of the peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ..ops.kernels import torch_passes
from ..ops.kernels.cpu import compiled
from ..ops.kernels.cuda.dispatch import user_table
from ..ops.kernels.cuda.tuning import tune
from .method import machine

# C channels, H height and width, B batch, S stride, K kernel size

SHAPES = ((96, 56, 16), (192, 28, 32), (384, 14, 64))  # C, H, B
PASSES = ("forward", "data", "weight")
_LEAST_SECONDS = 0.01  # of one timing, short passes are repeated


def bench_kernels(
    *,
    rounds: int = 5,
    sizes: Sequence[int] = (3, 5, 7),
    strides: Sequence[int] = (1, 2),
    nchw: bool = False,
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
) -> dict[str, Any]:
    """Time every pass of float32 depthwise convolutions on one core of the CPU.

    Args:
        rounds: interleaved; medians are reported.
        sizes: kernel sizes.
        strides: of the convolutions.
        nchw: contiguous instead of channels-last features.
        shapes: channels, height and width, and batch of the features.

    Returns:
        `rows`, one a shape, kernel size, stride and pass: `shape K stride pass torch_gflops
        nastk_gflops share_of_matmul torch_over_nastk used`, where `used` names the kernel that
        the operators run; and `machine`.

    Raises:
        RuntimeError: if the compiled kernels are not there.
    """
    if not compiled.available():
        raise RuntimeError(f"there are no compiled kernels to time: {compiled.why_missing()}")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    peak = machine()
    layout = torch.contiguous_format if nchw else torch.channels_last
    try:
        cases = product(shapes, sizes, strides, PASSES)
        rows = [_row(*case, layout, rounds, peak["matmul_gflops"]) for case in cases]
    finally:
        torch.set_num_threads(before)
    return {"rows": rows, "machine": peak | {"layout": "NCHW" if nchw else "NHWC", "threads": 1}}


def tune_kernels() -> dict[str, Any]:
    """Time Triton against torch and cuDNN on this GPU; later runs follow the table of wins.

    Returns:
        `rows`, one a pass and shape: `key shape triton_ms torch_ms cudnn_ms ratio`; `table`, the
        file that was written; and `machine`.

    Raises:
        RuntimeError: if there is no CUDA device.
    """
    rows = [
        {
            "key": timing.key,
            "shape": "x".join(map(str, timing.shape)),
            "triton_ms": timing.triton_ms,
            "torch_ms": timing.torch_ms,
            "cudnn_ms": timing.cudnn_ms,
            "ratio": timing.ratio,
        }
        for timing in tune()
    ]
    gpu = {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return {"rows": rows, "table": {"path": str(user_table())}, "machine": machine() | gpu}


def _row(
    shape: tuple[int, int, int],
    K: int,
    stride: int,
    name: str,
    layout: torch.memory_format,
    rounds: int,
    peak: float,
) -> dict[str, Any]:
    C, H, B = shape
    x = torch.randn(B, C, H, H).contiguous(memory_format=layout)
    out = -(-H // stride)
    g = torch.randn(B, C, out, out).contiguous(memory_format=layout)
    w = torch.randn(C, 1, K, K)
    calls = _torch_pass(name, x, g, w, stride), _our_pass(name, x, g, w, stride)
    pairs = [tuple(_seconds(call) for call in calls) for _ in range(rounds + 1)][1:]
    theirs, ours = (statistics.median(times) for times in zip(*pairs, strict=True))
    flops = 2 * K * K * g.numel() / 1e9
    return {
        "shape": f"{C} x {H} x {B}",
        "K": K,
        "stride": stride,
        "pass": name,
        "torch_gflops": round(flops / theirs, 1),
        "nastk_gflops": round(flops / ours, 1),
        "share_of_matmul": round(flops / ours / peak, 2),
        "torch_over_nastk": round(statistics.median(a / b for a, b in pairs), 2),
        "used": "nastk" if compiled.prefers(name, x, K, stride) else "torch",
    }


def _seconds(call: Callable[[], object]) -> float:
    start, calls = time.process_time(), 0
    while time.process_time() - start < _LEAST_SECONDS:
        call()
        calls += 1
    return (time.process_time() - start) / calls


def _torch_pass(name: str, x: Tensor, g: Tensor, w: Tensor, stride: int) -> Callable[[], object]:
    C, K = w.shape[0], w.shape[-1]
    if name == "forward":
        return lambda: torch_passes.forward(x, w, stride)
    mask = [name == "data", name == "weight", False]
    return lambda: torch.ops.aten.convolution_backward(
        g, x, w, None, [stride] * 2, [K // 2] * 2, [1, 1], False, [0, 0], C, mask
    )


def _our_pass(name: str, x: Tensor, g: Tensor, w: Tensor, stride: int) -> Callable[[], object]:
    if name == "forward":
        return lambda: compiled.depthwise_forward(x, w, stride)
    if name == "data":
        height, width = x.shape[2:]
        return lambda: compiled.depthwise_backward_data(g, w, height, width, stride)
    return lambda: compiled.depthwise_backward_weight(x, g, w.shape[-1], stride)
