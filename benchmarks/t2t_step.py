"""A training step of the T2T-ViT supernet beside the plain networks that it stands for."""

from __future__ import annotations

import statistics
from typing import Any

import torch
from torch import nn

from ..core.arch import Arch
from ..core.spec import examples
from ..core.supernet import Supernet
from ..search_spaces import T2T
from .method import interleaved, machine, ratio, saved_bytes
from .step import update_of

# T2T-ViT-14 with the largest MLPs, whose mixtures the folded step runs.
SETTINGS = {"depth": 14, "width": 384}


class Folded(nn.Module):
    """The supernet at one arch but for its MLP ratios, which are mixed evenly, with a gradient."""

    def __init__(self, supernet: Supernet, space: T2T, arch: Arch) -> None:
        super().__init__()
        self.supernet = supernet
        probs = torch.zeros_like(supernet.uniform_probs())
        names = list(supernet.choices)
        for row, index in zip(probs, space.indices(arch).values(), strict=True):
            row[index] = 1
        mixed = [row for row, name in enumerate(names) if name.endswith("mlp_ratio")]
        probs[mixed] = supernet.uniform_probs()[mixed]
        self.logits = nn.Parameter(probs.clamp_min(1e-9).log())
        self.decided = [name for name in names if not name.endswith("mlp_ratio")]
        self.arch = arch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the classes."""
        self.supernet.mix(torch.softmax(self.logits, 1))
        for name in self.decided:
            choice = self.supernet.choices[name]
            choice.slot.set_index(choice.position(self.arch.choices[name]))
        y: torch.Tensor = self.supernet(x)
        return y


class Sampled(nn.Module):
    """The supernet at one arch, every weight cut to its size."""

    def __init__(self, supernet: Supernet, arch: Arch) -> None:
        super().__init__()
        self.supernet, self.arch = supernet, arch

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of the classes."""
        self.supernet.select(self.arch.choices)
        y: torch.Tensor = self.supernet(x)
        return y


def bench_t2t_step(*, rounds: int = 3, batch: int = 16, resolution: int = 224) -> dict[str, Any]:
    """Time one update (forward, backward, AdamW) around T2T-ViT-14, 1 thread, fp32.

    Returns:
        `sampled_over_plain`: the supernet cut to an arch over that arch as a plain network;
        `folded_over_largest`: its MLP ratios mixed over the supernet at the largest ratio;
        `saved_folded_over_largest`, `seconds`, `saved_mib`, `setting` and `machine`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _bench(rounds, batch, resolution)
    finally:
        torch.set_num_threads(before)


def _bench(rounds: int, batch: int, resolution: int) -> dict[str, Any]:
    torch.manual_seed(0)
    space = T2T(resolution=resolution)
    arch = space.uniform(**SETTINGS, mlp_ratio=4)  # type: ignore[arg-type]
    supernet = space.supernet()
    networks: dict[str, nn.Module] = {
        "plain": space.build(arch),
        "sampled": Sampled(supernet, arch),
        "folded": Folded(supernet, space, arch),
    }
    x = examples(space.inputs(), batch)[0]
    labels = torch.randint(space.num_classes, (batch,))
    steps = {name: update_of(network.train(), x, labels) for name, network in networks.items()}
    seconds = interleaved(steps, rounds)
    saved = {name: saved_bytes(lambda n=n: n(x), n) for name, n in networks.items()}
    return {
        "sampled_over_plain": ratio(seconds, "sampled", "plain"),
        "folded_over_largest": ratio(seconds, "folded", "sampled"),
        "saved_folded_over_largest": saved["folded"] / saved["sampled"],
        "seconds": {name: statistics.median(times) for name, times in seconds.items()},
        "saved_mib": {name: size / 2**20 for name, size in saved.items()},
        "setting": {"batch": batch, "resolution": resolution, "rounds": rounds, **SETTINGS},
        "machine": machine(),
    }
