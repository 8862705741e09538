"""Two operators of which one runs, their features summed while that is undecided."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ..core.choice import Choice, Part, Value
from ..core.meta import MetaOperator
from ..core.supernet import extract_part
from ..core.trace import active_tracer, gate
from .constants import vector


def either(
    keep: int | Choice, branch: Callable[[], nn.Module], other: Callable[[], nn.Module]
) -> nn.Module:
    """Return the branch where `keep` is 1 and the other operator where it is 0.

    While that is undecided both run, and their features are added with the probability of each: a
    block that changes the shape of its feature has no shortcut that costs nothing, so that two
    features exist there.

    Args:
        keep: 1, 0, or a choice whose values are these.
        branch: makes the one operator.
        other: makes the other; both give features of one shape.

    Raises:
        ValueError: if a value of `keep` is neither 0 nor 1.
    """
    values = keep.values if isinstance(keep, Choice) else (keep,)
    if any(value not in (0, 1) for value in values):
        raise ValueError(f"either takes keep 0 or 1, got {values}")
    if isinstance(keep, Choice):
        return MetaEither(keep, branch(), other())
    return branch() if keep else other()


class MetaEither(MetaOperator):
    """keep * branch(x) + (1 - keep) * other(x)."""

    def __init__(self, keep: Choice, branch: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.keep, self.branch, self.other = keep, branch, other

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the operator that is decided, or the weighted sum of both."""
        if active_tracer() is not None:
            return self._trace(x)
        slot, values = self.keep.slot, self.keep.values
        if slot.probs_N is None:
            assert slot.index is not None
            y: Tensor = self.branch(x) if values[slot.index] else self.other(x)
            return y
        probs_N = slot.probs_N.to(x)
        share = torch.dot(probs_N, vector(values, probs_N))
        total = probs_N.sum()  # a mixture need not sum to one
        features = []
        for which, weight, operator in (1, share, self.branch), (0, total - share, self.other):
            mixed = (slot.part(n) for n, value in enumerate(values) if value == which)
            if (part := max(mixed, default=Part.NONE)) is not Part.NONE:
                features.append(weight * part.run(operator, x))
        y, *others = features
        return sum(others, y)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain operator of `arch`."""
        is_kept = self.keep.values[self.keep.position(arch[self.keep.name])]
        return extract_part(self.branch if is_kept else self.other, arch)

    def _trace(self, x: Tensor) -> Tensor:
        tracer = active_tracer()
        assert tracer is not None
        tracer.use(self.keep, self.keep.values)
        with gate(self.keep, [not value for value in self.keep.values]):
            self.other(x)
        with gate(self.keep, [bool(value) for value in self.keep.values]):
            y: Tensor = self.branch(x)
        return y
