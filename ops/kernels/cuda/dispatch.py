"""Says which implementation of a pass runs: the definition, Triton, or torch's own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..forced import forced
from ..layout import exactly, is_channels_last

TABLE = Path(__file__).with_name("wins.toml")

_TRITON = {
    "forward": "triton_depthwise",
    "backward_data": "triton_depthwise",
    "backward_weight": "triton_depthwise_weight",
    "backward_mixture": "triton_mixture",
    "norm_act": "triton_norm",
    "norm_act_reduce": "triton_norm",
    "norm_act_apply": "triton_norm",
}
PASSES = tuple(_TRITON)
_FEATURES = ("forward", "backward_data", "norm_act", "norm_act_apply")  # the rest are sums
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
Key = str
Table = dict[str, dict[Key, str]]


def backend(
    pass_name: str, x: Tensor, kernel: int = 1, stride: int = 1, *, is_fused: bool = False
) -> str:
    """Return the name of the implementation that runs a pass on a feature.

    The environment variable NASTK_KERNELS overrides the tables. Without it a CUDA feature follows
    the user's own table (`tuning.tune`) and then the committed one; what neither knows, and
    everything on a CPU, runs on torch's own operators.

    Args:
        pass_name: one of `PASSES`.
        x: [B, C, H, W] the feature that the pass reads.
        kernel: kernel size, 1 for passes without one.
        stride: of the convolution.
        is_fused: whether norm and activation are applied while x is read.

    Raises:
        ValueError: if NASTK_KERNELS is none of the ways to run, or Triton cannot run on x.
    """
    if wanted := forced():
        if wanted == "triton":
            _check_triton(x)
        return "torch" if wanted == "compiled" else wanted
    if x.device.type != "cuda" or x.dtype not in DTYPES:
        return "torch"
    major, minor = torch.cuda.get_device_capability(x.device)
    wins = tables().get(f"{major}.{minor}", {})
    return wins.get(shape_key(pass_name, x, kernel, stride, is_fused=is_fused), "torch")


def _check_triton(x: Tensor) -> None:
    if x.dtype not in DTYPES:
        raise ValueError(f"the Triton kernels take bfloat16, float16 or float32, got {x.dtype}")
    if x.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"the Triton kernels run on CUDA tensors (elsewhere TRITON_INTERPRET=1 interprets "
            f"them), got one on {x.device}"
        )


@cache
def implementation(pass_name: str, name: str) -> Callable[..., Any]:
    """Return the function that runs a pass: by `definition`, `triton` or `torch`.

    Raises:
        ImportError: if Triton is wanted and not installed.
    """
    if name == "triton" and find_spec("triton") is None:
        raise ImportError("the Triton kernels need Triton: pip install 'nastk[triton]'")
    module = f".{_TRITON[pass_name]}" if name == "triton" else f"..{name}_passes"
    function: Callable[..., Any] = getattr(import_module(module, __package__), pass_name)
    return function


def run(
    pass_name: str,
    x: Tensor,
    arguments: tuple[Any, ...],
    kernel: int = 1,
    stride: int = 1,
    *,
    is_fused: bool = False,
) -> Any:
    """Run a pass under its `backend` and return what it returns, a feature in the layout of x."""
    name = backend(pass_name, x, kernel, stride, is_fused=is_fused)
    function = implementation(pass_name, name)
    with torch.cuda.device(x.device if x.is_cuda else -1):  # Triton launches on the current one
        y = function(*arguments)
    return exactly(y, x) if pass_name in _FEATURES else y


def shape_key(
    pass_name: str, x: Tensor, kernel: int, stride: int, *, is_fused: bool = False
) -> Key:
    """Return the key of a table: pass, layout, dtype, kernel, stride and size class.

    Example:
        >>> shape_key("forward", torch.zeros(2, 8, 4, 4), 7, 1)
        'forward/contiguous/float32/k7/s1/small'
        >>> shape_key("forward", torch.zeros(2, 8, 4, 4), 7, 1, is_fused=True)
        'forward+act/contiguous/float32/k7/s1/small'
    """
    pass_name += "+act" * is_fused
    layout = "channels_last" if is_channels_last(x) else "contiguous"
    dtype = str(x.dtype).removeprefix("torch.")
    return f"{pass_name}/{layout}/{dtype}/k{kernel}/s{stride}/{size_class(x.numel())}"


def size_class(elements: int) -> str:
    """Return small, medium or large: launch-bound, in cache, or streamed from memory.

    Example:
        >>> [size_class(1 << n) for n in (18, 22, 26)]
        ['small', 'medium', 'large']
    """
    return "small" if elements < 1 << 20 else "medium" if elements < 1 << 24 else "large"


def user_table() -> Path:
    """Return where `tune` keeps what it measured on this machine."""
    cache_folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache_folder) / "nastk" / "kernel_wins.toml"


@cache
def tables() -> Table:
    """Return the committed wins with the user's own on top, read once; see `forget_tables`."""
    merged: Table = {}
    for path in (TABLE, user_table()):
        if path.exists():
            for capability, wins in read_table(path).items():
                merged.setdefault(capability, {}).update(wins)
    return merged


def forget_tables() -> None:
    """Read the tables anew at the next look-up."""
    tables.cache_clear()


def read_table(path: Path) -> Table:
    """Read a table of wins and check its values.

    Raises:
        ValueError: if an entry names anything but triton or torch.
    """
    table: Table = tomllib.loads(path.read_text())
    for capability, wins in table.items():
        for key, name in wins.items():
            wins[key] = "torch" if name == "native" else name  # as tables called it before
            if wins[key] not in ("triton", "torch"):
                raise ValueError(
                    f"{path}: [{capability}] {key} must be triton or torch, got '{name}'"
                )
    return table
