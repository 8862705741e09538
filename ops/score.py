"""How the logits of choices that only slice weights learn: by the score function."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..core.choice import Choice

# D decisions, N candidates

_MEMORY = 0.9  # share of the baseline that a step keeps


class ScoreFunction(nn.Module):
    """Pulls logits towards sampled candidates whose loss was below the usual.

    Where a choice only cuts weights, no output can be multiplied by a gate, and the gradient of
    the expected loss is that of REINFORCE: (loss - baseline) * grad log p(sampled). The baseline
    is a moving average of the losses.

    Attributes:
        rows: numbers of the choices that learn so, among all choices of the supernet.
        baseline: of the losses so far, not a number before the first.
    """

    baseline: Tensor

    def __init__(self, choices: Iterable[Choice]) -> None:
        super().__init__()
        self.choices = [(row, c) for row, c in enumerate(choices) if c.slot.sampled == "slice"]
        self.register_buffer("baseline", torch.tensor(torch.nan, dtype=torch.float64))

    @property
    def rows(self) -> list[int]:
        """Numbers of the choices that learn by the score function."""
        return [row for row, _ in self.choices]

    def forward(self, loss: Tensor, log_probs_DN: Tensor) -> Tensor:
        """Return the loss, with the gradient of the expected loss in the logits added.

        Args:
            loss: of the candidates that the choices' slots have drawn.
            log_probs_DN: [D, N] logarithms of the probabilities from which they were drawn.
        """
        if not self.choices:
            return loss
        value = loss.detach().double()
        usual = torch.where(self.baseline.isnan(), value, self.baseline)
        self.baseline.copy_(_MEMORY * usual + (1 - _MEMORY) * value)
        drawn = torch.tensor([choice.slot.index for _, choice in self.choices])
        scores = log_probs_DN[torch.tensor(self.rows), drawn].sum()
        term = (value - usual).to(scores) * scores
        return loss + (term - term.detach()).to(loss)
