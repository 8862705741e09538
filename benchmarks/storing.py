"""The single-feature operator made to store what it computes again, to price the recomputing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from ..ops.kernels import route
from ..ops.kernels.route import Affine, Geometry


class Storing:
    """While entered, every convolution keeps its activated input until its backward pass.

    Kernels, order and numbers are those of the product: the forward pass writes act(norm(z)) once
    and hands it to the convolution, and the backward pass of the convolution reads it instead of
    computing it again from z. The norm's own backward pass reads z in both. What is not priced
    are kernels that would not read z at all, which do not exist.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Tensor] = {}

    def __enter__(self) -> None:
        self._conv, self._backward = route.conv, route.conv_backward
        route.conv, route.conv_backward = self._store, self._read

    def __exit__(self, *_: object) -> None:
        route.conv, route.conv_backward = self._conv, self._backward
        self._kept.clear()

    def _store(
        self, x: Tensor, affine: Affine | None, weight: Tensor, bias: Tensor | None, at: Geometry
    ) -> Tensor:
        if affine is not None:
            self._kept[x.data_ptr()] = activated = route.norm_act(x, affine)
            x = activated
        return self._conv(x, None, weight, bias, at)

    def _read(
        self, grad: Tensor, x: Tensor, affine: Affine | None, *rest: Any
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        a = x if affine is None else self._kept.pop(x.data_ptr())
        return self._backward(grad, a, None, *rest)


def stored(update: Callable[[], object]) -> Callable[[], object]:
    """Return an update whose convolutions store their inputs."""

    def run() -> None:
        with Storing():
            update()

    return run
