"""Small tensors of fixed numbers, made once for each type and device that asks for them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Row = tuple[float, ...]


def vector(values: Row, like: Tensor) -> Tensor:
    """Return [N] these numbers in the type and on the device of `like`; never write to it."""
    return _made(values, like.dtype, like.device)


@lru_cache(maxsize=4096)
def _made(values: Row, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=dtype, device=device)


def steps(counts: tuple[int, ...], size: int, like: Tensor) -> Tensor:
    """Return [N, size]: in row n ones at the first `counts[n]` places, zeros behind."""
    return _steps(counts, size, like.dtype, like.device)


@lru_cache(maxsize=4096)
def _steps(counts: tuple[int, ...], size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    position = torch.arange(size, device=device)
    return torch.stack([(position < count).to(dtype) for count in counts])
