"""Normalisation of a feature whose number of channels may be a choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.choice import Value
from ..core.meta import MetaOperator, pick_from
from ..core.trace import active_tracer
from .parts import Norm
from .statistics import is_recomputing
from .width import AnyWidth, cut, is_plain, selection, width_of

# B batch, C channels, H height, W width


def batch_norm(channels: AnyWidth, *, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Return `nn.BatchNorm2d`, or its meta operator where the width is a choice.

    A soft choice of the width passes through unmasked: a scale in front of a normalisation would
    be undone by it, so absence acts on the weights that consume the feature.
    """
    if is_plain(channels):
        return nn.BatchNorm2d(cast(int, channels), eps, momentum)
    return MetaBatchNorm2d(channels, eps, momentum)


class MetaBatchNorm2d(MetaOperator):
    """Batch normalisation of all channels, or of the chosen ones when the choice is hard."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: AnyWidth, eps: float, momentum: float) -> None:
        super().__init__()
        self.width, self.eps, self.momentum = width_of(channels), eps, momentum
        size = self.width.size
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the normalised feature [B, C, H, W]."""
        return self.scaled(x_BCHW, None)

    def scaled(self, x_BCHW: Tensor, gain: Tensor | None) -> Tensor:
        """Return the normalised feature times `gain` (a scalar), at no extra feature."""
        index = selection(self.width, x_BCHW.device)
        mean, var = self.running_mean[index], self.running_var[index]
        weight, bias = self.weight[index], self.bias[index]
        if active_tracer() is not None:
            self._record()
            if len(weight) == x_BCHW.shape[1]:  # only shapes matter, which a norm keeps
                return x_BCHW
        if gain is not None:
            weight, bias = weight * gain.to(weight), bias * gain.to(bias)
        y = F.batch_norm(x_BCHW, mean, var, weight, bias, self.training, self.momentum, self.eps)
        if self.training:
            with torch.no_grad():
                self.num_batches_tracked += 1
                if isinstance(index, Tensor):  # a selection by index is a copy: write it back
                    self.running_mean[index], self.running_var[index] = mean, var
        return y

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain normalisation of `arch`."""
        index = self.width.kept(pick_from(arch)).to(self.weight.device)
        plain = nn.BatchNorm2d(len(index), self.eps, self.momentum).to(self.weight)
        with torch.no_grad():
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(plain, name).copy_(getattr(self, name)[index])
            cast(Tensor, plain.num_batches_tracked).copy_(self.num_batches_tracked)
        return plain.train(self.training)

    def _record(self) -> None:
        tracer = active_tracer()
        assert tracer is not None
        self.width.record_uses()
        params = self.width.expression() * 2
        tracer.layer(self, "norm", flops=0, params=params, activations=0)


def layer_norm(features: AnyWidth, *, eps: float = 1e-5, approximates: bool = False) -> nn.Module:
    """Return `nn.LayerNorm` over the last dimension, or its meta operator where it is a choice.

    Mean and variance are those of the features that are present, so that the candidates of a
    choice cannot be mixed: they are sampled.

    Args:
        features: width of the input.
        eps: added to the variance.
        approximates: let mixtures pass, with the statistics of all features that some candidate
            keeps. A small candidate is then scaled as the largest one is, until it is extracted
            and has statistics of its own.
    """
    if is_plain(features):
        return nn.LayerNorm(cast(int, features), eps)
    return MetaLayerNorm(features, eps, approximates)


class MetaLayerNorm(MetaOperator):
    """Layer normalisation over the features that the decisions made so far do not exclude."""

    def __init__(self, features: AnyWidth, eps: float, approximates: bool) -> None:
        super().__init__()
        self.width, self.eps = width_of(features), eps
        size = self.width.size
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        for choice in [] if approximates else self.width.choices:
            choice.slot.require_sample("slice")

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tokens [..., features]."""
        weight, bias = (cut(p, self.width, 0) for p in (self.weight, self.bias))
        if (tracer := active_tracer()) is not None:
            self.width.record_uses()
            params = self.width.expression() * 2
            tracer.layer(self, "norm", flops=0, params=params, activations=0)
            if weight.shape == x.shape[-1:]:  # only shapes matter, which a norm keeps
                return x
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain normalisation of `arch`."""
        index = self.width.kept(pick_from(arch)).to(self.weight.device)
        plain = nn.LayerNorm(len(index), self.eps).to(self.weight)
        with torch.no_grad():
            plain.weight.copy_(self.weight[index])
            plain.bias.copy_(self.bias[index])
        return plain


def read_norm(module: nn.Module, gain: Tensor | None = None) -> Norm | None:
    """Return what the single-feature operator needs of a norm, None if it is no batch norm.

    A norm in training counts the batch, as its own forward pass would.

    Args:
        module: any module.
        gain: a scalar on what comes out; gain * norm(x) then stores no feature more.
    """
    if type(module) not in (nn.BatchNorm2d, nn.SyncBatchNorm, MetaBatchNorm2d):
        return None
    assert isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm | MetaBatchNorm2d)
    index: Tensor | slice = slice(None)
    weight: Tensor | None = module.weight
    bias: Tensor | None = module.bias
    if isinstance(module, MetaBatchNorm2d):
        index = selection(module.width, module.weight.device)
        if isinstance(index, Tensor):  # all channels need no copy, and no gradient of one
            weight, bias = module.weight[index], module.bias[index]
    tracks = module.running_mean is not None
    momentum = module.momentum or 0.0
    if module.training and tracks and not is_recomputing():
        assert module.num_batches_tracked is not None
        module.num_batches_tracked.add_(1)
        if module.momentum is None:  # a plain mean over all batches
            momentum = 1.0 / float(module.num_batches_tracked)
    return Norm(
        weight=weight,
        bias=bias,
        running_mean=module.running_mean,
        running_var=module.running_var,
        index=index,
        uses_batch=module.training or not tracks,
        momentum=momentum,
        eps=module.eps,
        group=_group_of(module),
        gain=gain,
    )


def _group_of(module: nn.Module) -> object:
    """Return the processes that share a norm's statistics, None for this one alone."""
    shared = isinstance(module, nn.SyncBatchNorm) and module.training
    if not shared or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    return module.process_group or torch.distributed.group.WORLD


def scaled_batch_norm(norm: nn.Module, x_BCHW: Tensor, gain: Tensor) -> Tensor:
    """Return `gain * norm(x)`, the scalar gain folded into the affine part of the normalisation.

    Multiplying afterwards would store one more feature for the gradient of the gain.
    """
    if isinstance(norm, MetaBatchNorm2d):
        return norm.scaled(x_BCHW, gain)
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    gain = gain.to(norm.weight)
    return F.batch_norm(
        x_BCHW,
        norm.running_mean,
        norm.running_var,
        norm.weight * gain,
        norm.bias * gain,
        norm.training,
        cast(float, norm.momentum),
        norm.eps,
    )
