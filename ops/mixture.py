"""How logits become mixtures: softmax, Gumbel-softmax, straight-through, and their temperature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# D decisions, N candidates

MIXTURES = ("gumbel", "softmax", "straight_through")


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """Geometric schedule over the share of the search that is done.

    Attributes:
        start: temperature at share 0.
        end: temperature at share 1.

    Example:
        >>> Temperature(start=4.0, end=1.0).at(0.5)
        2.0
    """

    start: float = 5.0
    end: float = 0.2

    def at(self, share: float) -> float:
        """Return the temperature after `share` of the steps."""
        return float(self.start * (self.end / self.start) ** share)


class Logits(nn.Module):
    """The architecture parameters of all choices, one row each.

    Attributes:
        values: [D, N] logits, meaningless behind the last candidate of a row.
    """

    valid: Tensor

    def __init__(self, num_candidates: list[int]) -> None:
        super().__init__()
        shape = (len(num_candidates), max(num_candidates, default=1))
        self.values = nn.Parameter(torch.zeros(shape))
        columns = torch.arange(shape[1])
        valid = columns[None, :] < torch.tensor(num_candidates).reshape(-1, 1)
        self.register_buffer("valid", valid, persistent=False)

    def probs(self) -> Tensor:
        """Return [D, N] the softmax of the logits, without noise."""
        return _masked_softmax(self.values, self.valid)

    def log_probs(self) -> Tensor:
        """Return [D, N] logarithms of `probs`, minus infinity behind the last candidate."""
        return torch.log_softmax(self.values.masked_fill(~self.valid, -torch.inf), dim=1)

    def entropy(self) -> Tensor:
        """Return the mean over choices of the entropy as a share of its maximum, in [0, 1]."""
        probs = self.probs()
        entropies = -(probs * probs.clamp_min(1e-12).log()).sum(1)
        return (entropies / self.valid.sum(1).clamp_min(2).log()).mean()

    def mixture(
        self, kind: str, temperature: float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return [D, N] mixtures.

        Args:
            kind: `softmax` (temperature, no noise), `gumbel` (Gumbel-softmax, one draw a choice)
                or `straight_through` (one-hot forward, Gumbel-softmax gradient).
            temperature: divides the perturbed logits.
            generator: source of the noise.

        Raises:
            ValueError: if the kind is unknown.
        """
        if kind not in MIXTURES:
            raise ValueError(f"unknown mixture {kind!r}; known: {', '.join(MIXTURES)}")
        values: Tensor = self.values
        if kind != "softmax":
            uniform = torch.rand(values.shape, generator=generator).clamp(1e-10, 1 - 1e-7)
            values = values - torch.log(-torch.log(uniform)).to(values)
        soft = _masked_softmax(values / temperature, self.valid)
        if kind != "straight_through":
            return soft
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
        return hard + soft - soft.detach()


def dirichlet(
    num_candidates: list[int], concentration: float, generator: torch.Generator
) -> Tensor:
    """Return [D, N] random mixtures, one symmetric Dirichlet draw for each choice.

    Args:
        num_candidates: of each choice.
        concentration: large for near-uniform mixtures, small for near one-hot ones.
        generator: source of randomness.
    """
    shape = (len(num_candidates), max(num_candidates, default=1))
    draws = torch._standard_gamma(torch.full(shape, concentration), generator=generator)
    valid = torch.arange(shape[1])[None, :] < torch.tensor(num_candidates).reshape(-1, 1)
    draws = draws.clamp_min(1e-20) * valid
    return draws / draws.sum(1, keepdim=True)


def _masked_softmax(values: Tensor, valid: Tensor) -> Tensor:
    return torch.softmax(values.masked_fill(~valid, -torch.inf), dim=1)
