"""Optimisers of network weights, and the update that they make out of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def weights_optimizer(
    parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]],
    kind: str,
    *,
    lr: float,
    weight_decay: float,
    device: torch.device,
    is_recorded: bool = False,
) -> Optimizer:
    """Return a fused optimiser.

    Args:
        parameters: all of them on `device`; or groups of them, each with what it has of its own:
            `weight_decay`, and as `factor` that on the learning rate.
        kind: `sgd`, with momentum 0.9, or `adamw`.
        lr: learning rate; `set_learning_rate` changes it.
        weight_decay: of all parameters, where their group says no other.
        device: where they are.
        is_recorded: whether its steps are recorded, so that the rate has to lie in memory.
    """
    rate: float | Tensor = lr
    if is_recorded:
        # CUDA's fused kernels read float32; elsewhere the rate stays exact.
        dtype = torch.float32 if device.type == "cuda" else torch.float64
        rate = torch.tensor(lr, dtype=dtype, device=device)
    learned: Any = parameters
    if parameters and isinstance(parameters[0], dict):  # each with a rate that no other changes
        rates = (rate.clone() if isinstance(rate, Tensor) else rate for _ in parameters)
        learned = [group | {"lr": own} for group, own in zip(learned, rates, strict=True)]
    if kind == "sgd":
        # It keeps no count of steps, so that any of its steps may be recorded.
        return torch.optim.SGD(
            learned, lr=rate, momentum=0.9, weight_decay=weight_decay, fused=True
        )
    return torch.optim.AdamW(
        learned, lr=rate, weight_decay=weight_decay, fused=True, capturable=is_recorded
    )


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the learning rate, in place where it lies in memory; of each group by its factor."""
    for group in optimizer.param_groups:
        rate = lr * group.get("factor", 1.0)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def backward(loss: Tensor, network: nn.Module, scaler: torch.amp.GradScaler) -> None:
    """Compute the gradients of a loss anew, scaled where the scaler is enabled."""
    network.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]


def step_all(scaler: torch.amp.GradScaler, *optimizers: Optimizer) -> None:
    """Let optimisers step; with scaled gradients only those whose gradients are finite do."""
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
