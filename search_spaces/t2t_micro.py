"""A small T2T-ViT space that ranks archs in minutes on embedded data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.space import Space
from .t2t import T2T


@dataclass(frozen=True, kw_only=True)
class T2TMicro(T2T):
    """A small T2T-ViT at 32 px that ranks archs in minutes on embedded data (sizes are nastk's)."""

    name: ClassVar[str] = "t2t-micro"
    recipe: ClassVar[str | None] = "small-tokens"
    # Transformers start slowly, and a step trains one slice of the weights.
    search_steps: ClassVar[int] = 1200

    resolution: int = 32
    num_classes: int = 10
    first_kernels: tuple[int, ...] = (3, 5, 7)
    token_widths: tuple[int, ...] = (8, 12, 16)
    depths: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    widths: tuple[int, ...] = (32, 48, 64, 80, 96)
    strides: tuple[int, int, int] = (2, 2, 2)
    head_width: int = 16
    init_std: float = 0.0

    def proxy(self) -> Space:
        """Return the space itself, which is small already."""
        return self
