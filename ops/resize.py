"""Pillow's resampling as a module, so that exported networks take pictures of any size.

Pillow shrinks by filters that widen with the ratio, in two passes, horizontal first, each of which
rounds to bytes: weights are whole multiples of 2^-22, sums are rounded and clipped. Both passes are
products with a matrix of weights here; they are computed in float64, which holds all these sums
exactly, so that every runtime gives the bytes that Pillow gives.
"""

# B batch, H height, W width, R side, L length of an axis before

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_PRECISION = float(2**22)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution with a = -0.5, which is Pillow's."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((x - 5) * x + 8) * x * -0.5 + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


_FILTERS: dict[str, Callable[[Tensor], Tensor]] = {"bilinear": _triangle, "bicubic": _cubic}


class Resize(nn.Module):
    """Cuts the middle out of pictures and brings it to H x W, byte for byte as Pillow does.

    Args:
        sides: H and W, in pixels.
        crop: how much is kept of the largest box in the middle that has the aspect of H and W, as
            a share of its sides; None keeps everything.
        resize: filter, `bilinear` or `bicubic`.

    Example:
        >>> image = torch.arange(24, dtype=torch.uint8).reshape(1, 1, 4, 6).expand(1, 3, 4, 6)
        >>> Resize((2, 2), crop=None, resize="bilinear")(image)[0, 0]
        tensor([[ 5.,  8.],
                [15., 18.]])
    """

    def __init__(self, sides: tuple[int, int], *, crop: float | None, resize: str) -> None:
        super().__init__()
        self.sides, self.crop, self.filter = sides, crop, _FILTERS[resize]

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Return whole numbers from 0 to 255 as float32 [B, 3, *sides]."""
        sizes = [torch.full((), n, dtype=torch.float64) for n in image_B3HW.shape[2:]]
        kept: list[Tensor | None] = [None, None]
        if self.crop is not None:
            shares = [side / max(self.sides) for side in self.sides]
            ends = [size / share for size, share in zip(sizes, shares, strict=True)]
            longer = torch.minimum(ends[1], ends[0]) * self.crop
            kept = [longer * share for share in shares]
        x = image_B3HW.double()
        x = _rounded(x @ self._weights(self.sides[1], x.shape[3], sizes[1], kept[1]).T)
        x = _rounded(self._weights(self.sides[0], x.shape[2], sizes[0], kept[0]) @ x)
        return x.float()

    def _weights(self, side: int, length: int, size: Tensor, kept: Tensor | None) -> Tensor:
        """Return [R, L] of what each pixel of an axis gives, in multiples of 2^-22."""
        start = torch.zeros_like(size) if kept is None else (size - kept) / 2
        stop = size if kept is None else start + kept
        # Pillow holds the ends of what is kept as float32.
        start, span = start.float().double(), (stop.float() - start.float()).double()
        scale = span / side
        width = scale.clamp(min=1)
        centres_R = start + (torch.arange(side, dtype=torch.float64) + 0.5) * scale
        pixels_L = torch.arange(length, dtype=torch.float64) + 0.5
        weights_RL = self.filter((pixels_L - centres_R[:, None]) / width)
        weights_RL = weights_RL / weights_RL.sum(1, keepdim=True) * _PRECISION
        # Halves are rounded away from zero.
        return weights_RL.sign() * (weights_RL.abs() + 0.5).floor()


def _rounded(x: Tensor) -> Tensor:
    return (x / _PRECISION + 0.5).floor().clamp(0, 255)
