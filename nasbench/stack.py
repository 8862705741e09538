"""Training several networks of one structure at once, since small ones cost mostly overhead."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.schedule import warmup_cosine
from ..tasks.images.classification import Classification
from ..training.recipe import Recipe

# B batch, S networks, C channels of one network, R resolution, K classes

Checkpoint = dict[str, list[float]]


def stack(networks: Sequence[nn.Module]) -> nn.Module:
    """Return one network that runs several of the same structure side by side.

    Channels of all networks lie behind each other and convolutions are grouped, so that no
    network sees another one. Weights are copied.

    Args:
        networks: S plain networks, equal but for their weights: convolutions, BatchNorms, linear
            layers behind a flattened feature, and modules without parameters.

    Returns:
        A module from [B, S C, R, R] to logits [B, S, K].

    Raises:
        ValueError: if a module with parameters is of another kind.
    """
    first = networks[0]
    if isinstance(first, nn.Conv2d):
        return _conv(networks)
    if isinstance(first, nn.BatchNorm2d):
        return _norm(networks)
    if isinstance(first, nn.Linear):
        return StackedLinear(networks)
    if next(first.parameters(recurse=False), None) is not None:
        raise ValueError(
            f"networks with a {type(first).__name__} cannot be trained at once; "
            "convolutions, BatchNorm2d and linear layers can"
        )
    result = copy.copy(first)
    result._modules = {
        name: stack([network.get_submodule(name) for network in networks])
        for name, _ in first.named_children()
    }
    return result


def _conv(convs: Sequence[nn.Module]) -> nn.Module:
    first, count = convs[0], len(convs)
    assert isinstance(first, nn.Conv2d)
    result = nn.Conv2d(
        first.in_channels * count,
        first.out_channels * count,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        dilation=first.dilation,  # type: ignore[arg-type]
        groups=first.groups * count,
        bias=first.bias is not None,
        padding_mode=first.padding_mode,  # type: ignore[arg-type]
    )
    return _fill(result, convs, torch.cat)


def _norm(norms: Sequence[nn.Module]) -> nn.Module:
    first = norms[0]
    assert isinstance(first, nn.BatchNorm2d)
    result = nn.BatchNorm2d(first.num_features * len(norms), first.eps, first.momentum)
    return _fill(result, norms, torch.cat)


class StackedLinear(nn.Module):
    """S linear layers, each of its own share of the features."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        states = [layer.state_dict() for layer in layers]
        self.weight = nn.Parameter(torch.stack([state["weight"] for state in states]))
        has_bias = "bias" in states[0]
        biases = [state["bias"] for state in states] if has_bias else []
        self.bias = nn.Parameter(torch.stack(biases)) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, S, K] of [B, S D]."""
        x_BSD = x.reshape(len(x), len(self.weight), -1)
        y_BSK = torch.einsum("bsd,skd->bsk", x_BSD, self.weight)
        return y_BSK if self.bias is None else y_BSK + self.bias


def _fill(
    result: nn.Module, parts: Sequence[nn.Module], join: Callable[[list[Tensor]], Tensor]
) -> nn.Module:
    states = [part.state_dict() for part in parts]
    result.load_state_dict(
        {
            key: join([state[key] for state in states]) if value.dim() else value
            for key, value in states[0].items()
        }
    )
    return result


def train_stack(
    networks: Sequence[nn.Module], task: Classification, recipe: Recipe, seeds: Sequence[int]
) -> tuple[list[Checkpoint], Checkpoint]:
    """Train networks of one structure at once, each as if it were alone.

    Every network gets the batches of its own seed, and the sum of the losses has the gradients
    of each; AdamW works weight by weight. So the results are those of `Training` up to rounding.

    Args:
        networks: S plain networks, see `stack`; they stay as they are.
        task: the data. Training is on its weights split.
        recipe: how; AdamW, without averaged weights or augmentation of its own.
        seeds: S seeds of batches and augmentation.

    Returns:
        For each epoch, loss and top-1 of each network on the architecture split; and at the end
        those on the test split.

    Raises:
        ValueError: if the recipe needs more than AdamW.
    """
    extras = ("ema_decay", "drop_path", "mixup", "cutmix", "rand_augment", "erasing")
    more = [name for name in extras if getattr(recipe, name)]
    if recipe.optimizer != "adamw" or more:
        raise ValueError(
            f"recipe {recipe.name} has {(more or [recipe.optimizer])[0]}; networks trained at once "
            "take AdamW, a schedule and label smoothing only"
        )
    network = stack(networks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )
    total = recipe.num_steps(task.size("weights"))
    steps = total // recipe.epochs
    checkpoints = []
    for step in range(total):
        factor = warmup_cosine(step / total, recipe.warmup)
        rate = recipe.final_lr + (recipe.lr - recipe.final_lr) * factor
        optimizer.param_groups[0]["lr"] = rate
        network.train()
        batches = [
            task.batch("weights", seed=seed, step=step, batch_size=recipe.batch_size)
            for seed in seeds
        ]
        x = torch.cat([images for images, _ in batches], 1)
        labels_BS = torch.stack([labels for _, labels in batches], 1)
        logits_BSK = network(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(
            logits_BSK.flatten(0, 1), labels_BS.flatten(), label_smoothing=recipe.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        (len(seeds) * loss).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % steps == 0:
            checkpoints.append(_measure(network, task, "architecture", len(seeds)))
    return checkpoints, _measure(network, task, "test", len(seeds))


@torch.no_grad()
def _measure(network: nn.Module, task: Classification, split: str, count: int) -> Checkpoint:
    """Return `loss_nats` and `top1_percent` of each of the stacked networks."""
    network.eval()
    loss = correct = torch.zeros(count, dtype=torch.float64)
    seen = 0
    for start in range(0, task.size(split), 300):
        x, labels = task.ordered(split, start, start + 300)
        if not len(labels):  # none of these can be read
            continue
        x = x.repeat(1, count, 1, 1).contiguous(memory_format=torch.channels_last)
        logits_BSK = network(x)
        labels_BS = labels[:, None].expand(-1, count)
        losses = F.cross_entropy(logits_BSK.transpose(1, 2), labels_BS, reduction="none")
        loss = loss + losses.double().sum(0)
        correct = correct + (logits_BSK.argmax(2) == labels_BS).sum(0)
        seen += len(labels)
    return {
        "loss_nats": (loss / seen).tolist(),
        "top1_percent": (100 * correct / seen).tolist(),
    }
