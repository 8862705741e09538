"""A linear layer whose input or output width may be a choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.choice import Value
from ..core.meta import MetaOperator, pick_from
from ..core.trace import Tracer, active_tracer
from .width import AnyWidth, cut, is_plain, width_of

# B batch, O output features, I input features


def linear(
    in_features: AnyWidth, out_features: AnyWidth, *, bias: bool = True, std: float = 0.01
) -> nn.Module:
    """Return `nn.Linear`, or its meta operator, initialised normal(0, std) with zero bias.

    Args:
        in_features: width of the input; a choice is folded into the columns of the weight.
        out_features: width of the output; what consumes it folds a choice.
        bias: whether to add one number to each output.
        std: of the initial weights; 0 takes one over the root of the inputs.
    """
    if not is_plain(in_features, out_features):
        return MetaLinear(in_features, out_features, bias, std)
    layer = nn.Linear(cast(int, in_features), cast(int, out_features), bias)
    _fill(layer.weight, std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _fill(weight_OI: Tensor, std: float) -> None:
    if not weight_OI.is_meta:  # nothing to fill there, and torch takes long to find that out
        nn.init.normal_(weight_OI, 0.0, std or weight_OI.shape[1] ** -0.5)


class MetaLinear(MetaOperator):
    """One linear map that stands for all widths of its input and output."""

    def __init__(
        self, in_features: AnyWidth, out_features: AnyWidth, bias: bool, std: float = 0.01
    ) -> None:
        super().__init__()
        self.in_width, self.out_width = width_of(in_features), width_of(out_features)
        self.weight = nn.Parameter(torch.empty(self.out_width.size, self.in_width.size))
        _fill(self.weight, std)
        self.bias = nn.Parameter(torch.zeros(self.out_width.size)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., O] from [..., I] under the current mixtures."""
        tracer = active_tracer()  # to which only shapes matter
        mask = self.in_width.mask() if self.in_width.choices and tracer is None else None
        weight = cut(cut(self.weight, self.out_width, 0), self.in_width, 1)
        if mask is not None:
            weight = weight * cut(mask, self.in_width, 0).to(weight)
        y = F.linear(x, weight, None if self.bias is None else cut(self.bias, self.out_width, 0))
        if tracer is not None:
            self._record(tracer, y)
        return y

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain layer of `arch`."""
        pick = pick_from(arch)
        device = self.weight.device
        rows, columns = self.out_width.kept(pick).to(device), self.in_width.kept(pick).to(device)
        plain = nn.Linear(len(columns), len(rows), self.bias is not None).to(self.weight)
        with torch.no_grad():
            plain.weight.copy_(self.weight[rows][:, columns])
            if self.bias is not None:
                plain.bias.copy_(self.bias[rows])
        return plain

    def _record(self, tracer: Tracer, y: Tensor) -> None:
        rows, columns = self.out_width.expression(), self.in_width.expression()
        positions = y.numel() // y.shape[-1]
        params = rows * columns if self.bias is None else rows * columns + rows
        self.in_width.record_uses()
        self.out_width.record_uses()
        tracer.layer(
            self,
            "linear",
            flops=rows * columns * positions,
            params=params,
            activations=rows * positions,
        )
