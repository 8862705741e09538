"""What a network is fed with: counting, tracing, timing and export ask here for examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# B batch


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Shape and type of one input of a network, without the batch.

    Attributes:
        shape: `(3, 224, 224)` of an image, `(128,)` of tokens, `(3, 8, 112, 112)` of a clip.
        dtype: of the tensor.
        high: integers are from 0 up to below it; None for 0 and 1.
        name: what an exported file calls the input.

    Example:
        >>> Spec(shape=(3, 4, 6)).example(2).shape
        torch.Size([2, 3, 4, 6])
        >>> tokens = Spec(shape=(5,), dtype=torch.int64, high=100, name="tokens")
        >>> tokens.example(device="meta")
        tensor(..., device='meta', size=(1, 5), dtype=torch.int64)
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    high: int | None = None
    name: str = "image"

    def example(self, batch: int = 1, *, device: str = "cpu", seed: int = 0) -> Tensor:
        """Return a tensor [B, *shape] of noise; one without values on the meta device."""
        if device == "meta":
            return torch.empty(batch, *self.shape, dtype=self.dtype, device="meta")
        return self.noise(batch, torch.Generator().manual_seed(seed)).to(device)

    def noise(self, batch: int, generator: torch.Generator) -> Tensor:
        """Return a tensor [B, *shape]: normal floats, or integers that are all as likely."""
        shape = (batch, *self.shape)
        if self.dtype.is_floating_point:
            return torch.randn(shape, dtype=self.dtype, generator=generator, device="cpu")
        drawn = torch.randint(self.high or 2, shape, generator=generator, device="cpu")
        return drawn.to(self.dtype)

    def __str__(self) -> str:
        """Say it in words.

        Example:
            >>> print(Spec(shape=(3, 28, 28)))
            image float32 [B, 3, 28, 28]
        """
        kind = str(self.dtype).removeprefix("torch.")
        return f"{self.name} {kind} [{', '.join(map(str, ('B', *self.shape)))}]"


def examples(
    specs: Sequence[Spec], batch: int = 1, *, device: str = "cpu", seed: int = 0
) -> tuple[Tensor, ...]:
    """Return an example of each input in their order, no two of them alike."""
    if device == "meta":
        return tuple(spec.example(batch, device=device) for spec in specs)
    generator = torch.Generator().manual_seed(seed)
    return tuple(spec.noise(batch, generator).to(device) for spec in specs)
