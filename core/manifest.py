"""The manifest of a run: what was asked for, of whom, on which data, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from .cost import METRICS
from .record import Between, Count, Record

MOST_PROCESSES = 1024
"""Of workers, processes and threads, more of which nobody means."""
MOST_SEED = 2**32 - 1
MOST_BUDGETS = 100
"""Of one search."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Code(Record):
    """A copy of a file of the user's that the run needs.

    Attributes:
        file: within the run folder.
        sha256: of its content.
        imports: files of the user's that it imports, of which there is no copy, with their SHA-256.
    """

    file: str
    sha256: str
    imports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Length(Record):
    """How long a search is, where it was decided by what it searches.

    Attributes:
        steps: updates of its supernet.
        evaluations: archs that are tested with the weights of the supernet.
    """

    steps: Annotated[int, Between(1)] | None = None
    evaluations: Annotated[int, Between(1)] | None = None

    @property
    def settings(self) -> dict[str, int]:
        """The settings of a strategy that were decided."""
        both = {"steps": self.steps, "evaluations": self.evaluations}
        return {name: value for name, value in both.items() if value is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class RecipeChanges(Record):
    """What a user asked to be other than usual of the recipe by which weights learn.

    Attributes:
        name: of the recipe to which the others are changes; the usual one if None. These are
            explained at `nastk.training.recipe.Recipe`; epochs are of a supernet too.
    """

    name: str | None = None
    epochs: Annotated[int, Between(1)] | None = None
    batch_size: Annotated[int, Between(1)] | None = None
    lr: Annotated[float, Between(0)] | None = None
    final_lr: Annotated[float, Between(0)] | None = None
    optimizer: str | None = None
    schedule: str | None = None
    warmup: Annotated[float, Between(0, 1)] | None = None
    layer_decay: Annotated[float, Between(0, 1)] | None = None
    weight_decay: Annotated[float, Between(0)] | None = None
    decay_all: bool | None = None
    clip: Annotated[float, Between(0)] | None = None
    accumulation: Annotated[int, Between(1)] | None = None
    least_steps: Annotated[int, Between(0)] | None = None
    label_smoothing: Annotated[float, Between(0, 1)] | None = None
    ema_decay: Annotated[float, Between(0, 1)] | None = None
    drop_path: Annotated[float, Between(0, 1)] | None = None
    mixup: Annotated[float, Between(0)] | None = None
    cutmix: Annotated[float, Between(0)] | None = None
    rand_augment: Annotated[float, Between(0, 10)] | None = None
    erasing: Annotated[float, Between(0, 1)] | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were asked for."""
        names = [field.name for field in fields(self) if field.name not in ("content", "source")]
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class Limit(Record):
    """Bounds on one cost of an arch.

    Attributes:
        metric: `flops`, `params` or `activations`.
        low: smallest value, None for a plain budget.
        high: largest value.
    """

    metric: str
    high: Count
    low: Count | None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            known = ", ".join(METRICS)
            raise ValueError(
                f"{self.source} is damaged: it bounds {self.metric!r}, expected one of {known}"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest(Record):
    """What `manifest.json` says, checked: typed fields, and entries of other versions by key.

    Attributes:
        space: name of the space, or `FILE.py:CLASS` as the user gave it.
        target: options of the space whose cost is counted.
        proxy: options of the space that is trained on embedded data.
        data: embedded data by name, or the user's with an absolute path.
        code: copies of the user's files by what they are: `space`, `evaluator`, `strategy`.
        strategy: which searched; None for a retraining.
        flops: the budget of FLOPs as typed.
        params: the budget of params as typed.
        activations: the budget of activations as typed.
        front: over how many budgets the found archs are spread, None where one is searched.
        front_budgets: of the cost that has several budgets: these as typed, the largest last.
        budgets: what is bounded, once the data are known.
        budget: least and most FLOPs, as version 0.1 wrote it.
        recipe_changes: of a search, None where it trains by the recipes as they are.
        length: of a search, once the data are known, as far as its options leave it open.
        bands: bounds on the archs that were looked at, see `nastk.core.band`.
        band: smallest and largest FLOPs of these, as version 0.1 wrote it.
        band_archs: how many archs that are, None where that is not known.
        band_is_exact: whether they were counted.
        data_record: what the data say of themselves.
        threads: with which the run computes.
        threads_of_trainings: by name, those that a retraining began with.
        jobs_of_trainings: by name, the key of the job that a retraining from scratch began as.
    """

    space: str
    target: dict[str, Any]
    proxy: dict[str, Any]
    data: str
    seed: Annotated[int, Between(0, MOST_SEED)]
    device: str
    workers: Annotated[int, Between(0, MOST_PROCESSES)]
    strict: bool
    threads: Annotated[int, Between(1, MOST_PROCESSES)]
    code: dict[str, Code] = field(default_factory=dict)
    threads_of_trainings: dict[str, Annotated[int, Between(1, MOST_PROCESSES)]] = field(
        default_factory=dict
    )
    jobs_of_trainings: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    date: str | None = None
    task: str | None = None
    task_record: dict[str, Any] = field(default_factory=dict)
    strategy: str | None = None
    strategy_options: dict[str, Any] = field(default_factory=dict)
    evaluator: str | None = None
    evaluator_options: dict[str, Any] = field(default_factory=dict)
    supernet: str | None = None
    processes: Annotated[int, Between(1, MOST_PROCESSES)] | None = None
    memory: str = "high"
    precision: str | None = None
    cuda_graph: bool = False
    flops: str | None = None
    params: str | None = None
    activations: str | None = None
    front: Annotated[int, Between(2, MOST_BUDGETS)] | None = None
    front_budgets: dict[str, list[str]] = field(default_factory=dict)
    target_classes: Count | None = None
    evidence: str | None = None
    budgets: list[Limit] | None = None
    budget: list[Count | None] | None = None
    recipe_changes: RecipeChanges | None = None
    length: Length | None = None
    bands: list[Limit] | None = None
    band: list[Count] | None = None
    band_archs: float | None = None
    band_is_exact: bool = False
    data_record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_pair = self.budget is None or (len(self.budget) == 2 and self.budget[1] is not None)
        if not is_pair:
            raise ValueError(f"{self.source} is damaged: its budget is {self.budget}")

    @property
    def method(self) -> tuple[str | None, dict[str, Any]]:
        """The strategy by the name and with the options that it has today.

        Version 0.1 called `meta_kernel` what is `logits`, and a budget was a term of the loss.
        """
        if self.versions.get("nastk") != "0.1.0":
            return self.strategy, self.strategy_options
        name = "logits" if self.strategy == "meta_kernel" else self.strategy
        is_changed = name in ("logits", "multi_feature")
        options = {"budget_term": "smooth"} if is_changed else {}
        return name, options | self.strategy_options

    @property
    def asked(self) -> dict[str, str]:
        """The budgets of a search by what they bound, as typed."""
        typed = {"flops": self.flops, "params": self.params, "activations": self.activations}
        return {metric: text for metric, text in typed.items() if text is not None}

    @property
    def limits(self) -> list[Limit] | None:
        """What a search bounds, whichever version wrote it; None where that is not known yet."""
        if self.budget is None:
            return self.budgets
        low, high = self.budget
        assert high is not None
        return [Limit(metric="flops", low=low, high=high)]
