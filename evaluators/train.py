"""Training a plain network, from scratch or from inherited weights, and testing it once."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core.arch import Arch
from ..core.loop import Loop, Report, silent
from ..core.precision import computing, default_precision
from ..core.run import Run
from ..core.streams import Stream
from ..ops.chain import default_memory, set_memory
from ..ops.residual import set_drop_path
from ..training.average import follow
from ..training.batch import Batch
from ..training.evaluator import Evaluator, Metrics
from ..training.learning import Learning
from ..training.recipe import Recipe
from ..training.recipes import DEMONSTRATION
from ..training.static_step import StaticStep
from ..training.strategy import CPU
from ..training.task import Task, first_cost, measure
from .best import Best, are_finite
from .curve import CurveWriter, check_notes, note_held_out


def measured_on(split: str) -> str:
    """Return the split on which a network is measured that was trained on `train` or `weights`."""
    return "test" if split == "train" else "architecture"


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
        memory: what the network keeps for its backward pass, see `nastk.ops.chain.MEMORY`; None
            for the best of the device.
        precision: in which the network computes, see `nastk.core.precision.PRECISIONS`; None for
            the default of the device. It is tested in float32.
        cuda_graph: whether to record the update and to replay it.
        split: `train`; or `weights`, which holds the architecture split out. With a run that
            split is then measured four times, and the network that did best there is returned.
        keeps_best: whether to do so; else the last network is returned.
        diverged_at: after `fit`, the update behind which weights were not finite any more, and at
            which the training ended; None where there was none.
        restored_from: after `fit`, the update whose weights the network has where those that did
            best are returned; None where no others than the last are, or none were finite.
    """

    network: nn.Module
    task: Task
    recipe: Recipe
    seed: int = 0
    steps: int | None = None
    run: Run | None = None
    name: str = "retrain"
    device: torch.device = CPU
    memory: str | None = None
    precision: str | None = None
    cuda_graph: bool = False
    split: str = "train"
    keeps_best: bool = True
    diverged_at: int | None = field(default=None, init=False)
    restored_from: int | None = field(default=None, init=False)

    def fit(self, report: Report = silent) -> nn.Module:
        """Train on the training split and return the network to evaluate; test stays unread."""
        self.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(self.network) if self.recipe.ema_decay else None
        set_memory(self.network, self.memory or default_memory(self.device))
        set_drop_path(self.network, self.recipe.drop_path)
        try:
            return self._fit(average, report)
        finally:
            set_memory(self.network, "high")
            set_drop_path(self.network, 0)

    def tested(self, report: Report = silent) -> Metrics:
        """Train, and return the metrics on the split that belongs to that of the training."""
        network = self.fit(report)
        return measure(network, self.task, measured_on(self.split), self.device)

    def _fit(self, average: nn.Module | None, report: Report) -> nn.Module:
        recipe = self.recipe
        objective = self.task.objective(recipe.amounts).to(self.device)
        trained = nn.ModuleDict({"network": self.network, "objective": objective})
        model = nn.ModuleDict(dict(trained.items()))
        if average is not None:
            model["average"] = average
        chosen = self.network if average is None else average
        learning = Learning(
            recipe,
            self.network,
            objective,
            device=self.device,
            precision=self.precision or default_precision(self.device),
            is_recorded=self.cuda_graph,
        )
        update = self._updates(learning)
        total = self.steps or recipe.num_steps(self.task.size(self.split))
        loop = Loop(
            model=model,
            optimizers=learning.state,
            total=total,
            run=self.run,
            name=f"{self.name}-last",
            owns_events=False,  # the run's events are the search's
            check=partial(check_notes, num_metrics=len(self.task.metrics)),
        )
        watch = _Watch(self, loop, chosen)
        for step in loop:
            if watch.has_diverged:  # before an interruption
                break
            learning.begin(step / total)
            trained.train()
            # Drawn from the step, so that a resumed training drops the same features.
            torch.manual_seed(Stream.DROPOUT.seed(self.seed, step))
            batches = learning.batches(self.task, self.split, seed=self.seed, step=step)
            loss = float(update(torch.tensor(step / total), *batches))
            if average is not None:
                follow(average, self.network, recipe.ema_decay, step)
            watch.after(step, loss)
            report({"phase": "train", "step": step + 1, "total": total, "loss": loss})
        watch.end()
        return chosen

    def curve(self, total: int) -> CurveWriter:
        """Return what writes the learning curve of so many updates."""
        assert self.run is not None
        num_items = self.task.size(self.split)
        return CurveWriter(
            file=self.run.path / f"{self.name}-curve.json",
            total=total,
            steps_an_epoch=self.recipe.steps_an_epoch(num_items),
            metrics=[metric.name for metric in self.task.metrics],
        )

    def _updates(self, learning: Learning) -> Callable[..., Tensor]:
        """Return what does one update on batches and returns its loss."""
        network = computing(
            self.network, self.precision or default_precision(self.device), self.device
        )
        objective = learning.trained["objective"]

        def update(share: Tensor, *batches: Batch) -> Tensor:
            return learning.update(lambda batch: objective(network, batch, share), batches)

        if self.cuda_graph:
            return StaticStep(update, self.device)
        return lambda *inputs: update(*(x.to(self.device) for x in inputs))


class _Watch:
    """Sees what becomes of a training: its curve, its best weights, and whether it diverged."""

    def __init__(self, training: Training, loop: Loop, chosen: nn.Module) -> None:
        self.training, self.loop, self.chosen = training, loop, chosen
        self.best: Best | None = None
        self.curve: CurveWriter | None = None
        if training.run is not None and training.keeps_best:
            self.best = Best(training.run.path / "checkpoints", training.name)
            self.curve = training.curve(loop.total)

    @property
    def has_diverged(self) -> bool:
        """Whether weights are not finite any more: nothing that follows would be."""
        return "diverged_at" in self.loop.notes

    def after(self, step: int, loss: float) -> None:
        """Take in the loss of an update."""
        notes, total = self.loop.notes, self.loop.total
        running = notes.get("running_loss", loss)
        notes["running_loss"] = 0.98 * running + 0.02 * loss
        if self.curve is not None:
            self.curve.add(notes, step, loss)
        is_quarter = (step + 1) % max(total // 4, 1) == 0 or step + 1 == total
        if self.best is not None and is_quarter:
            self.best.offer(self.chosen, self._measured(step), notes, step)
        if not math.isfinite(loss) and not are_finite(self.training.network.parameters()):
            notes["diverged_at"] = step + 1
            self.loop.save(step + 1)

    def _measured(self, step: int) -> float:
        """Return the cost by which the weights are chosen: held out, else the training's loss."""
        training = self.training
        if training.split != "weights":
            return float(self.loop.notes["running_loss"])
        metrics = measure(self.chosen, training.task, "architecture", training.device)
        note_held_out(self.loop.notes, step, training.task, metrics)
        return first_cost(training.task, metrics, "architecture")

    def end(self) -> None:
        """Restore the best weights where they were measured, and say what became of the rest."""
        training, notes = self.training, self.loop.notes
        if self.curve is not None:
            self.curve.write(notes)
        training.diverged_at = notes.get("diverged_at")
        if self.best is not None and training.split == "weights":
            training.restored_from = self.best.restore(self.chosen, notes)


@dataclass(frozen=True, kw_only=True)
class Train(Evaluator):
    """Trains an arch from scratch on the weights split and tests it on the architecture split.

    Attributes:
        recipe: how; the short one unless given.
        steps: number of updates; the recipe's epochs if None.
        share: of these updates, which then have a learning-rate schedule of their own.
        run: where checkpoints go, from which an interrupted training goes on; None for none.
        report: receives the progress of the training.
    """

    name: ClassVar[str] = "train"

    recipe: Recipe = DEMONSTRATION
    steps: int | None = None
    share: float = 1.0
    run: Run | None = None
    report: Report = silent

    @property
    def num_steps(self) -> int:
        """Number of updates of a training, which is the share of the whole one."""
        total = self.steps or self.recipe.num_steps(self.problem.task.size("weights"))
        return max(1, round(self.share * total))

    def evaluate(self, arch: Arch) -> Metrics:
        """Return the metrics of the task, as `architecture_METRIC`."""
        problem = self.problem
        problem.proxy.indices(arch)
        training = Training(
            network=problem.proxy.build(arch.choices, seed=problem.seed),
            task=problem.task,
            recipe=self.recipe,
            seed=problem.seed,
            steps=self.num_steps,
            run=self.run,
            name="train",
            device=problem.device,
            memory=problem.memory,
            precision=problem.precision,
            cuda_graph=problem.cuda_graph,
            split="weights",
            keeps_best=False,
        )
        return training.tested(self.report)
