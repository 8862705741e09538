"""Training a plain network, from scratch or from inherited weights, and testing it once."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..core.checkpoint import save_checkpoint
from ..core.loop import Loop, Report
from ..core.run import Run
from ..core.schedule import warmup_cosine
from ..core.strategy import CPU
from ..core.task import Task
from .recipe import Recipe

Metrics = dict[str, float]


@torch.no_grad()
def test_metrics(
    network: nn.Module, task: Task, split: str = "test", device: torch.device = CPU
) -> Metrics:
    """Return the loss and the accuracy of a network on a split.

    Returns:
        `SPLIT_loss_nats` and `SPLIT_top1_percent`.
    """
    network = network.to(device).eval()
    total = correct = seen = 0.0
    for start in range(0, task.size(split), 128):
        x, labels = task.ordered(split, start, start + 128)
        logits = network(x.to(device, memory_format=torch.channels_last)).float().cpu()
        total += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += float((logits.argmax(1) == labels).sum())
        seen += len(labels)
    return {f"{split}_loss_nats": total / seen, f"{split}_top1_percent": 100 * correct / seen}


test_metrics.__test__ = False  # type: ignore[attr-defined]  # a library function, not a test


@dataclass(kw_only=True)
class Training:
    """One training of one plain network.

    Attributes:
        network: trained in place.
        task: the data.
        recipe: how.
        seed: of batches and augmentation.
        steps: number of updates; the recipe's epochs if None.
        run: where checkpoints `NAME-last` and `NAME-best` go; None trains without saving. A
            training of the same name goes on from its last checkpoint.
        name: of the training.
    """

    network: nn.Module
    task: Task
    recipe: Recipe
    seed: int = 0
    steps: int | None = None
    run: Run | None = None
    name: str = "retrain"
    device: torch.device = CPU

    def fit(self, report: Report = lambda event: None) -> nn.Module:
        """Train on the training split and return the network to evaluate; test stays unread."""
        recipe = self.recipe
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(self.network) if recipe.ema_decay else None
        model = nn.ModuleDict({"network": self.network})
        if average is not None:
            model["average"] = average
        optimizer = self._optimizer()
        batch = min(recipe.batch_size, self.task.size("train"))
        total = self.steps or recipe.epochs * (self.task.size("train") // batch)
        loop = Loop(
            model=model,
            optimizers={"weights": optimizer},
            total=total,
            run=self.run,
            name=f"{self.name}-last",
        )
        best = float("inf")
        running = None
        for step in loop:
            optimizer.param_groups[0]["lr"] = recipe.lr * warmup_cosine(step / total, recipe.warmup)
            self.network.train()
            loss = self._update(step, optimizer)
            if average is not None:
                _follow(average, self.network, min(recipe.ema_decay, (1 + step) / (10 + step)))
            running = loss if running is None else 0.98 * running + 0.02 * loss
            report({"phase": "train", "step": step + 1, "total": total, "loss": loss})
            if self.run is not None and (step + 1) % max(total // 4, 1) == 0 and running < best:
                best = running
                chosen = self.network if average is None else average
                self._save_best(chosen, step + 1)
        return self.network if average is None else average

    def _save_best(self, network: nn.Module, step: int) -> None:
        assert self.run is not None
        folder = self.run.path / "checkpoints"
        save_checkpoint(folder, f"{self.name}-best", network.state_dict(), {"step": step})

    def _optimizer(self) -> torch.optim.Optimizer:
        r, parameters = self.recipe, self.network.parameters()
        if r.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=r.lr, momentum=0.9, weight_decay=r.weight_decay)
        return torch.optim.AdamW(parameters, lr=r.lr, weight_decay=r.weight_decay)

    def _update(self, step: int, optimizer: torch.optim.Optimizer) -> float:
        x, labels = self.task.batch(
            "train", seed=self.seed, step=step, batch_size=self.recipe.batch_size
        )
        x = x.to(self.device, memory_format=torch.channels_last)
        is_cuda = self.device.type == "cuda"
        # Drawn from the step, so that a resumed training drops the same features.
        torch.manual_seed(self.seed * 1_000_003 + step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_cuda):
            logits = self.network(x)
        loss = F.cross_entropy(
            logits.float(), labels.to(self.device), label_smoothing=self.recipe.label_smoothing
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return float(loss.detach())


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, value in zip(
        average.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
