"""A training step of the sandglass supernet beside plain networks and other ways to search."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.chain import set_memory
from ..search_spaces import Sandglass
from .method import interleaved, machine, ratio, saved_bytes
from .storing import stored

FEW = {"kernels": (5, 7), "reductions": (4,)}  # 2 candidate blocks
MANY = {"kernels": (1, 3, 5, 7), "reductions": (4, 5, 6)}  # 12, no larger and no wider


class FullPath(nn.Module):
    """One whole block a candidate, their features mixed: what DARTS does with blocks."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.logits = nn.Parameter(torch.zeros(len(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of all blocks' features."""
        probs = torch.softmax(self.logits, 0)
        y: Tensor = sum(p * block(x) for p, block in zip(probs, self.blocks, strict=True))  # type: ignore[assignment]
        return y


class Supernet(nn.Module):
    """A supernet with logits of its own, mixed anew in every forward pass."""

    def __init__(self, space: Sandglass, *, memory: str, features: bool = False) -> None:
        super().__init__()
        self.supernet = set_memory(space.supernet(), memory)
        probs = space.supernet().uniform_probs()
        self.logits = nn.Parameter(torch.zeros_like(probs))
        self.valid = probs > 0
        self.expected = space.cost.flops.expectation(list(space.choices()))
        self.features = features

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the classes."""
        probs = torch.softmax(self.logits.masked_fill(~self.valid, -torch.inf), 1)
        self.supernet.mix(probs, features=self.features)  # type: ignore[operator]
        y: Tensor = self.supernet(x)
        return y + 0 * self.expected(probs).float()  # the budget term, at its cost


def full_path(space: Sandglass) -> nn.Module:
    """Return the network whose every block is a mixture of all of its candidate blocks."""
    plain = [
        space.build(space.uniform(kernel=kernel, reduction=reduction))
        for kernel in space.kernels
        for reduction in space.reductions
    ]
    rows = list(zip(*(network.children() for network in plain), strict=True))
    mixed = [FullPath(row) for row in rows[1:-1]]
    return nn.Sequential(rows[0][0], *mixed, rows[-1][0])


def bench_step(
    *, rounds: int = 5, batch: int = 32, resolution: int = 64, width: float = 0.5
) -> dict[str, Any]:
    """Time one update of each variant: forward, backward, AdamW; 20 blocks, 1 thread, NHWC fp32.

    Returns:
        `meta_over_plain meta_over_eager nsum_over_eager full_path_over_eager
        saved_meta_over_eager saved_features_per_block growth_2_to_12`, `seconds`, `saved_mib`
        and `machine`. `eager` is plain PyTorch's step of the largest network, `plain` the same
        network run by nastk's operators. `recompute_over_stored` is the supernet's step over that
        of the same kernels where each convolution stores its activated input.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _bench(rounds, batch, resolution, width)
    finally:
        torch.set_num_threads(before)


def _bench(rounds: int, batch: int, resolution: int, width: float) -> dict[str, Any]:
    torch.manual_seed(0)
    space = Sandglass(resolution=resolution, width=width)
    few, many = (Sandglass(resolution=resolution, width=width, **c) for c in (FEW, MANY))
    largest = space.uniform(kernel=7, reduction=4)
    networks = {
        "eager": space.build(largest),
        "plain": set_memory(space.build(largest), "low"),
        "meta": Supernet(space, memory="low"),
        "meta_2": Supernet(few, memory="low"),
        "meta_12": Supernet(many, memory="low"),
        "nsum": Supernet(space, memory="high", features=True),
        "full_path": full_path(space),
    }
    x = torch.randn(batch, 3, resolution, resolution).to(memory_format=torch.channels_last)
    labels = torch.randint(space.num_classes, (batch,))
    for network in networks.values():
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    steps = {name: update_of(network, x, labels) for name, network in networks.items()}
    twin = Supernet(space, memory="low")
    twin.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    steps["stored"] = stored(update_of(twin, x, labels))
    seconds = interleaved(steps, rounds)
    saved = {name: saved_bytes(lambda n=n: n(x), n) for name, n in networks.items()}
    return {
        "meta_over_plain": ratio(seconds, "meta", "plain"),
        "meta_over_eager": ratio(seconds, "meta", "eager"),
        "plain_over_eager": ratio(seconds, "plain", "eager"),
        "nsum_over_eager": ratio(seconds, "nsum", "eager"),
        "full_path_over_eager": ratio(seconds, "full_path", "eager"),
        "saved_meta_over_eager": saved["meta"] / saved["eager"],
        "saved_features_per_block": saved_features_per_block(),
        "recompute_over_stored": ratio(seconds, "meta", "stored"),
        "growth_2_to_12": ratio(seconds, "meta_12", "eager") - ratio(seconds, "meta_2", "eager"),
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "saved_mib": {name: size / 2**20 for name, size in saved.items()},
        "setting": {"batch": batch, "resolution": resolution, "width": width, "rounds": rounds},
        "machine": machine(),
    }


def update_of(network: nn.Module, x: Tensor, labels: Tensor) -> Callable[[], object]:
    """Return what does one update of a network: forward, backward and AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def update() -> None:
        loss = F.cross_entropy(network(x), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return update


def saved_features_per_block(memory: str = "low") -> float:
    """Return what a sandglass supernet block keeps, in features of its full width.

    The block: 192 channels in and out, reduction 6, kernels 3, 5 and 7 mixed, 28 px, batch 8.
    """
    space = Sandglass(reductions=(6,))
    supernet = space.supernet()
    supernet.mix(supernet.uniform_probs().requires_grad_())
    block = set_memory(list(supernet.network.children())[4], memory)  # stage 3, second block
    x = torch.randn(8, 192, 28, 28).to(memory_format=torch.channels_last).requires_grad_()
    return saved_bytes(lambda: block(x), supernet) / x.nbytes
