"""How good a network is on a split of its task."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .strategy import CPU
from .task import Metrics, Task


@torch.no_grad()
def test_metrics(
    network: nn.Module,
    task: Task,
    split: str = "test",
    device: torch.device = CPU,
    watch: Callable[[Tensor, Tensor, Tensor], None] | None = None,
) -> Metrics:
    """Return the loss and the accuracy of a network on a split.

    Args:
        network: is put on the device.
        task: whose items are read in their order.
        split: of the task.
        device: on which the network computes.
        watch: is given each batch: inputs [B, 3, R, R], labels [B] and logits [B, K].

    Returns:
        `SPLIT_loss_nats` and `SPLIT_top1_percent`.
    """
    network = network.to(device).eval()
    total = correct = seen = 0.0
    for start in range(0, task.size(split), 128):
        x, labels = task.ordered(split, start, start + 128)
        if not len(labels):  # none of these can be read
            continue
        logits = network(x.to(device, memory_format=torch.channels_last)).float().cpu()
        total += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += float((logits.argmax(1) == labels).sum())
        seen += len(labels)
        if watch is not None:
            watch(x, labels, logits)
    return {f"{split}_loss_nats": total / seen, f"{split}_top1_percent": 100 * correct / seen}


test_metrics.__test__ = False  # type: ignore[attr-defined]  # a library function, not a test
