"""Small tensors of fixed numbers, made once for each type and device that asks for them."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

_MADE: dict[Hashable, Tensor] = {}


def remembered(key: Hashable, make: Callable[[], Tensor], made: dict[Hashable, Tensor]) -> Tensor:
    """Return what `make` returned for the key before, or make it; never write to the result.

    What is made inside inference mode, or by a mode that makes fake tensors, is of no use outside
    of it and is not remembered.
    """
    if torch.compiler.is_compiling():
        return make()
    found = made.get(key)
    if found is None:
        found = make()
        if type(found) is Tensor and not found.is_inference():
            made[key] = found
    return found


def vector(values: tuple[float, ...] | tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """Return [N] or [M, N] these numbers in the type and on the device of `like`.

    Never write to them.
    """
    key = (values, like.dtype, like.device)
    return remembered(key, lambda: like.new_tensor(values), _MADE)


def steps(counts: tuple[int, ...], size: int, like: Tensor) -> Tensor:
    """Return [N, size]: in row n ones at the first `counts[n]` places, zeros behind."""

    def make() -> Tensor:
        rows = [[float(place < count) for place in range(size)] for count in counts]
        return like.new_tensor(rows)

    return remembered((counts, size, like.dtype, like.device), make, _MADE)
