"""Times Triton against torch's own kernels and cuDNN, and writes down which wins per shape."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..layout import output_size
from .dispatch import Table, forget_tables, implementation, read_table, user_table
from .dispatch import shape_key as key_of

# B batch, C channels, H height, W width, K kernel size

REPETITIONS = 50
ROUNDS = 5
WARM_UPS = 2  # rounds: the first one compiles
COLD_BYTES = 256 << 20  # a write of this size between repetitions empties the cache
# B, C, H, W of MobileNet-like networks: one of each size class and a few between.
SHAPES = ((64, 144, 14, 14), (64, 96, 28, 28), (64, 144, 56, 56), (128, 384, 14, 14))


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Milliseconds of one pass on one shape, the least of several rounds for each contestant."""

    key: str  # as in the table, see `dispatch.shape_key`
    shape: tuple[int, ...]  # of the feature that the pass reads
    triton_ms: float
    torch_ms: float  # torch's own kernels, cuDNN switched off
    cudnn_ms: float  # torch with cuDNN, asked for depthwise kernels where torch can be asked

    @property
    def ratio(self) -> float:
        """Time of the better of torch and cuDNN, over that of Triton: above 1 Triton wins."""
        return min(self.torch_ms, self.cudnn_ms) / self.triton_ms


def tune(
    path: Path | None = None,
    *,
    shapes: Iterable[tuple[int, int, int, int]] = SHAPES,
    kernels: Iterable[int] = (3, 5, 7),
    strides: Iterable[int] = (1, 2),
    dtypes: Iterable[torch.dtype] = (torch.bfloat16, torch.float16, torch.float32),
    report: Callable[[Timing], None] = lambda timing: None,
) -> list[Timing]:
    """Time every pass on this GPU and write the wins, which later runs follow.

    Triton is entered where it beats both torch and cuDNN on all shapes of an entry's size class.

    Args:
        path: where the table goes, or None for `dispatch.user_table()`. Entries of other GPUs
            and other shapes that it holds already are kept.
        shapes: [B, C, H, W] of the features.
        kernels: kernel sizes.
        strides: of the convolutions.
        dtypes: of the features.
        report: called with each timing as it comes.

    Returns:
        The timings.

    Raises:
        RuntimeError: if there is no CUDA device.
    """
    if not torch.cuda.is_available():
        raise RuntimeError("tuning times kernels on a GPU, and torch finds no CUDA device here")
    timings = []
    for shape, dtype, last in product(shapes, dtypes, (True, False)):
        for trial in trials(shape, dtype, last, list(kernels), list(strides)):
            timings.append(_time(trial))
            report(timings[-1])
    major, minor = torch.cuda.get_device_capability()
    write_wins(path or user_table(), f"{major}.{minor}", wins(timings))
    return timings


def wins(timings: Iterable[Timing]) -> dict[str, str]:
    """Return triton or torch for each key: triton where it is faster on every shape of the key.

    Example:
        >>> slow, fast = (
        ...     Timing(key="a", shape=(1,), triton_ms=t, torch_ms=2.0, cudnn_ms=3.0)
        ...     for t in (2.5, 1.0)
        ... )
        >>> wins([fast]), wins([fast, slow])
        ({'a': 'triton'}, {'a': 'torch'})
    """
    least: dict[str, float] = {}
    for timing in timings:
        least[timing.key] = min(timing.ratio, least.get(timing.key, math.inf))
    return {key: "triton" if ratio > 1 else "torch" for key, ratio in least.items()}


def write_wins(path: Path, capability: str, entries: dict[str, str]) -> None:
    """Add the entries of one GPU to a table on disk."""
    table: Table = read_table(path) if path.exists() else {}
    table.setdefault(capability, {}).update(entries)
    lines = [f"# Written by {__name__}.tune with torch {torch.__version__}."]
    for name in sorted(table):
        lines += ["", f'["{name}"]']
        lines += [f'"{key}" = "{value}"' for key, value in sorted(table[name].items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    forget_tables()


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One pass with the arguments of one call."""

    pass_name: str
    x: Tensor
    arguments: tuple[Any, ...]
    kernel: int = 1
    stride: int = 1

    @property
    def key(self) -> str:
        """Entry of the table, as a call with these arguments looks it up."""
        is_fused = "norm" not in self.pass_name and isinstance(self.arguments[-1], str)
        return key_of(self.pass_name, self.x, self.kernel, self.stride, is_fused=is_fused)


def trials(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    last: bool,
    kernels: list[int],
    strides: list[int],
    device: str = "cuda",
) -> Iterator[Trial]:
    """Yield every pass, those of convolutions also with norm and activation while they read."""
    B, C, H, W = shape
    layout = torch.channels_last if last else torch.contiguous_format

    def feature(height: int, width: int) -> Tensor:
        x = torch.randn(B, C, height, width, device=device, dtype=dtype)
        return x.contiguous(memory_format=layout)

    x, vectors = feature(H, W), list(torch.rand(6, C, device=device))
    for kernel, stride in product(kernels, strides):
        mixed = [torch.randn(C, 1, k, k, device=device) for k in range(1, kernel + 1, 2)]
        probs = torch.full((len(mixed),), 1 / len(mixed), device=device)
        dy = feature(output_size(H, stride), output_size(W, stride))
        data = (dy, mixed[-1], H, W, stride)
        trial = partial(Trial, kernel=kernel, stride=stride)
        yield trial(pass_name="backward_data", x=dy, arguments=data)
        for norm in ((), (*vectors[:2], "relu6")):
            calls: dict[str, tuple[Any, ...]] = {
                "forward": (x, mixed[-1], stride),
                "backward_weight": (x, dy, kernel, stride),
                "backward_mixture": (x, dy, mixed, probs, stride),
            }
            for name, arguments in calls.items():
                yield trial(pass_name=name, x=x, arguments=(*arguments, *norm))
    da = feature(H, W)
    yield Trial(pass_name="norm_act", x=x, arguments=(x, *vectors[:2], "relu6"))
    yield Trial(pass_name="norm_act_reduce", x=x, arguments=(da, x, *vectors[:4], "relu6"))
    yield Trial(pass_name="norm_act_apply", x=x, arguments=(da, x, *vectors[:5], "relu6"))


def _time(trial: Trial) -> Timing:
    """Time the contestants in turn, round by round, and keep the least of each."""
    triton = implementation(trial.pass_name, "triton")
    plain = implementation(trial.pass_name, "torch")
    contestants = {"triton": triton, "torch": plain, "cudnn": plain}
    cold = torch.empty(COLD_BYTES, dtype=torch.int8, device="cuda")
    least = dict.fromkeys(contestants, math.inf)
    for n in range(WARM_UPS + ROUNDS):
        for name, function in contestants.items():
            with _cudnn(enabled=name == "cudnn"):
                spent = _milliseconds(function, trial.arguments, cold)
            if n >= WARM_UPS:
                least[name] = min(least[name], spent)
    return Timing(
        key=trial.key,
        shape=tuple(trial.x.shape),
        triton_ms=least["triton"],
        torch_ms=least["torch"],
        cudnn_ms=least["cudnn"],
    )


def _cudnn(*, enabled: bool) -> AbstractContextManager[Any]:
    """Return torch's setting with cuDNN off, or on and asked for in depthwise convolutions."""
    flags: Any = torch.backends.cudnn.flags
    asked = (
        {"depthwise_kernel": "cudnn"} if "depthwise_kernel" in signature(flags).parameters else {}
    )
    setting: AbstractContextManager[Any] = flags(enabled=enabled, **(asked if enabled else {}))
    return setting


def _milliseconds(
    function: Callable[..., Tensor], arguments: tuple[Any, ...], cold: Tensor
) -> float:
    """Return the median time of a call that finds the cache cold."""
    event: Any = torch.cuda.Event
    pairs = []
    for _ in range(REPETITIONS):
        cold.zero_()
        start, end = event(enable_timing=True), event(enable_timing=True)
        start.record()
        function(*arguments)
        end.record()
        pairs.append((start, end))
    torch.cuda.synchronize()
    spent: list[float] = [start.elapsed_time(end) for start, end in pairs]
    return statistics.median(spent)
