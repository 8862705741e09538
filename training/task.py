"""A task reads items, an objective turns outputs into a loss, a meter measures; loops know no more.

A new kind is three classes, `Task`, `Objective` and `Meter`, and a line in `nastk.tasks.named`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..core.asktell import Metrics as Metrics
from ..core.preprocessing import Preprocessing
from ..core.resolution import resolution_of, sides_of
from ..core.space import Space
from ..core.streams import Stream
from .batch import Batch, Draw

SPLITS = ("weights", "architecture", "train", "test")

_MEASURED = 128  # items at a time


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure of a task: its name ends in its unit and is the key in every JSON file.

    Attributes:
        name: `loss_nats`, `top1_percent`, `max_f`...
        title: heading of a column.
        maximises: whether more is better.
        digits: shown behind the point.
        long: what a reader is told who does not know it, the title if empty.
        note: what else such a reader has to know.
        each: key of a list of its values, one a training; `NAME_each` if empty.
    """

    name: str
    title: str
    maximises: bool = False
    digits: int = 3
    long: str = ""
    note: str = ""
    each: str = ""

    @property
    def unit(self) -> str:
        """The unit in which the name ends; the name itself where it has one part."""
        return self.name.rpartition("_")[2]

    @property
    def word(self) -> str:
        """What it is called in a sentence, whatever was measured.

        Example:
            >>> Metric(name="loss_nats", title="test loss").word
            'loss'
            >>> Metric(name="top1_percent", title="", long="test accuracy (top-1)").word
            'accuracy'
        """
        return (self.long or self.title).removeprefix("test ").partition(" (")[0]

    @property
    def spread(self) -> str:
        """The key of its standard deviation over seeds.

        Example:
            >>> Metric(name="loss_nats", title="loss").spread, Metric(name="mae", title="").spread
            ('loss_spread_nats', 'spread_mae')
        """
        return self.key("spread")

    def key(self, word: str) -> str:
        """Return the key of a figure about its values, which has their unit.

        Example:
            >>> Metric(name="loss_nats", title="loss").key("mean")
            'loss_mean_nats'
        """
        stem, line, unit = self.name.rpartition("_")
        return f"{stem}{line}{word}_{unit}"

    @property
    def values(self) -> str:
        """The key of a list of its values, one a training."""
        return self.each or f"{self.name}_each"

    def cost(self, value: float) -> float:
        """Return the value as something to be minimised, which is what strategies are told."""
        return -value if self.maximises else value


def gaining(metrics: Sequence[Metric]) -> Metric:
    """Return the metric in which an improvement is told: the first that grows, else the first."""
    return next((metric for metric in metrics if metric.maximises), metrics[0])


Network = Callable[..., Any]
"""From the inputs of a batch to outputs: a tensor, or a tree of them."""


class Objective(nn.Module, ABC):
    """The loss, with all that is trained or kept only for training.

    Its parameters train with the weights, its buffers are kept with the checkpoint; neither is
    counted, exported or inherited. Everything random comes with the batch.
    """

    @abstractmethod
    def forward(self, network: Network, batch: Batch, step: Tensor) -> Tensor:
        """Return the mean loss of a batch, a scalar of at least float32.

        Args:
            network: a plain network, or a supernet under its mixtures; may be called several times.
            batch: on the device of the network.
            step: [] in [0, 1], share of the training that is done.
        """

    def rates(self) -> Mapping[str, float]:
        """Return factors on the learning rate of its own parts, by the names of its children."""
        return {}


class Meter(ABC):
    """Measures a network over a whole split; metrics need not be means over items."""

    @abstractmethod
    def update(self, outputs: Any, batch: Batch) -> None:
        """Take in what the network made of a batch; all of it on the CPU, outputs in float32."""

    @abstractmethod
    def compute(self) -> Metrics:
        """Return the task's metrics by name."""

    def answers(self) -> Any:
        """Return what the network answered, as `nastk.core.answers.Answers`.

        None where a kind has none; the report then shows metrics alone.
        """
        return None


class Task(ABC):
    """What is learned: items in disjoint splits, the objective on them, and what is measured.

    `weights` and `architecture` are cut by source item from `train`, which is both; `test` is
    read by the final evaluation only.

    Attributes:
        kind: a space says which kinds it fits (`Space.tasks`); others are refused.
        like: a kind of nastk's whose networks fit this kind too, since they take the same inputs
            and give outputs of the same form; empty where there is none.
        metrics: what the meter returns; searches, trainings and comparisons choose by the first,
            reports show all.
        sizes: options of a space that the data decide, `{"num_classes": 10}` for example; of the
            class itself where all data of a kind decide the same.
        least_resolution: pixels below which its items can hardly be seen: a search in a space that
            is made for smaller images takes so many, unless it is told how many.
        readable_name: what `readable` gives.
        class_names: names of the network's outputs in their order; empty where they have none.
        preprocessing: how pixels become the network's input; None where they come ready, as nobody
            can say. That of trained weights may be set, which the data are then to test.
        amounts: settings of a recipe that its objective and its reading follow, of those that
            `nastk.training.recipe.Recipe.amounts` has; asked for, others are refused.
        short_recipe: by which networks train on embedded data of the kind, whatever the space; that
            of the space if None.
        is_demonstration: whether proxies and short recipes are the default.
        skipped: names of the items that could not be read so far.
    """

    kind: ClassVar[str]
    like: ClassVar[str] = ""
    metrics: ClassVar[tuple[Metric, ...]]
    least_resolution: ClassVar[int] = 0
    readable_name: ClassVar[str] = "outputs"
    amounts: ClassVar[tuple[str, ...]] = ()
    short_recipe: ClassVar[str | None] = None

    sizes: Mapping[str, int]
    class_names: Sequence[str] = ()
    preprocessing: Preprocessing | None = None
    is_demonstration: bool = False
    skipped: frozenset[str] = frozenset()

    @classmethod
    def loss_of_guessing(cls, sizes: Mapping[str, Any]) -> float | None:
        """Return the loss of a network which knows nothing, None where nobody can say.

        Args:
            sizes: of the task, maybe among other options of a space.
        """
        return None

    @property
    def num_skipped(self) -> int:
        """Number of different items that could not be read so far."""
        return len(self.skipped)

    @abstractmethod
    def size(self, split: str) -> int:
        """Return the number of items of a split."""

    @abstractmethod
    def read(self, split: str, items: Sequence[int], draw: Draw | None) -> Batch:
        """Return items of a split, on the CPU.

        Args:
            split: a name in `SPLITS`.
            items: their numbers in the split.
            draw: of a training batch, which is augmented and has as many items as were asked for;
                None for items as they are, of which those that cannot be read are left out.

        Raises:
            ValueError: if no item of the whole split can be read.
        """

    @abstractmethod
    def objective(self, amounts: Mapping[str, float] = {}) -> Objective:
        """Return a fresh objective.

        Args:
            amounts: as in `Draw`.
        """

    @abstractmethod
    def meter(self, split: str | None = None) -> Meter:
        """Return a fresh meter.

        Args:
            split: whose answers are kept too, for the report; None where only metrics are wanted.
        """

    def baselines(self) -> dict[str, Metrics]:
        """Return on the test split the metrics of predictors that know hardly anything, by name.

        They stand beside the results of networks; a kind may have none.
        """
        return {}

    @classmethod
    def readable(cls, outputs: Tensor) -> Tensor:
        """Return what a user of an exported network reads: probabilities of logits, for example."""
        return outputs

    def pictures(self, batch: Batch, outputs: Any) -> list[Image.Image]:
        """Return a picture of each item: what was given, what was wanted and what was answered.

        Args:
            batch: items as they are, on the CPU.
            outputs: of a network, on the CPU in float32.

        Returns:
            None at all where a kind draws nothing.
        """
        return []

    def test_sha256(self) -> str:
        """Return a hash of the test split, which tells a training that is measured on it.

        Searches do not ask for it. Empty where a kind has none.
        """
        return ""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what was read and what was left out; it goes into the record of a run.

        At least `name`, `split_sizes` (split to number of items), the `sizes` and `train_sha256`.
        """


def training_batch(
    task: Task,
    split: str,
    *,
    seed: int,
    step: int,
    batch_size: int,
    amounts: Mapping[str, float] = {},
) -> Batch:
    """Return the batch of a step, a function of (seed, step) alone; epochs drop their rest.

    Args:
        task: whose items they are.
        split: of it.
        seed: of the order of items and of their augmentation.
        step: number of the batch.
        batch_size: number of items, fewer where the split is smaller.
        amounts: as in `Draw`.

    Raises:
        ValueError: if no item of the whole split can be read.
    """
    size = task.size(split)
    batch_size = min(batch_size, size)
    epoch, position = divmod(step, size // batch_size)
    order = Stream.ORDER.generator(seed, epoch).permutation(size)
    items = order[position * batch_size : (position + 1) * batch_size]
    draw = Draw(seed=seed, epoch=epoch, position=position, step=step, amounts=amounts)
    return task.read(split, items.tolist(), draw)


def batches(task: Task, split: str) -> Iterator[Batch]:
    """Yield a split as it is and in its order; what cannot be read is left out."""
    size = task.size(split)
    for start in range(0, size, _MEASURED):
        batch = task.read(split, range(start, min(start + _MEASURED, size)), None)
        if len(batch):
            yield batch


@torch.no_grad()
def measure(
    network: nn.Module,
    task: Task,
    split: str = "test",
    device: torch.device = torch.device("cpu"),  # noqa: B008
    meter: Meter | None = None,
) -> Metrics:
    """Return the metrics of a network on a split, by the names `SPLIT_METRIC`.

    Args:
        network: is put on the device and into evaluation mode.
        task: whose items are read in their order.
        split: of the task.
        device: on which the network computes, in float32.
        meter: that measures, a fresh one of the task if None.

    Raises:
        ValueError: if the meter does not return every metric of the task.
    """
    network, meter = network.to(device).eval(), meter or task.meter()
    for batch in batches(task, split):
        outputs = network(*batch.to(device).inputs)
        meter.update(tree_map(lambda y: y.float().cpu(), outputs), batch)
    metrics = meter.compute()
    if missing := [metric.name for metric in task.metrics if metric.name not in metrics]:
        raise ValueError(
            f"{type(meter).__name__}.compute() returns no {', '.join(missing)}, which task "
            f"{type(task).__name__} names in its metrics"
        )
    return {f"{split}_{name}": value for name, value in metrics.items()}


def first_cost(task: Task, metrics: Metrics, split: str) -> float:
    """Return of metrics on a split what a search minimises: the first of the task, as a cost."""
    first = task.metrics[0]
    return first.cost(metrics[f"{split}_{first.name}"])


def aimed(space: Space, family: type[Task]) -> Space:
    """Return a space whose networks are for a kind of task, before any data are read.

    Raises:
        ValueError: if they do not fit the kind, naming the kinds that they fit.
    """
    sides = [max(side, family.least_resolution) for side in sides_of(space.resolution)]
    resolution = resolution_of(sides, space.name)
    return _sized(space, family, _of_kind(space, family) | {"resolution": resolution})


def fitted(space: Space, task: Task) -> Space:
    """Return a space whose networks are for the kind of a task, and have the sizes it decides.

    Raises:
        ValueError: if its networks do not fit the kind, or it has no such sizes.
    """
    return _sized(space, type(task), _of_kind(space, type(task)) | dict(task.sizes))


def _of_kind(space: Space, family: type[Task]) -> dict[str, Any]:
    """Return the options of a space that a kind of task decides."""
    kind = next((kind for kind in (family.kind, family.like) if kind in space.tasks), None)
    if kind is None:
        raise ValueError(
            f"space {space.name!r} builds networks for {', '.join(space.tasks) or 'no task'}, but "
            f"the data are for {family.kind}; take other data, or a space that names {family.kind} "
            "in `tasks`"
        )
    return {"task": "" if kind == space.tasks[0] else kind} | sizes_of_kind(family)


def sizes_of_kind(family: type[Task]) -> dict[str, int]:
    """Return the sizes that all data of a kind decide alike, which its class has itself."""
    known = getattr(family, "sizes", None)  # of other classes a property, or nothing yet
    return dict(known) if isinstance(known, Mapping) else {}


def _sized(space: Space, family: type[Task], sizes: Mapping[str, Any]) -> Space:
    known = {field.name for field in dataclasses.fields(space)}
    if missing := [name for name in sizes if name not in known]:
        raise ValueError(
            f"space {space.name!r} has no option {missing[0]!r}, which data for {family.kind} "
            "decide"
        )
    return dataclasses.replace(space, **sizes)
