"""What a training step keeps for its backward pass, and what it needs at its peak."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import torch
import torch.nn.functional as F

from ..core.machine import peak_memory_bytes
from ..ops.chain import MEMORY, set_memory
from ..search_spaces import Sandglass
from .method import machine, saved_bytes
from .step import Supernet, saved_features_per_block

VARIANTS = ("eager", *(f"meta, memory {memory}" for memory in reversed(MEMORY)), "feature sum")


def bench_memory(*, batch: int = 32, resolution: int = 128, scale: float = 0.35) -> dict[str, Any]:
    """Measure the supernet of the sandglass space at the proxy of the main job.

    Every variant runs in a process of its own, whose largest resident size is compared with that
    before the network was built.

    Returns:
        `rows`, one a variant: `variant saved_mib peak_mib`; `features_per_block` by way of
        keeping memory; `machine`.
    """
    rows = []
    for variant in VARIANTS:
        arguments = json.dumps([variant, batch, resolution, scale])
        code = f"from nastk.benchmarks.memory import measure; measure(*{arguments})"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout))
    features = {memory: saved_features_per_block(memory) for memory in MEMORY}
    setting = {"batch": batch, "resolution": resolution, "scale": scale}
    machine_used = machine() | {"threads": 1}  # of the measured processes
    return {
        "rows": rows,
        "features_per_block": features,
        "setting": setting,
        "machine": machine_used,
    }


def measure(variant: str, batch: int, resolution: int, scale: float) -> None:
    """Do two updates of one variant and print what they kept, as JSON."""
    torch.set_num_threads(1)
    x = torch.randn(batch, 3, resolution, resolution).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))
    before = peak_memory_bytes()
    space = Sandglass(resolution=resolution, scale=scale, num_classes=10)
    if variant == "eager":
        network = space.build(space.uniform(kernel=7, reduction=4))
    elif variant == "feature sum":
        network = Supernet(space, memory="high", features=True)
    else:
        network = set_memory(Supernet(space, memory="high"), variant.rsplit(" ", 1)[1])
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    saved = saved_bytes(lambda: network(x), network)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    for _ in range(2):
        loss = F.cross_entropy(network(x), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    peak = peak_memory_bytes() - before
    print(json.dumps({"variant": variant, "saved_mib": saved / 2**20, "peak_mib": peak / 2**20}))
