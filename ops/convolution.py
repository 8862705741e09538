"""Convolutions whose kernel sizes and channel counts may be choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.choice import Choice, Value
from ..core.meta import MetaOperator, Pick, pick_from
from ..core.polynomial import Polynomial
from ..core.trace import active_tracer
from .definition import mixed_conv2d_features
from .fold import fold_kernels, fold_nested
from .width import AnyWidth, Width, is_plain, selection, width_of

# B batch, C channels, O output channels, I input channels of a group, N candidates

Kernel = int | Choice
Kernels = Kernel | tuple[Kernel, ...]


def conv2d(
    in_channels: AnyWidth,
    out_channels: AnyWidth,
    kernel: Kernel,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
    shared: bool = False,
) -> nn.Module:
    """Return a convolution with "same" padding: `nn.Conv2d`, or its meta operator.

    Args:
        in_channels: channels of the input; a choice is folded into the weights' columns.
        out_channels: channels of the output; what consumes it folds a choice.
        kernel: odd kernel size, or a choice of them.
        stride: of the output.
        dilation: distance of the taps.
        groups: channels are mixed within so many groups; needs fixed channel counts.
        bias: whether to add one number to each output channel.
        shared: candidates are centre crops of the largest kernel instead of independent weights.

    Raises:
        ValueError: if a kernel size is even, or `groups` meets a choice of channels.
    """
    if groups > 1 and not is_plain(in_channels, out_channels):
        raise ValueError(
            "a grouped convolution needs fixed channel counts; use groups=1, "
            "or depthwise_conv2d for one group a channel"
        )
    _check_kernels((kernel,), allow_absent=False)
    if is_plain(in_channels, out_channels, kernel):
        channels = (cast(int, in_channels), cast(int, out_channels))
        return plain_conv2d(*channels, cast(int, kernel), stride, dilation, groups, bias)
    return MetaConv2d(in_channels, out_channels, kernel, stride, dilation, groups, bias, shared)


def depthwise_conv2d(
    channels: AnyWidth,
    kernel: Kernels,
    *,
    stride: int = 1,
    dilation: int = 1,
    shared: bool = False,
) -> nn.Module:
    """Return a depthwise convolution with "same" padding, without bias.

    Args:
        channels: number of channels; a choice of them passes through.
        kernel: odd kernel size or a choice, or a tuple with one for each group of channels. In a
            tuple 0 means that the group is absent, and `channels` must be `grouped(...)` of it.
        stride: of the output.
        dilation: distance of the taps.
        shared: candidates are centre crops of the largest kernel instead of independent weights.
    """
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    _check_kernels(sizes, allow_absent=isinstance(kernel, tuple))
    if isinstance(kernel, tuple) and not is_plain(kernel) and not isinstance(channels, Width):
        raise ValueError(
            "kernels that groups decide for themselves need grouped(size, kernels) as "
            "channels, in every operator of that feature"
        )
    if not is_plain(channels, kernel):
        return MetaConv2d(channels, channels, kernel, stride, dilation, 0, False, shared)
    count = cast(int, channels)
    present = sorted(size for size in sizes if isinstance(size, int) and size)
    if not present or count % len(present):
        raise ValueError(f"{count} channels do not split into {len(present)} groups of one kernel")
    if len(set(present)) == 1:
        return plain_conv2d(count, count, present[0], stride, dilation, count, False)
    share = count // len(present)
    return MixedConv2d(
        [
            plain_conv2d(n := share * present.count(size), n, size, stride, dilation, n, False)
            for size in sorted(set(present))
        ]
    )


def plain_conv2d(
    in_channels: int,
    out_channels: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Return `nn.Conv2d` with "same" padding, initialised normal(0, sqrt(2 / fan out))."""
    padding = dilation * (kernel - 1) // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias)
    _initialise(conv.weight, groups)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class MixedConv2d(nn.Module):
    """Depthwise convolutions of several kernel sizes, each on its share of the channels."""

    def __init__(self, convs: list[nn.Conv2d]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.shares = [conv.in_channels for conv in convs]

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each share and put the results side by side."""
        parts = torch.split(x, self.shares, dim=1)
        return torch.cat([conv(part) for conv, part in zip(self.convs, parts, strict=True)], dim=1)


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
        self.sizes = sorted({size for entry in _entries(kernel) for size in _values(entry) if size})
        stored = self.sizes[-1:] if shared else self.sizes
        shape = (self.out_width.size, self.in_width.size // self.groups)
        self.kernels = nn.ParameterList(
            [nn.Parameter(_initialise(torch.empty(*shape, k, k), self.groups)) for k in stored]
        )
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the convolution under the current mixtures."""
        probs = self._probs()
        columns = None if self.is_depthwise else self.in_width.mask()
        if self._sums_features and probs is not None:
            y = mixed_conv2d_features(
                x_BCHW,
                self._candidates(),
                probs,
                columns_I=columns,
                bias=self.bias,
                stride=self.stride,
                dilation=self.dilation,
                groups=self.groups,
            )
        else:
            weight = self._slice(self._weight(probs, columns))
            bias = None if self.bias is None else self.bias[self._rows()]
            groups = weight.shape[0] if self.is_depthwise else self.groups
            padding = self.dilation * (weight.shape[-1] - 1) // 2
            y = F.conv2d(x_BCHW, weight, bias, self.stride, padding, self.dilation, groups)
        if active_tracer() is not None:
            self._record(x_BCHW, y)
        return y

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
            kernel = chosen if isinstance(self.kernel, tuple) else chosen[0]
            plain = depthwise_conv2d(len(rows), kernel, stride=self.stride, dilation=self.dilation)
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
        return any(isinstance(e, Choice) and e.slot.features for e in _entries(self.kernel))

    def _candidates(self) -> list[Tensor]:
        if not self.shared:
            return list(self.kernels)
        largest, margins = self.kernels[0], [(self.sizes[-1] - k) // 2 for k in self.sizes]
        return [
            largest[..., m : m + k, m : m + k] for m, k in zip(margins, self.sizes, strict=True)
        ]

    def _probs(self) -> Tensor | None:
        """Return the weights of the stored sizes, [N] or [O, N]; None if one size is chosen."""
        if isinstance(self.kernel, tuple):
            if len(self.sizes) == 1:
                return None
            per_group = [self._entry_probs(entry) for entry in self.kernel]
            counts = [segment.size for segment in self.out_width.segments]
            rows = [p.expand(n, -1) for p, n in zip(per_group, counts, strict=True)]
            return torch.cat(rows)
        if isinstance(self.kernel, Choice) and self.kernel.slot.probs_N is not None:
            return self._entry_probs(self.kernel)
        return None

    def _entry_probs(self, entry: Kernel) -> Tensor:
        """Return [N] weights of the sizes for one group, absence left out and renormalised."""
        weight = self.kernels[0]
        if isinstance(entry, Choice) and entry.slot.probs_N is not None:
            probs = entry.slot.probs_N.to(weight)
            mapping = torch.tensor(
                [[float(value == size) for size in self.sizes] for value in entry.values]
            )
            present = torch.matmul(probs, mapping.to(weight))
            # A ratio of probabilities: with absence certain, the mask of the consumer is zero.
            if 0 in entry.values:
                present = present / present.sum().clamp_min(1e-12)
            return present
        value = entry if isinstance(entry, int) else entry.values[cast(int, entry.slot.index)]
        one_hot: Tensor = weight.new_tensor([float(value == size) for size in self.sizes])
        return one_hot

    def _weight(self, probs: Tensor | None, columns: Tensor | None) -> Tensor:
        """Return [O, I, K, K] the folded or chosen kernel of all channels."""
        if probs is None:
            weight = self._candidates()[self._chosen_size()]
            return weight if columns is None else weight * columns.to(weight).reshape(1, -1, 1, 1)
        if self.shared:
            weight = fold_nested(self.kernels[0], self.sizes, probs)
            return weight if columns is None else weight * columns.to(weight).reshape(1, -1, 1, 1)
        columns = None if columns is None else columns.to(self.kernels[0])
        return fold_kernels(list(self.kernels), probs, columns)

    def _chosen_size(self) -> int:
        if isinstance(self.kernel, Choice):
            return self.sizes.index(self.kernel.values[cast(int, self.kernel.slot.index)])
        return 0

    def _rows(self) -> Tensor | slice:
        return selection(self.out_width, self.kernels[0].device)

    def _slice(self, weight: Tensor) -> Tensor:
        weight = weight[self._rows()]
        if not self.is_depthwise and self.groups == 1:
            weight = weight[:, selection(self.in_width, weight.device)]
        return weight

    def _record(self, x: Tensor, y: Tensor) -> None:
        tracer = active_tracer()
        assert tracer is not None
        positions = y.shape[-1] * y.shape[-2]
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
        for entry in _entries(self.kernel):
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
        counts = [segment.size for segment in self.out_width.segments]
        total = Polynomial.constant(0)
        for entry, count in zip(self.kernel, counts, strict=True):
            total = total + _square(entry) * count
        return total


def _square(entry: Kernel) -> Polynomial:
    if isinstance(entry, Choice):
        return Polynomial.of(entry.name, [value**2 for value in entry.values])
    return Polynomial.constant(entry**2)


def _entries(kernel: Kernels) -> tuple[Kernel, ...]:
    return kernel if isinstance(kernel, tuple) else (kernel,)


def _values(entry: Kernel) -> tuple[int, ...]:
    return (entry,) if isinstance(entry, int) else entry.values


def _value(entry: Kernel, pick: Pick) -> int:
    return entry if isinstance(entry, int) else cast(int, entry.values[pick(entry)])


def _check_kernels(kernels: tuple[Kernel, ...], allow_absent: bool) -> None:
    for entry in kernels:
        for size in _values(entry):
            if size == 0 and not allow_absent:
                raise ValueError(
                    "kernel size 0 (absence) needs a width that can vanish: give a tuple of "
                    "kernels to depthwise_conv2d, and grouped(size, kernels) as its channels"
                )
            if size and (size < 0 or size % 2 == 0):
                raise ValueError(f"kernel sizes must be odd to share a centre, got {size}")


def _initialise(weight: Tensor, groups: int) -> Tensor:
    fan_out = weight.shape[0] // groups * weight.shape[-1] ** 2
    return nn.init.normal_(weight, 0.0, math.sqrt(2.0 / fan_out))
