"""Gumbel search: a step runs candidates that are drawn from the logits, not all of them."""

from dataclasses import dataclass
from typing import ClassVar

from ..ops.mixture import SAMPLED_MIXTURES
from ..training.setting import setting
from .budget_term import BUDGET_TERMS
from .differentiable import Differentiable


@dataclass(frozen=True, kw_only=True)
class Gumbel(Differentiable):
    """Differentiable search with one or two sampled candidates a choice and step.

    `mixture` is

    - `two_path`: two candidates are drawn by Gumbel noise and mixed by their softmax;
    - `binary`: of two candidates drawn one runs, and the gradient reaches the logits of both, as
      by the binary gates of ProxylessNAS (arXiv:1812.00332, section 3.2);
    - `straight_through`: one candidate runs, and the gradient reaches the logits of all through
      the Gumbel-softmax (arXiv:1611.01144, section 2.2).

    Weights of candidates that were not drawn keep still, in the warm-up too.
    """

    name: ClassVar[str] = "gumbel"
    is_sampled: ClassVar[bool] = True

    mixture: str = setting("two_path", among=SAMPLED_MIXTURES)
    budget_term: str = setting("smooth", among=tuple(BUDGET_TERMS))
