"""A block states its body as an ordered list of (convolution, norm, activation)."""

from collections.abc import Sequence

from torch import Tensor, nn

from .norm import scaled_batch_norm


class Step(nn.Module):
    """One convolution with the norm and the activation behind it, either of which may be absent."""

    def __init__(
        self, conv: nn.Module, norm: nn.Module | None = None, act: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Return act(norm(conv(x)))."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x if self.act is None else self.act(x)


class Chain(nn.Module):
    """Steps that run one after the other, with other operators in between where need be."""

    def __init__(self, steps: Sequence[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        """Run every step."""
        for step in self.steps:
            x = step(x)
        return x

    @property
    def can_scale(self) -> bool:
        """Whether the chain ends in a norm, into which a gain can be folded."""
        last = self.steps[-1]
        return isinstance(last, Step) and last.norm is not None and last.act is None

    def scaled(self, x: Tensor, gain: Tensor) -> Tensor:
        """Return `gain * chain(x)` without storing one more feature; needs `can_scale`."""
        for step in self.steps[:-1]:
            x = step(x)
        last = self.steps[-1]
        assert isinstance(last, Step) and last.norm is not None
        return scaled_batch_norm(last.norm, last.conv(x), gain)
