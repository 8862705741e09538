"""A tabular benchmark that travels with nastk: strategies are tested on it without training."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arch import Arch
from ..core.budget import Budget
from ..core.lookup import lookup
from ..core.space import Space
from ..search_spaces import SPACES
from .arch_table import Figures

# A archs, S seeds, E epochs

SCHEMA = 1
TABLES: dict[str, str] = {"mbconv-micro": "mbconv_micro.json.gz"}


@dataclass(frozen=True, kw_only=True)
class Table:
    """All archs of a FLOP band, each trained with several seeds; see `ArchTable`.

    A training is on the weights split; it is measured on the architecture split after every
    epoch (of one schedule, whose rate has not yet fallen at the early ones) and on the test split
    once, at its end.

    Attributes:
        content: the JSON of the table: `space options choices band seeds recipe record archs flops
            params cpu_seconds`, figures and `sha256`.
    """

    content: Mapping[str, Any]

    @cached_property
    def space(self) -> Space:
        """The space of its archs."""
        return lookup("space", self.content["space"], SPACES)(**self.content["options"])

    @property
    def budget(self) -> Budget:
        """The band of its archs."""
        return Budget(*self.content["band"])

    @property
    def num_seeds(self) -> int:
        """Number of trainings of each arch."""
        return len(self.content["seeds"])

    @property
    def num_epochs(self) -> int:
        """Number of epochs of a training."""
        return int(self.validation_loss.shape[2])

    @cached_property
    def validation_loss(self) -> Figures:
        """[A, S, E] cross-entropy on the architecture split after each epoch."""
        return np.array(self.content["validation_loss_nats"])

    @cached_property
    def validation_top1(self) -> Figures:
        """[A, S, E] percent of the architecture split that is right after each epoch."""
        return np.array(self.content["validation_top1_percent"])

    @cached_property
    def test_loss(self) -> Figures:
        """[A, S] cross-entropy on the test split."""
        return np.array(self.content["test_loss_nats"])

    @cached_property
    def test_top1(self) -> Figures:
        """[A, S] percent of the test split that is right."""
        return np.array(self.content["test_top1_percent"])

    @cached_property
    def regret(self) -> Figures:
        """[A] mean test loss over the seeds, less that of the best arch of the table."""
        mean_A = self.test_loss.mean(1)
        result: Figures = mean_A - mean_A.min()
        return result

    @property
    def sha256(self) -> str:
        """Hash of the content."""
        return str(self.content["sha256"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a search is told, and what judges the arch that it returns."""
        return (
            f"{self.num_seeds} trainings an arch: a search is told the loss of one of them on the "
            "architecture split, drawn anew for every search; the mean test loss of all judges "
            "what it returns",
        )

    def num_trainings(self, row: int) -> int:
        """Return how many trainings an arch has."""
        return self.num_seeds

    def loss(self, row: int, training: int, epoch: int) -> float:
        """Return the loss on the architecture split after an epoch, 1 being the first."""
        return float(self.validation_loss[row, training, epoch - 1])

    def position(self, arch: Arch) -> int:
        """Return the row of an arch.

        Raises:
            ValueError: if it belongs to another space or lies outside of the band.
        """
        values = tuple(arch.choices.get(name) for name in self.content["choices"])
        found = self._rows.get(values) if arch.space == self.content["space"] else None
        if found is None:
            low, high = self.content["band"]
            raise ValueError(
                f"arch {arch.id} of {arch.space} is not in the table, which holds the archs of "
                f"{self.content['space']} with {low:,} to {high:,} FLOPs"
            )
        return found

    @cached_property
    def _rows(self) -> dict[tuple[Any, ...], int]:
        candidates = list(self.content["choices"].values())
        return {
            tuple(values[index] for values, index in zip(candidates, row, strict=True)): number
            for number, row in enumerate(self.content["archs"])
        }


def hash_of_content(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a table's JSON, its own hash left out."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_table(path: Path) -> Table:
    """Read a table and check its hash.

    Raises:
        ValueError: if the file is missing, damaged, changed or of another schema.
    """
    if not path.is_file():
        raise ValueError(f"no table {path}; build one: nastk bench table --out {path}")
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise ValueError(f"table {path} is damaged ({error}); take another copy") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f"{path} is no table of schema {SCHEMA}, which this nastk reads")
    if content.get("sha256") != hash_of_content(content):
        raise ValueError(f"table {path} does not have the content that its hash promises")
    return Table(content=content)


@lru_cache(maxsize=2)
def load_table(name: str = "mbconv-micro") -> Table:
    """Return a table: one that nastk carries, by its name, or one of `bench table`, by its file.

    Raises:
        ValueError: if there is none of that name, or its file is missing or damaged.
    """
    if Path(name).suffix or Path(name).is_file():
        return read_table(Path(name).expanduser())
    return read_table(Path(__file__).parent / lookup("table", name, TABLES))
