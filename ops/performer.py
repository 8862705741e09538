"""Attention that is linear in the tokens, by positive random features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator, pick_from
from ..core.precision import without_autocast
from ..core.supernet import extract_part
from ..core.trace import active_tracer
from .attention import INIT_STD, Count, counts_of, sample_widths
from .linear import linear
from .width import AnyWidth, is_plain, repeated, width_of

# B batch, T tokens, D features of the input, E of the output, M random features


def orthogonal_features(num_random: int, features: int) -> Tensor:
    """Return [M, E] a random matrix with orthogonal rows of length sqrt(M).

    Raises:
        ValueError: if M is above E, where rows cannot be orthogonal.
    """
    if num_random > features:
        raise ValueError(f"needs at most {features} random features, got {num_random}")
    matrix = torch.empty(num_random, features)
    if matrix.is_meta:
        return matrix
    return nn.init.orthogonal_(matrix) * math.sqrt(num_random)


def positive_features(x_BTE: Tensor, matrix_ME: Tensor) -> Tensor:
    """Return [B, T, M] exp(w x - |x|^2 / 2) / sqrt(M), without subtracting a maximum.

    The positive random features of arXiv:2009.14794.
    """
    half_norm = x_BTE.square().sum(-1, keepdim=True) / 2
    return torch.exp(x_BTE @ matrix_ME.T - half_norm) / math.sqrt(matrix_ME.shape[0])


@torch.fx.wrap
def linear_attention(k_BTE: Tensor, q_BTE: Tensor, v_BTE: Tensor, matrix_ME: Tensor) -> Tensor:
    """Return [B, T, E] attention by random features, linear in the tokens (arXiv:2009.14794).

    sum_s phi(q_t) phi(k_s) v_s / (sum_s phi(q_t) phi(k_s) + 1e-8). In half precision the
    exponentials overflow, so that float32 is the least, also under autocast.
    """
    dtype = torch.promote_types(v_BTE.dtype, torch.float32)
    with without_autocast(v_BTE.device.type):
        matrix_ME, v_BTE = matrix_ME.to(dtype), v_BTE.to(dtype)
        k_BTM, q_BTM = (positive_features(x.to(dtype), matrix_ME) for x in (k_BTE, q_BTE))
        norm_BT1 = q_BTM @ k_BTM.sum(1).unsqueeze(-1)
        values_BME = k_BTM.transpose(1, 2) @ v_BTE
        return (q_BTM @ values_BME) / (norm_BT1 + 1e-8)


class Performer(nn.Module):
    """Linear attention that narrows its tokens, with the values as the shortcut.

    Attributes:
        random_features: [M, E] frozen, stored with the weights.
    """

    random_features: Tensor

    def __init__(self, kqv: nn.Module, proj: nn.Module, matrix_ME: Tensor, dropout: float) -> None:
        super().__init__()
        self.kqv, self.proj, self.dropout = kqv, proj, nn.Dropout(dropout)
        self.register_buffer("random_features", matrix_ME)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, E]."""
        return _perform(x_BTD, self.kqv, self.proj, self.dropout, self.random_features)


def _perform(
    x_BTD: Tensor, kqv: nn.Module, proj: nn.Module, dropout: nn.Module, matrix_ME: Tensor
) -> Tensor:
    k, q, v = kqv(x_BTD).chunk(3, -1)
    y = linear_attention(k, q, v, matrix_ME).to(v.dtype)
    result: Tensor = v + dropout(proj(y))
    return result


def performer_products(num_tokens: int, features: Count, num_random: Count) -> Count:
    """Return the multiply-adds of phi(k), phi(q), phi(k)^T v, phi(q) (.) and the normaliser."""
    return (features * num_random * 4 + num_random) * num_tokens


def performer(
    in_features: AnyWidth,
    out_features: int | Choice,
    num_random: AnyWidth,
    *,
    dropout: float = 0.1,
    std: float = INIT_STD,
) -> nn.Module:
    """Return linear attention [B, T, D] -> [B, T, E] whose shortcut is the values.

    Keys, queries and values, in this order, have biases (the T2T performer of arXiv:2101.11986).

    Args:
        in_features: D.
        out_features: E; a choice is sampled.
        num_random: M, at most E; a choice is sampled, every candidate has a matrix of its own.
        dropout: behind the projection.
        std: of the initial weights, as for `linear`.
    """
    kqv = linear(in_features, repeated(out_features, 3), std=std)
    proj = linear(out_features, out_features, std=std)
    if is_plain(in_features, out_features, num_random):
        matrix = orthogonal_features(cast(int, num_random), cast(int, out_features))
        return Performer(kqv, proj, matrix, dropout)
    return MetaPerformer(kqv, proj, out_features, num_random, dropout)


class MetaPerformer(MetaOperator):
    """The performer of all widths, with one frozen matrix for each pair of them."""

    def __init__(
        self,
        kqv: nn.Module,
        proj: nn.Module,
        features: AnyWidth,
        num_random: AnyWidth,
        dropout: float,
    ) -> None:
        super().__init__()
        self.kqv, self.proj, self.dropout = kqv, proj, nn.Dropout(dropout)
        self.width, self.random_width = width_of(features), width_of(num_random)
        for width in (features, num_random):
            sample_widths(width)
        for count in counts_of(features):
            for random in counts_of(num_random):
                if random <= count:
                    matrix = orthogonal_features(random, count)
                    self.register_buffer(_matrix_name(random, count), matrix)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return [B, T, E] of the widths that are decided or sampled."""
        if (tracer := active_tracer()) is not None:
            features, random = self.width.expression(), self.random_width.expression()
            flops = performer_products(x_BTD.shape[1], features, random) * x_BTD.shape[0]
            self.random_width.record_uses()
            tracer.layer(self, "performer", flops=flops, params=0, activations=0)
        matrix = self._matrix(len(self.random_width.possible()), len(self.width.possible()))
        return _perform(x_BTD, self.kqv, self.proj, self.dropout, matrix)

    def _matrix(self, num_random: int, features: int) -> Tensor:
        matrix: Tensor = getattr(self, _matrix_name(num_random, features))
        return matrix

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain performer of `arch`."""
        pick = pick_from(arch)
        shape = (len(self.random_width.kept(pick)), len(self.width.kept(pick)))
        kqv, proj = (extract_part(part, arch) for part in (self.kqv, self.proj))
        plain = Performer(kqv, proj, self._matrix(*shape).clone(), self.dropout.p)
        return plain.train(self.training)


def _matrix_name(num_random: int, features: int) -> str:
    return f"features_{num_random}x{features}"
