"""Images as sequences of tokens: soft splits, the map of tokens, class token and positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator, pick_from
from ..core.supernet import extract_part
from ..core.trace import active_tracer
from .constants import remembered
from .width import AnyWidth, cut, is_plain, width_of

# B batch, C channels, H height, W width, T tokens, D features, K kernel size


def soft_split(kernel: int | Choice, stride: int, side: int) -> nn.Module:
    """Return what cuts a feature into overlapping square patches, one token each.

    Padding is (K - stride + 1) // 2, so that all kernels make the same grid and share their
    centres. Tokens are in row-major order; inside a token the order is channel, row, column
    (the soft split of arXiv:2101.11986, section 3.1).

    Args:
        kernel: side of the patches, of another parity than an even stride.
        stride: between the patches.
        side: the longer one of the feature that comes in, in pixels.

    Raises:
        ValueError: if a kernel has no centre in common with the others.
    """
    kernels = kernel.values if isinstance(kernel, Choice) else (kernel,)
    if odd := [k for k in kernels if k < stride - 1 or (k - stride) % 2 == 0]:
        raise ValueError(f"a soft split of stride {stride} cannot be centred with kernel {odd[0]}")
    if isinstance(kernel, Choice):
        return MetaSoftSplit(kernel, stride, side)
    return SoftSplit(kernel, stride)


class SoftSplit(nn.Module):
    """Overlapping patches of a feature, as tokens."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.unfold = nn.Unfold(kernel, padding=(kernel - stride + 1) // 2, stride=stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, T, C * K * K]."""
        y: Tensor = self.unfold(x_BCHW).transpose(1, 2)
        return y


class MetaSoftSplit(MetaOperator):
    """Patches of the chosen size, or of the largest one where sizes are mixed.

    The consumer masks what a smaller kernel does not see: its input is `patches(C, kernel)` wide.
    """

    def __init__(self, kernel: Choice, stride: int, side: int) -> None:
        super().__init__()
        self.kernel, self.stride, self.side = kernel, stride, side

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return [B, T, C * K * K]."""
        index = self.kernel.slot.index
        size = max(self.kernel.values) if index is None else self.kernel.values[index]
        if (tracer := active_tracer()) is not None:
            # Taps further out than the map is wide only ever meet padding.
            tracer.use(self.kernel, [min(k, 2 * self.side - 1) for k in self.kernel.values])
        padding = (size - self.stride + 1) // 2
        return F.unfold(x_BCHW, size, padding=padding, stride=self.stride).transpose(1, 2)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain split of `arch`."""
        position = self.kernel.position(arch[self.kernel.name])
        return SoftSplit(self.kernel.values[position], self.stride)


class TokenMap(nn.Module):
    """Operators on tokens whose output goes back to its places on the map (re-structurization)."""

    def __init__(self, operators: nn.Module, sides: tuple[int, int]) -> None:
        super().__init__()
        self.operators, self.sides = operators, sides

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, D, *sides]."""
        tokens_BTD: Tensor = self.operators(x)
        return torch.unflatten(tokens_BTD.transpose(1, 2), 2, self.sides)


def sinusoid_positions(num_tokens: int, features: int) -> Tensor:
    """Return [T, D] the fixed table: sin(t / 10000^(2 floor(j/2) / D)) on even j, cos on odd j.

    The table of arXiv:1706.03762, section 3.5. It is made in float64 and returned in float32.
    """
    pairs_D = torch.arange(features, dtype=torch.float64) // 2
    angle_TD = torch.arange(num_tokens, dtype=torch.float64)[:, None] / 10000 ** (
        2 * pairs_D / features
    )
    table_TD = torch.where(torch.arange(features) % 2 == 0, angle_TD.sin(), angle_TD.cos())
    return table_TD.float()


def token_embedding(project: nn.Module, num_tokens: int, features: AnyWidth) -> nn.Module:
    """Return what makes [class token; tokens] + positions of a feature.

    Args:
        project: makes the feature [B, D, H, W] whose H * W positions become tokens.
        num_tokens: H * W.
        features: D; a choice is sampled, since the positions of each width are a table of its own.
    """
    if is_plain(features):
        return TokenEmbedding(project, num_tokens, cast(int, features))
    return MetaTokenEmbedding(project, num_tokens, cast(Choice, features))


class TokenEmbedding(nn.Module):
    """Tokens of a feature behind a learned class token, their fixed positions added.

    Attributes:
        class_token: [1, 1, D], initialised normal(0, 0.02).
        positions: [1, T + 1, D], not trained and not stored with the weights.
    """

    positions: Tensor

    def __init__(self, project: nn.Module, num_tokens: int, features: int) -> None:
        super().__init__()
        self.project = project
        self.class_token = nn.Parameter(torch.empty(1, 1, features))
        nn.init.normal_(self.class_token, 0.0, 0.02)
        table_TD = sinusoid_positions(num_tokens + 1, features)
        self.register_buffer("positions", table_TD[None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T + 1, D]."""
        return _embed(self.project(x), self.class_token, self.positions)


class MetaTokenEmbedding(MetaOperator):
    """The embedding of all widths: one class token, whose first features they take."""

    def __init__(self, project: nn.Module, num_tokens: int, features: Choice) -> None:
        super().__init__()
        self.project, self.num_tokens, self.features = project, num_tokens, features
        self.width = width_of(features)
        self.class_token = nn.Parameter(torch.empty(1, 1, self.width.size))
        nn.init.normal_(self.class_token, 0.0, 0.02)
        features.slot.require_sample("slice")

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, T + 1, D] of the width that is decided or sampled."""
        if (tracer := active_tracer()) is not None:
            self.width.record_uses()
            params = self.width.expression()
            tracer.layer(self, "class token", flops=0, params=params, activations=0)
        token = cut(self.class_token, self.width, 2)
        return _embed(self.project(x), token, self._positions(token))

    def _positions(self, token: Tensor) -> Tensor:
        shape = (self.num_tokens + 1, token.shape[-1])
        key = ("positions", shape, token.dtype, token.device)
        return remembered(key, lambda: sinusoid_positions(*shape)[None].to(token), _TABLES)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain embedding of `arch`."""
        index = self.width.kept(pick_from(arch)).to(self.class_token.device)
        project = extract_part(self.project, arch)
        plain = TokenEmbedding(project, self.num_tokens, len(index)).to(self.class_token)
        with torch.no_grad():
            plain.class_token.copy_(self.class_token[..., index])
        return plain


_TABLES: dict[object, Tensor] = {}


def _embed(feature_BDHW: Tensor, class_token: Tensor, positions: Tensor) -> Tensor:
    tokens_BTD = feature_BDHW.flatten(2).transpose(1, 2)
    class_tokens = class_token.expand(tokens_BTD.shape[0], -1, -1)
    return torch.cat([class_tokens, tokens_BTD], dim=1) + positions
