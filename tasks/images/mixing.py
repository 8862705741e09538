"""Augmentation of whole batches: mixup, cutmix and random erasing."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# B batch, C channels, H height, W width, K classes


def mix(
    x_BCHW: Tensor,
    labels_B: Tensor,
    num_classes: int,
    *,
    mixup: float,
    cutmix: float,
    generator: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Mix every image with the one at the other end of the batch, and their labels alike.

    One draw serves the batch: mixup (arXiv:1710.09412) blends whole images, cutmix
    (arXiv:1905.04899) pastes a rectangle. Where both are on, each has half of the batches.

    Args:
        x_BCHW: images.
        labels_B: their classes.
        num_classes: K.
        mixup: both parameters of the Beta distribution of the share that stays; 0 is off.
        cutmix: the same for cutmix.
        generator: the only source of randomness.

    Returns:
        Images, and [B, K] the share of each class.
    """
    targets_BK = F.one_hot(labels_B, num_classes).to(x_BCHW.dtype)
    if not mixup and not cutmix:
        return x_BCHW, targets_BK
    pastes = bool(cutmix) and (not mixup or generator.random() < 0.5)
    concentration = cutmix if pastes else mixup
    share = float(generator.beta(concentration, concentration))
    other = x_BCHW.flip(0)
    if pastes:
        height, width = x_BCHW.shape[2:]
        rows, columns = _rectangle(height, width, 1 - share, generator)
        x_BCHW = x_BCHW.clone()
        x_BCHW[:, :, rows, columns] = other[:, :, rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        share = 1 - area / (height * width)  # the rectangle may reach over the edge
    else:
        x_BCHW = share * x_BCHW + (1 - share) * other
    return x_BCHW, share * targets_BK + (1 - share) * targets_BK.flip(0)


def _rectangle(
    height: int, width: int, area: float, generator: np.random.Generator
) -> tuple[slice, slice]:
    """Return rows and columns around a uniform centre, cut at the edges."""
    sides = []
    for size in (height, width):
        reach = int(size * math.sqrt(area)) // 2
        centre = int(generator.integers(size))
        sides.append(slice(max(centre - reach, 0), min(centre + reach, size)))
    return sides[0], sides[1]


def erase(x_BCHW: Tensor, share: float, generator: np.random.Generator) -> Tensor:
    """Fill a random rectangle with noise, a normal number a pixel, in some of the images.

    Random erasing (arXiv:1708.04896) of 2 to 33 % of the area, at an aspect of 0.3 to 3.3.

    Args:
        x_BCHW: standardised images.
        share: of the images that lose a rectangle.
        generator: the only source of randomness.
    """
    x_BCHW = x_BCHW.clone()
    channels, height, width = x_BCHW.shape[1:]
    for image in x_BCHW:
        if generator.random() >= share:
            continue
        for _ in range(10):  # until a rectangle fits
            area = generator.uniform(0.02, 1 / 3) * height * width
            aspect = math.exp(generator.uniform(math.log(0.3), -math.log(0.3)))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < h < height and 0 < w < width:
                top, left = generator.integers(height - h + 1), generator.integers(width - w + 1)
                noise = torch.from_numpy(generator.standard_normal((channels, h, w)))
                image[:, top : top + h, left : left + w] = noise.to(x_BCHW)
                break
    return x_BCHW
