"""Compiled sum of candidate kernels and its gradients: one call each, whatever their number."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from .arguments import is_real
from .library import Library, find

# O output channels, I input channels of a group, K kernel size, N candidates


def supports(kernels: Sequence[Tensor], probs: Tensor, columns_I: Tensor | None) -> bool:
    """Tell whether the compiled fold takes these: float32 on the CPU, kernels contiguous."""
    if find()[0] is None or not _is_plain(probs):
        return False
    first = kernels[0].shape
    rows = (first[0], len(kernels))
    if probs.shape != rows[2 - probs.dim() :]:
        return False
    for kernel in kernels:
        shape = kernel.shape
        fits = len(shape) == 4 and shape[2] == shape[3] and shape[:2] == first[:2]
        if not (fits and _is_plain(kernel) and kernel.numel() and kernel.is_contiguous()):
            return False
    return columns_I is None or (_is_plain(columns_I) and columns_I.shape == first[1:2])


def _is_plain(x: Tensor) -> bool:
    return x.dtype is torch.float32 and x.is_cpu and is_real(x)


class _Candidates:
    """The arguments that both directions share, kept alive during the call."""

    def __init__(self, kernels: Sequence[Tensor], probs: Tensor, columns_I: Tensor | None) -> None:
        self.O, self.I = kernels[0].shape[:2]
        sizes = [kernel.shape[-1] for kernel in kernels]
        self.N, self.K = len(sizes), max(sizes)
        self.probs = probs.contiguous()
        self.columns = None if columns_I is None else columns_I.contiguous()
        self.addresses = (ctypes.c_void_p * self.N)(*[kernel.data_ptr() for kernel in kernels])
        self.sizes = (ctypes.c_long * self.N)(*sizes)

    def arguments(self) -> tuple[int | None, ...]:
        columns = None if self.columns is None else self.columns.data_ptr()
        return (
            *(ctypes.addressof(self.addresses), ctypes.addressof(self.sizes)),
            *(self.N, self.O, self.I, self.K),
            *(self.probs.data_ptr(), int(self.probs.dim() == 2), columns),
        )


def _loaded() -> Library:
    library = find()[0]
    assert library is not None
    return library


def fold(kernels: Sequence[Tensor], probs: Tensor, columns_I: Tensor | None = None) -> Tensor:
    """Return [O, I, K, K], the sum of centred kernels; needs `supports`.

    Args:
        kernels: N tensors [O, I, K_n, K_n].
        probs: [N] or [O, N].
        columns_I: [I] factor on every input column, or None.
    """
    candidates = _Candidates(kernels, probs, columns_I)
    shape = (candidates.O, candidates.I, candidates.K, candidates.K)
    folded = torch.empty(shape, dtype=torch.float32)
    threads = torch.get_num_threads()
    _loaded().call("fold", threads, *candidates.arguments(), folded.data_ptr())
    return folded


def fold_backward(
    kernels: Sequence[Tensor],
    probs: Tensor,
    columns_I: Tensor | None,
    grad: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of probs, columns and every kernel; None where `needs` is false.

    Args:
        kernels: N tensors [O, I, K_n, K_n].
        probs: [N] or [O, N].
        columns_I: [I] factor on every input column, or None.
        grad: [O, I, K, K] gradient of the folded kernel.
        needs: for probs, columns and every kernel whether its gradient is wanted.
    """
    candidates = _Candidates(kernels, probs, columns_I)
    grad = grad.contiguous()
    wanted = [
        None if tensor is None or not need else torch.empty(tensor.shape, dtype=torch.float32)
        for tensor, need in zip((probs, columns_I, *kernels), needs, strict=True)
    ]
    addresses = [None if tensor is None else tensor.data_ptr() for tensor in wanted]
    grad_kernels = (ctypes.c_void_p * candidates.N)(*addresses[2:])
    _loaded().call(
        "fold_backward",
        torch.get_num_threads(),
        *candidates.arguments(),
        *(grad.data_ptr(), ctypes.addressof(grad_kernels), *addresses[:2]),
    )
    return tuple(wanted)
