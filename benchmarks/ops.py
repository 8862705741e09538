"""One mixed depthwise operator beside its largest candidate, the feature sum and other toolkits."""

from __future__ import annotations

import importlib.util
import logging
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..core.choice import Choice
from ..ops import Chain, ConvNormAct, batch_norm, depthwise_conv2d
from ..ops.chain import set_memory
from .method import interleaved, machine, ratio, saved_bytes

SHAPES = ((96, 56, 16), (192, 28, 32), (384, 14, 64))  # channels, side, batch
KERNELS = (3, 5, 7)


class Mixed(nn.Module):
    """norm, activation and one depthwise convolution whose candidates are mixed anew each time."""

    def __init__(self, channels: int, kernels: tuple[int, ...], *, memory: str, features: bool):
        super().__init__()
        self.choice = Choice("kernel", kernels)
        self.logits = nn.Parameter(torch.zeros(len(kernels)))
        self.features = features
        self.chain = set_memory(_chain(channels, self.choice), memory)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed feature."""
        self.choice.slot.set_probs(torch.softmax(self.logits, 0), self.features)
        y: Tensor = self.chain(x)
        return y


def _chain(channels: int, kernel: int | Choice) -> Chain:
    """Return depthwise 1x1, norm, relu6, depthwise: the smallest chain with one operator inside."""
    first = ConvNormAct(depthwise_conv2d(channels, 1), batch_norm(channels), nn.ReLU6())
    return Chain([first, ConvNormAct(depthwise_conv2d(channels, kernel))])


def bench_ops(
    *, rounds: int = 5, shapes: Sequence[tuple[int, int, int]] = SHAPES
) -> dict[str, Any]:
    """Time forward and backward of norm, relu6 and a mixed depthwise convolution, 1 thread.

    Args:
        rounds: interleaved; medians are reported.
        shapes: channels, side and batch of the features.

    Returns:
        `rows`, one a shape and variant: `shape variant over_eager saved_features milliseconds`,
        `over_eager` being relative to torch's modules with the largest kernel alone; `machine`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [row for shape in shapes for row in _rows(*shape, rounds)]
        return {"rows": rows, "machine": machine()}
    finally:
        torch.set_num_threads(before)


def _rows(channels: int, side: int, batch: int, rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    x = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last)
    x.requires_grad_()
    variants: dict[str, nn.Module] = {
        "eager 7x7": _chain(channels, 7),
        "plain 7x7": set_memory(_chain(channels, 7), "low"),
        "meta 3 5 7": Mixed(channels, KERNELS, memory="low", features=False),
        "meta 1 3 5 7": Mixed(channels, (1, 3, 5, 7), memory="low", features=False),
        "feature sum 3 5 7": Mixed(channels, KERNELS, memory="high", features=True),
        **_nni(channels),
    }
    for network in variants.values():
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    upstream = torch.randn_like(x)
    seconds = interleaved({n: _pass(m, x, upstream) for n, m in variants.items()}, rounds)
    return [
        {
            "shape": f"{channels} x {side} x {batch}",
            "variant": name,
            "over_eager": ratio(seconds, name, "eager 7x7"),
            "saved_features": saved_bytes(lambda n=network: n(x), network) / x.nbytes,
            "milliseconds": 1000 * statistics.median(seconds[name]),
        }
        for name, network in variants.items()
    ]


def _pass(network: nn.Module, x: Tensor, upstream: Tensor) -> Callable[[], object]:
    leaves = [x, *network.parameters()]
    return lambda: torch.autograd.grad(network(x), leaves, upstream, allow_unused=True)


def _nni(channels: int) -> Mapping[str, nn.Module]:
    """Return NNI's two mixed modules behind the same first step, where NNI is installed."""
    if importlib.util.find_spec("nni") is None:
        return {}
    logging.getLogger("nni").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nni
        from nni.mutable.frozen import frozen_context
        from nni.nas.oneshot.pytorch.supermodule import differentiable, operation

        paths: list[nn.Module] = [
            nn.Conv2d(channels, channels, k, padding=k // 2, groups=channels, bias=False)
            for k in KERNELS
        ]
        size = nni.choice("size", list(KERNELS))
        arguments = {"in_channels": channels, "out_channels": channels, "groups": channels}
        arguments |= {"kernel_size": size, "padding": size // 2, "bias": False}
        memo = {"size": nn.Parameter(torch.zeros(len(KERNELS)))}
        with frozen_context({"layer": 0, "size": KERNELS[-1]}):
            logits = nn.Parameter(torch.zeros(len(KERNELS)))
            layer = differentiable.DifferentiableMixedLayer(paths, logits, nn.Softmax(-1), "layer")
            shared = operation.MixedConv2d(arguments)
        shared.sampling_policy = differentiable.MixedOpDifferentiablePolicy(shared, memo, {})
    mixed = {"NNI mixed layer": layer, "NNI superkernel": shared}
    return {name: nn.Sequential(_chain(channels, 7).steps[0], m) for name, m in mixed.items()}
