"""The meta operator of convolutions: all candidates of its choices as one convolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator, Pick, pick_from
from ..core.polynomial import Polynomial
from ..core.trace import active_tracer
from .constants import vector
from .definition import mixed_conv2d_features
from .fold import fold_kernels, fold_nested
from .kernels.route import Geometry
from .parts import Conv, mixed
from .plain import MixedConv2d, initialise, plain_conv2d, plain_depthwise_conv2d
from .width import AnyWidth, Width, selection, width_of

# B batch, C channels, O output channels, I input channels of a group, N candidates

Kernel = int | Choice
Kernels = Kernel | tuple[Kernel, ...]


class MetaConv2d(MetaOperator):
    """One convolution that stands for all candidates of its choices.

    A soft kernel choice folds the candidate kernels into one; a soft choice of input channels
    scales the columns of the weight. Hard choices slice the weight. `groups` 0 means depthwise.
    """

    def __init__(
        self,
        in_channels: AnyWidth,
        out_channels: AnyWidth,
        kernel: Kernels,
        stride: int,
        dilation: int,
        groups: int,
        bias: bool,
        shared: bool,
    ) -> None:
        super().__init__()
        self.is_depthwise = groups == 0
        self.in_width, self.out_width = width_of(in_channels), width_of(out_channels)
        self.kernel, self.stride, self.dilation, self.shared = kernel, stride, dilation, shared
        self.groups = self.in_width.size if self.is_depthwise else groups
        self.sizes = sorted(
            {size for entry in kernel_entries(kernel) for size in kernel_values(entry) if size}
        )
        stored = self.sizes[-1:] if shared else self.sizes
        shape = (self.out_width.size, self.in_width.size // self.groups)
        self.kernels = nn.ParameterList(
            [nn.Parameter(initialise(torch.empty(*shape, k, k), self.groups)) for k in stored]
        )
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the convolution under the current mixtures."""
        is_traced = active_tracer() is not None  # then only shapes matter, equal for all sizes
        probs, columns = (None, None) if is_traced else (self._probs(), self.input_mask())
        if self._sums_features and probs is not None:
            y = self._features(x_BCHW, probs, columns)
        else:
            conv = self._folded(probs, columns)
            at = conv.geometry
            y = F.conv2d(
                x_BCHW, conv.weight, conv.bias, at.stride, at.padding, at.dilation, at.groups
            )
        if is_traced:
            self._record(x_BCHW, y)
        return y

    def _features(self, x: Tensor, probs: Tensor, columns: Tensor | None) -> Tensor:
        """Return the sum of the candidates' features."""
        rows = self._rows()
        if columns is not None:
            columns = columns[selection(self.in_width, columns.device)]
        return mixed_conv2d_features(
            x,
            [self._slice(kernel) for kernel in self._candidates()],
            probs if probs.dim() == 1 else probs[rows],
            columns_I=columns,
            bias=None if self.bias is None else self.bias[rows],
            stride=self.stride,
            dilation=self.dilation,
            groups=x.shape[1] if self.is_depthwise else self.groups,
        )

    def input_mask(self) -> Tensor | None:
        """Return the soft factor [C] on each input channel, None for ones."""
        return None if self.is_depthwise else self.in_width.mask()

    def folded(self, *, is_masked: bool = False) -> Conv | None:
        """Return the one convolution under the current mixtures, None if features are summed.

        Args:
            is_masked: whether the feature has been multiplied with `input_mask` already.
        """
        probs = self._probs()
        if self._sums_features and probs is not None:
            return None
        fold = partial(self._folded, probs, None if is_masked else self.input_mask())
        is_whole = self.is_depthwise and not self.shared and isinstance(self._rows(), slice)
        return fold() if probs is None or not is_whole else mixed(fold, self._stored(), probs)

    def _folded(self, probs: Tensor | None, columns: Tensor | None) -> Conv:
        weight = self._slice(self._weight(probs, columns))
        geometry = Geometry(
            stride=self.stride,
            padding=self.dilation * (weight.shape[-1] - 1) // 2,
            dilation=self.dilation,
            groups=weight.shape[0] if self.is_depthwise else self.groups,
        )
        rows = self._rows()
        bias: Tensor | None = self.bias
        if bias is not None and isinstance(rows, Tensor):
            bias = bias[rows]
        return Conv(weight=weight, bias=bias, geometry=geometry)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain convolution of `arch`."""
        pick = pick_from(arch)
        rows, columns = self.out_width.kept(pick), self.in_width.kept(pick)
        if isinstance(self.kernel, tuple):
            chosen = tuple(_value(entry, pick) for entry in self.kernel)
        else:
            chosen = (_value(self.kernel, pick),)
        plain: nn.Module
        if self.is_depthwise:
            plain = plain_depthwise_conv2d(len(rows), chosen, self.stride, self.dilation)
        else:
            plain = plain_conv2d(
                len(columns),
                len(rows),
                chosen[0],
                self.stride,
                self.dilation,
                self.groups,
                self.bias is not None,
            )
        convs = list(plain.convs) if isinstance(plain, MixedConv2d) else [plain]
        self._copy_weights(cast(list[nn.Conv2d], convs), rows, columns)
        return plain

    @torch.no_grad()
    def _copy_weights(self, convs: list[nn.Conv2d], rows: Tensor, columns: Tensor) -> None:
        candidates = dict(zip(self.sizes, self._candidates(), strict=True))
        start = 0
        for conv in convs:
            mine = rows[start : start + conv.out_channels].to(self.kernels[0].device)
            start += conv.out_channels
            weight = candidates[conv.kernel_size[0]][mine]
            if not self.is_depthwise and self.groups == 1:
                weight = weight[:, columns.to(weight.device)]
            conv.to(weight)
            conv.weight.copy_(weight)
            if self.bias is not None and conv.bias is not None:
                conv.bias.copy_(self.bias[mine])

    @property
    def _sums_features(self) -> bool:
        return any(isinstance(e, Choice) and e.slot.features for e in kernel_entries(self.kernel))

    def _candidates(self) -> Sequence[Tensor]:
        if not self.shared:
            return self._stored()
        largest, margins = self.kernels[0], [(self.sizes[-1] - k) // 2 for k in self.sizes]
        return [
            largest[..., m : m + k, m : m + k] for m, k in zip(margins, self.sizes, strict=True)
        ]

    def _stored(self) -> list[nn.Parameter]:
        # The list's own iterator looks every parameter up by name, which costs more than the fold.
        return list(self.kernels._parameters.values())  # type: ignore[arg-type]

    def _probs(self) -> Tensor | None:
        """Return the weights of the stored sizes, [N] or [O, N]; None if one size is chosen."""
        if isinstance(self.kernel, tuple):
            if len(self.sizes) == 1:
                return None
            per_group = [self._entry_probs(entry) for entry in self.kernel]
            counts = [segment.size for segment in cast(Width, self.out_width).segments]
            rows = [p.expand(n, -1) for p, n in zip(per_group, counts, strict=True)]
            return torch.cat(rows)
        if isinstance(self.kernel, Choice) and self.kernel.slot.probs_N is not None:
            return self._entry_probs(self.kernel)
        return None

    def _entry_probs(self, entry: Kernel) -> Tensor:
        """Return [N] weights of the sizes for one group, absence left out and renormalised."""
        weight = self._stored()[0]
        if isinstance(entry, Choice) and entry.slot.probs_N is not None:
            probs = entry.slot.probs_N.to(weight)
            if list(entry.values) == self.sizes:
                return probs
            mapping = tuple(
                tuple(float(value == size) for size in self.sizes) for value in entry.values
            )
            present = torch.matmul(probs, vector(mapping, weight))
            # A ratio of probabilities: with absence certain, the mask of the consumer is zero.
            if 0 in entry.values:
                present = present / present.sum().clamp_min(1e-12)
            return present
        value = entry if isinstance(entry, int) else entry.values[cast(int, entry.slot.index)]
        return vector(tuple(float(value == size) for size in self.sizes), weight)

    def _weight(self, probs: Tensor | None, columns: Tensor | None) -> Tensor:
        """Return [O, I, K, K] the folded or chosen kernel of all channels."""
        if probs is None:
            weight = self._candidates()[self._chosen_size()]
            return weight if columns is None else weight * columns.to(weight).reshape(1, -1, 1, 1)
        if self.shared:
            weight = fold_nested(self.kernels[0], self.sizes, probs)
            return weight if columns is None else weight * columns.to(weight).reshape(1, -1, 1, 1)
        columns = None if columns is None else columns.to(self._stored()[0])
        return fold_kernels(self._stored(), probs, columns)

    def _chosen_size(self) -> int:
        if active_tracer() is not None:
            return 0
        if isinstance(self.kernel, Choice):
            return self.sizes.index(self.kernel.values[cast(int, self.kernel.slot.index)])
        return 0

    def _rows(self) -> Tensor | slice:
        return selection(self.out_width, self._stored()[0].device)

    def _slice(self, weight: Tensor) -> Tensor:
        rows = self._rows()
        if isinstance(rows, Tensor):
            weight = weight[rows]
        if not self.is_depthwise and self.groups == 1:
            columns = selection(self.in_width, weight.device)
            weight = weight[:, columns] if isinstance(columns, Tensor) else weight
        return weight

    def _record(self, x: Tensor, y: Tensor) -> None:
        tracer = active_tracer()
        assert tracer is not None
        positions = y.numel() // y.shape[-3]
        squares = self._squares()
        rows = self.out_width.expression()
        if self.is_depthwise:
            weights = squares if isinstance(self.kernel, tuple) else rows * squares
        else:
            weights = rows * self.in_width.expression() * squares
            if self.groups > 1:
                weights = Polynomial.constant(self.kernels[0][:, :, 0, 0].numel()) * squares
        for width in {id(w): w for w in (self.in_width, self.out_width)}.values():
            width.record_uses()
        for entry in kernel_entries(self.kernel):
            if isinstance(entry, Choice):
                # Taps further out than the map is wide only ever meet padding.
                side = max(x.shape[-2:])
                reach = 2 * math.ceil(side / self.dilation) - 1
                tracer.use(entry, [min(value, reach) for value in entry.values])
        params = weights if self.bias is None else weights + rows
        tracer.layer(
            self, "conv2d", flops=weights * positions, params=params, activations=rows * positions
        )

    def _squares(self) -> Polynomial:
        """Return k^2 as a polynomial; with groups, the sum of k^2 over channels."""
        if not isinstance(self.kernel, tuple):
            return _square(self.kernel)
        counts = [segment.size for segment in cast(Width, self.out_width).segments]
        total = Polynomial.constant(0)
        for entry, count in zip(self.kernel, counts, strict=True):
            total = total + _square(entry) * count
        return total


def _square(entry: Kernel) -> Polynomial:
    if isinstance(entry, Choice):
        return Polynomial.of(entry.name, [value**2 for value in entry.values])
    return Polynomial.constant(entry**2)


def kernel_entries(kernel: Kernels) -> tuple[Kernel, ...]:
    """Return the kernel of each group, one for all where groups do not differ."""
    return kernel if isinstance(kernel, tuple) else (kernel,)


def kernel_values(entry: Kernel) -> tuple[int, ...]:
    """Return the kernel sizes that may be chosen."""
    return (entry,) if isinstance(entry, int) else entry.values


def _value(entry: Kernel, pick: Pick) -> int:
    return entry if isinstance(entry, int) else cast(int, entry.values[pick(entry)])
