"""What the single-feature operator reads of the modules that own norms and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .kernels.route import Geometry

# C channels, O output channels, I input channels of a group, K kernel size, N candidates


@dataclass(frozen=True, kw_only=True)
class Norm:
    """A batch normalisation, read from the module that owns it.

    Attributes:
        weight: [C], or None for ones.
        bias: [C], or None for zeros.
        running_mean: [D] all channels of the owner, or None where it keeps no statistics.
        running_var: likewise.
        index: which of the owner's D channels the C are.
        uses_batch: whether the batch's statistics normalise (training), or the running ones.
        momentum: share of the batch in the running statistics.
        eps: added to the variance.
        group: processes whose batches count as one (SyncBatchNorm), or None.
        gain: [C] or [], a factor on what comes out, or None.
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    index: Tensor | slice
    uses_batch: bool
    momentum: float
    eps: float
    group: Any = None
    gain: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The candidates of a depthwise kernel, [O, 1, K_n, K_n] each, and their weights."""

    kernels: tuple[Tensor, ...]
    probs: Tensor  # [N] or [O, N]


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution under its current mixtures.

    Attributes:
        weight: [O, I, K, K].
        bias: [O], or None.
        geometry: where it reads.
        mixture: what `weight` is the sum of, where that sum has no gradient of its own: the
            backward pass then hands the gradient of the weight to the candidates.
    """

    weight: Tensor
    bias: Tensor | None
    geometry: Geometry
    mixture: Mixture | None = None

    @property
    def candidates(self) -> tuple[Tensor, ...]:
        """The weights of the mixture and its kernels; nothing where there is no mixture."""
        return () if self.mixture is None else (self.mixture.probs, *self.mixture.kernels)


def mixed(fold: Callable[[], Conv], kernels: Sequence[Tensor], probs: Tensor) -> Conv:
    """Return a depthwise convolution whose weight is a sum of candidates.

    The sum has no gradient of its own: the convolution's backward pass hands the gradient of the
    weight to the candidates.

    Args:
        fold: makes the convolution.
        kernels: N candidates [O, 1, K_n, K_n].
        probs: [N] or [O, N], their weights.
    """
    if torch.compiler.is_compiling():
        return fold()
    with torch.no_grad():
        conv = fold()
    return replace(conv, mixture=Mixture(kernels=tuple(kernels), probs=probs))
