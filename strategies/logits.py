"""Search by logits: they learn by gradient which of the candidates, summed in weight space, win."""

from dataclasses import dataclass
from typing import ClassVar

from .differentiable import Differentiable


@dataclass(frozen=True, kw_only=True)
class LogitsSearch(Differentiable):
    """Differentiable search with one feature a choice (arXiv:1912.04749; settings are nastk's).

    `mixture` is `gumbel`, `softmax` or `straight_through`.
    """

    name: ClassVar[str] = "logits"
