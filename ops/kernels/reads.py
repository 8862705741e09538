"""How a convolution reads a feature: through which norm and activation, and where."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

# C channels


@dataclass(frozen=True, kw_only=True)
class Affine:
    """act(scale * z + shift), applied to a feature while it is read.

    Attributes:
        scale: [C].
        shift: [C].
        act: `identity`, `relu`, `relu6` or `silu`.
    """

    scale: Tensor
    shift: Tensor
    act: str


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where a convolution reads, equal in height and width."""

    stride: int
    padding: int
    dilation: int
    groups: int
