"""In which type networks compute; parameters, sums and updates stay float32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from .lookup import lookup

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def default_precision(device: torch.device) -> str:
    """Return bfloat16 on CUDA, where it is fast, and float32 elsewhere."""
    return "bfloat16" if device.type == "cuda" else "float32"


def find_precision(name: str | None, device: torch.device) -> str:
    """Return the precision of that name, the default of the device if None.

    Raises:
        ValueError: if there is none, or the device has no use for it.
    """
    if name is None:
        return default_precision(device)
    lookup("precision", name, PRECISIONS)
    if name == "float16" and device.type != "cuda":
        raise ValueError(
            "float16 needs --device cuda: its gradients are scaled by CUDA's optimisers; "
            "use bfloat16 or float32"
        )
    return name


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a forward pass computes in a precision."""
    is_low = precision != "float32"
    return torch.autocast(device.type, PRECISIONS[precision] if is_low else None, enabled=is_low)


def grad_scaler(precision: str, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps gradients in the range of float16; does nothing in other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def without_autocast(device: str) -> AbstractContextManager[object]:
    """Return a context without autocast on a type of device, for sums that need float32."""
    is_on = device in ("cpu", "cuda") and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if is_on else nullcontext()


def computing(
    network: Callable[..., Any], precision: str, device: torch.device
) -> Callable[..., Any]:
    """Return a network as a function that computes in a precision, whatever calls it."""

    def computed(*inputs: Tensor) -> Any:
        with autocast(precision, device):
            return network(*inputs)

    return computed
