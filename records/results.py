"""The files of results in a run folder, and what has to stand in each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ..core.manifest import Limit
from ..core.record import Between, Count, Record, Seconds, checked, read_record
from ..tasks.named import metrics_of
from .front import FrontRow

Figure = float | None
"""A number that is null where it is not finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult(Record):
    """`result.json`: what a search found, and what that cost."""

    arch_id: str
    seconds: Seconds
    cpu_seconds: Seconds
    peak_memory_bytes: Count
    flops: Count
    params: Count
    budget_flops: Count | None
    run: str = ""
    evaluations: Count = 0
    num_skipped: Count = 0
    budgets: list[Limit] = field(default_factory=list)
    bands: list[Limit] | None = None
    band: list[Count | None] | None = None
    band_archs: Annotated[float, Between(0)] | None = None
    band_is_exact: bool = False
    all_evaluated: bool = False
    entropy: Figure = None
    front: list[FrontRow] | None = None
    dead: list[str] | None = None

    def __post_init__(self) -> None:
        if self.band is not None and (len(self.band) != 2 or self.band[1] is None):
            raise ValueError(f"{self.source} is damaged: its band is {self.band}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Row(Record):
    """One contestant of a comparison, over its seeds; `Compared` checks what was measured."""

    name: str
    kind: str
    flops: Count
    params: Count
    inside_budget: bool
    seeds: Count
    scores: dict[str, Figure] = field(default_factory=dict)
    seconds: Seconds = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Circumstances(Record):
    """The `record` within a result: what else decided it."""

    seed: Count = 0
    device: str = "cpu"
    workers: Count = 0
    strict: bool = False
    threads: Count = 1
    command: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    date: str | None = None
    recipe: str | None = None
    recipe_sha256: str | None = None
    steps: Count | None = None
    start: str | None = None
    memory: str | None = None
    precision: str | None = None
    cuda_graph: bool = False
    data_record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared(Record):
    """`compare.json`: networks trained alike."""

    rows: list[Row]
    data: str
    recipe: str
    num_trainings: Count
    cpu_seconds: Seconds
    run: str | None = None
    recipe_sha256: str | None = None
    steps: Count | None = None
    steps_of_the_recipe: Annotated[int, Between(1)] | None = None
    num_skipped: Count = 0
    device_seconds: Seconds | None = None
    training_seconds: Seconds | None = None
    improvement_percent: Figure = None
    rank: Count | None = None
    seconds: Seconds = 0.0
    record: Circumstances = field(default_factory=Circumstances)

    def __post_init__(self) -> None:
        metrics = metrics_of(self.data)
        keys = [key for metric in metrics for key in (metric.name, metric.spread)]
        for row in self.rows:
            checked({key: row[key] for key in keys}, dict[str, Figure], self.source)
            each = {key: row[key] for key in (metrics[0].values,) if key in row}
            checked(each, dict[str, list[Figure]], self.source)
        randoms = {
            k: v for k, v in self.items() if k.startswith(("random_mean_", "random_spread_"))
        }
        checked(randoms, dict[str, Figure], self.source)


@dataclass(frozen=True, kw_only=True, eq=False)
class Tau(Record):
    """Rank correlations of one score."""

    all: Figure
    best_fifth: Figure = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking(Record):
    """How well each score ranks the random archs."""

    num_archs: Count
    chance: float
    ceiling: Figure
    taus: dict[str, Tau]


@dataclass(frozen=True, kw_only=True, eq=False)
class Verdict(Record):
    """Whether a search was worth its cost."""

    sentence: str
    is_worth_it: bool | None = None
    trainings: Figure = None
    rivals: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence(Compared):
    """`evidence.json`: random archs of the band trained beside the found one."""

    level: str
    verdict: Verdict | None
    ranking: Ranking | None
    num_trainings: Count
    steps: Count
    inherited_seconds: Figure
    share_percent: Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Retrained(Record):
    """`retrain.json`: the last training of the found arch."""

    metrics: dict[str, Figure]
    run: str = ""
    weights: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    num_skipped: Count = 0
    classes: list[str] | None = None
    class_top1_percents: list[Figure] | None = None
    weakest_classes: str = ""
    baselines: dict[str, dict[str, Figure]] = field(default_factory=dict)
    record: Circumstances = field(default_factory=Circumstances)


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateEffects(Record):
    """What the candidates of one choice add to the score of an arch, in their order."""

    effects: list[float]
    errors: list[Annotated[float, Between(0)]]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredBy(Record):
    """One kind of figure that scores were learned from."""

    name: str
    number: Count
    weight: float
    explained: float
    has_pairs: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned(Record):
    """`ranking.json`: what a search by mixtures has learned of every arch."""

    choices: dict[str, CandidateEffects]
    figures: list[ScoredBy]
    explained: Figure
    found_score: Figure = None
    tested_scores: list[float] = field(default_factory=list)
    num_tied: Count
    more_tied: bool
    sentence: str
    warnings: list[str]


RESULTS: dict[str, type[Record]] = {
    "result": SearchResult,
    "compare": Compared,
    "evidence": Evidence,
    "retrain": Retrained,
}
"""By name of the file, without its `.json`."""


def read_learned(path: Path, sizes: Mapping[str, int] | None) -> Learned:
    """Return what a search by mixtures has learned.

    Args:
        path: of the file.
        sizes: how many candidates each choice of the space has; None where that is not known.

    Raises:
        ValueError: naming the file, if it is damaged or of another space.
    """
    learned = read_record(path, Learned)
    for name, row in learned.choices.items():
        if len(row.effects) != len(row.errors):
            raise ValueError(
                f"{path} is damaged: its choice {name!r} has {len(row.effects)} effects and "
                f"{len(row.errors)} errors"
            )
    found = {name: len(row.effects) for name, row in learned.choices.items()}
    if sizes is not None and found != dict(sizes):
        odd = sorted(name for name in {*found, *sizes} if found.get(name) != sizes.get(name))
        raise ValueError(f"{path} is damaged: it is of another space, see choice {odd[0]!r}")
    return learned
