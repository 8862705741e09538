"""How logits become mixtures: softmax, Gumbel-softmax, straight-through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

# D decisions, N candidates

MIXTURES = ("gumbel", "softmax", "straight_through")
# Probabilities are logged this often in a search; more would not be seen in a picture.
SNAPSHOTS = 50
SAMPLED_MIXTURES = ("two_path", "binary", "straight_through")


class Logits(nn.Module):
    """The architecture parameters of all choices, one row each.

    Attributes:
        values: [D, N] logits, meaningless behind the last candidate of a row.
        sampled: [D, 1] which choices run one candidate a step, so that every mixture of them must
            be a random one.
        has_sampled: whether there are any.
        offset: [D, N] what is taken off the logits before they become probabilities; None for
            nothing, so that logits alone decide.
    """

    valid: Tensor
    sampled: Tensor
    offset: Tensor | None

    def __init__(self, num_candidates: list[int], sampled: list[bool] | None = None) -> None:
        super().__init__()
        rows = torch.tensor(sampled or [False] * len(num_candidates)).reshape(-1, 1)
        self.register_buffer("sampled", rows, persistent=False)
        self.has_sampled = any(sampled or ())
        shape = (len(num_candidates), max(num_candidates, default=1))
        self.values = nn.Parameter(torch.zeros(shape))
        columns = torch.arange(shape[1])
        valid = columns[None, :] < torch.tensor(num_candidates).reshape(-1, 1)
        self.register_buffer("valid", valid, persistent=False)
        self.register_buffer("offset", None)

    @property
    def shifted(self) -> Tensor:
        """[D, N] the logits less their offset."""
        values = cast(Tensor, self.values)
        return values if self.offset is None else values - self.offset

    def probs(self) -> Tensor:
        """Return [D, N] the softmax of the logits less their offset, without noise."""
        return _masked_softmax(self.shifted, self.valid)

    def log_probs(self) -> Tensor:
        """Return [D, N] logarithms of `probs`, minus infinity behind the last candidate."""
        return torch.log_softmax(self.shifted.masked_fill(~self.valid, -torch.inf), dim=1)

    def scores(self) -> Tensor:
        """Return [D, N] the same without the offset."""
        return torch.log_softmax(self.values.masked_fill(~self.valid, -torch.inf), dim=1)

    def entropy(self) -> Tensor:
        """Return the mean over choices of the entropy as a share of its maximum, in [0, 1]."""
        probs = self.probs()
        entropies = -(probs * probs.clamp_min(1e-12).log()).sum(1)
        return (entropies / self.valid.sum(1).clamp_min(2).log()).mean()

    def noise(self, generator: torch.Generator | None = None) -> Tensor:
        """Return [D, N] one draw of Gumbel noise, on the CPU whatever the device."""
        uniform = torch.rand(self.valid.shape, generator=generator).clamp(1e-10, 1 - 1e-7)
        return -torch.log(-torch.log(uniform))

    def mixture(
        self,
        kind: str,
        temperature: float | Tensor,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return [D, N] mixtures.

        Args:
            kind: `softmax` (temperature, noise in sampled rows only); `gumbel` (Gumbel-softmax, one
                draw a choice); `straight_through` (one-hot forward, Gumbel-softmax gradient);
                `two_path` (the Gumbel-softmax of the two likeliest candidates of the draw, others
                zero); or `binary` (one-hot forward at the likeliest of the draw, and the gradient
                of the softmax over the two likeliest, without noise or temperature).
            temperature: divides the perturbed logits.
            generator: source of the noise.
            noise: [D, N] to be used instead, as `noise` draws it.

        Raises:
            ValueError: if the kind is unknown.
        """
        if kind not in (known := {*MIXTURES, *SAMPLED_MIXTURES}):
            raise ValueError(f"unknown mixture {kind!r}; known: {', '.join(sorted(known))}")
        values, valid = self.shifted, self.valid
        if kind != "softmax" or self.has_sampled:
            drawn = (self.noise(generator) if noise is None else noise).to(values)
            values = values + (drawn if kind != "softmax" else drawn * self.sampled)
        if kind in ("two_path", "binary"):
            valid = self._likely(values)
        soft = _masked_softmax(values / temperature, valid)
        if kind not in ("straight_through", "binary"):
            return soft
        hard = torch.zeros_like(soft).scatter_(1, soft.argmax(1, keepdim=True), 1.0)
        if kind == "binary":
            soft = _masked_softmax(self.shifted, valid)
        return hard + soft - soft.detach()

    def taught(self, kind: str, noise: Tensor) -> Tensor:
        """Return [D, N] the candidates that have a gradient in a mixture, drawn by this noise."""
        if kind not in ("two_path", "binary"):
            return self.valid
        shifted = self.shifted.detach()
        return self._likely(shifted + noise.to(shifted))

    def _likely(self, values: Tensor) -> Tensor:
        """Return [D, N] the two candidates of largest value of each choice."""
        valid = self.valid
        likely = values.masked_fill(~valid, -torch.inf).topk(min(2, values.shape[1])).indices
        return valid & torch.zeros_like(valid).scatter_(1, likely, True)


def snapshot(logits: Logits, names: Sequence[str], step: int, total: int) -> dict[str, Any]:
    """Return the probabilities for the log of a run, at about every 50th part of its steps.

    Args:
        logits: of the choices.
        names: of the choices, in the order of the rows.
        step: from 0; the first step and the last one are among those that are logged.
        total: number of steps.

    Returns:
        `probs`, for each choice the probability of every candidate, four digits each; nothing
        at the other steps.

    Example:
        >>> snapshot(Logits([2, 3]), ["keep", "kernel"], step=0, total=100)
        {'probs': {'keep': [0.5, 0.5], 'kernel': [0.3333, 0.3333, 0.3333]}}
        >>> snapshot(Logits([2, 3]), ["keep", "kernel"], step=1, total=100)
        {}
    """
    if step % math.ceil(total / SNAPSHOTS) and step + 1 < total:
        return {}
    rows, counts = logits.probs().detach().cpu().tolist(), logits.valid.sum(1).tolist()
    return {
        "probs": {
            name: [float(f"{p:.4g}") for p in row[:count]]
            for name, row, count in zip(names, rows, counts, strict=True)
        }
    }


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
