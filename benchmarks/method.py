"""How everything here is timed: one process, variants in turn, medians, and the machine named."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.machine import cpu_name
from ..ops.kernels import route


def interleaved(steps: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of every step in every round, A B C A B C..., after two warm-ups."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if number >= 2:
                seconds[name].append(time.process_time() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], above: str, below: str) -> float:
    """Return the median over rounds of one step's time divided by another's."""
    pairs = zip(seconds[above], seconds[below], strict=True)
    return statistics.median(a / b for a, b in pairs)


def saved_bytes(run: Callable[[], Tensor], network: nn.Module | None = None) -> int:
    """Return the bytes that a forward pass keeps, each storage once.

    Args:
        run: the forward pass.
        network: whose parameters and buffers do not count.
    """
    own = set()
    if network is not None:
        tensors = [*network.parameters(), *network.buffers()]
        own = {t.untyped_storage().data_ptr() for t in tensors}
    storages = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = run()
    assert y.requires_grad
    return sum(s.nbytes() for key, s in storages.items() if key not in own)


def machine() -> dict[str, Any]:
    """Return what figures depend on, with the speed of a matmul and of a copy, one thread."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        a = torch.randn(1024, 1024)
        source = torch.randn(16 << 20)
        target = torch.empty_like(source)
        # The fastest of many short tries: what the core reaches when nobody disturbs it.
        matmul = min(_seconds(lambda: a @ a) for _ in range(15))
        copy = min(_seconds(lambda: target.copy_(source)) for _ in range(8))
    finally:
        torch.set_num_threads(before)
    return {
        "cpu": cpu_name(),
        "kernels": route.describe(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "layout": "NHWC",
        "dtype": "float32",
        "seed": 0,
        "malloc": os.environ.get("MALLOC_TOP_PAD_", "default"),
        "load": round(os.getloadavg()[0], 2),
        "matmul_gflops": round(2 * 1024**3 / matmul / 1e9, 1),
        "copy_gb_per_second": round(2 * source.nbytes / copy / 1e9, 1),
    }


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start
