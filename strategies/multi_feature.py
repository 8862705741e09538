"""Multi-feature search: every candidate runs, and the features are summed."""

from dataclasses import dataclass
from typing import ClassVar

from .differentiable import Differentiable


@dataclass(frozen=True, kw_only=True)
class MultiFeature(Differentiable):
    """What DARTS (arXiv:1806.09055) does at an edge, with the training of `logits`.

    Both compute the same function, this one at the time and memory of all candidates: it is the
    baseline of what folding saves. `mixture` is `gumbel`, `softmax` (that of DARTS) or
    `straight_through`; DARTS itself has `level=bilevel`.
    """

    name: ClassVar[str] = "multi_feature"
    sums_features: ClassVar[bool] = True
    share_of_steps: ClassVar[float] = 0.42  # its steps take longer than those of logits
