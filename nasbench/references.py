"""Published points to compare with: what was printed, where it was read, how nastk builds it."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from torch import nn

from ..core.arch import Arch
from ..core.budget import Budget
from ..core.lookup import lookup
from ..core.resolution import ResolutionLike, resolution_of
from ..core.space import Space
from ..search_spaces.t2t import T2T
from .families import FAMILIES
from .released import load_released
from .t2t_variants import T2TVariant


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One published network.

    Attributes:
        name: lower case, the variant behind a dash.
        paper: arXiv id.
        year: of the paper's first version.
        kind: `searched` or `designed`.
        task: that the figures belong to.
        published: `params_millions`, `flops_millions`, `top1_percent` as printed, where they are.
        source: where the figures (and the table of blocks) were read.
        read: the date of that.
        verified: whether the figures were read at first hand.
        space: family that builds the network; None where nastk cannot.
        options: of the family.
        uniform: settings of the arch that is the network, where the family has choices.
        note: what a reader of the figures has to know.
    """

    name: str
    paper: str
    year: int
    kind: str
    task: str
    published: Mapping[str, float]
    source: str
    read: str
    verified: bool
    space: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    uniform: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if not self.paper.startswith("arXiv:") or not self.source:
            raise ValueError(f"reference {self.name!r} needs an arXiv id and a source")
        try:
            date.fromisoformat(self.read)
        except ValueError:
            raise ValueError(
                f"reference {self.name!r} was read on {self.read!r}, which is no date; "
                "write it as 2026-11-24"
            ) from None

    @property
    def builds(self) -> bool:
        """Whether nastk can build the network."""
        return self.space is not None

    def arch(self, **options: Any) -> tuple[Space, Arch]:
        """Return space and arch of the network, at 224 px and 1000 classes unless it says so.

        Args:
            options: of the space, beside or instead of the network's own.

        Raises:
            ValueError: if only figures were published.
        """
        if self.space is None:
            raise ValueError(f"nastk cannot build {self.name!r}: only its figures were published")
        space = FAMILIES[self.space](**{**self.options, **options})
        if not space.choices():
            return space, space.arch({})
        arch: Arch = space.uniform(**self.uniform)  # type: ignore[attr-defined]
        return space, arch

    @cached_property
    def counts(self) -> dict[str, int] | None:
        """Flops, params and activations as nastk counts them, None where it cannot build."""
        if not self.builds:
            return None
        space, arch = self.arch()
        return space.cost.count(space.indices(arch))

    @property
    def flops(self) -> float | None:
        """FLOPs recounted, else as printed, None where neither can be."""
        if self.counts is not None:
            return self.counts["flops"]
        printed = self.published.get("flops_millions")
        return None if printed is None else 1e6 * printed

    def row(self, budget: Budget | None = None) -> dict[str, Any]:
        """Return what `nastk references` shows."""
        counts = self.counts or {"params": None, "flops": None}
        printed = self.published.get("flops_millions")
        difference = None
        if printed is not None and counts["flops"] is not None:
            difference = round(100 * (counts["flops"] / 1e6 / printed - 1), 2)
        return {
            "name": self.name,
            "paper": self.paper,
            "year": self.year,
            "kind": self.kind,
            "task": self.task,
            "published": dict(self.published),
            "params": counts["params"],
            "flops": counts["flops"],
            "difference_percent": difference,
            "inside_budget": None
            if budget is None or self.flops is None
            else (budget.low or 0) <= self.flops <= budget.high,
            "builds": self.builds,
            "verified": self.verified,
            "source": self.source,
            "read": self.read,
            "note": self.note,
        }


@cache
def references() -> dict[str, Reference]:
    """Return all references by name."""
    content = tomllib.loads(Path(__file__).with_name("references.toml").read_text())
    return {name: Reference(name=name, **entry) for name, entry in content.items()}


def find_reference(name: str) -> Reference:
    """Return a reference by name.

    Raises:
        ValueError: if there is none; the message suggests the nearest name.
    """
    return lookup("network", name, references())


def list_references(flops: str | None = None, task: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of `nastk references`, sorted by FLOPs, unknown ones at the end.

    Args:
        flops: budget such as `357M` or `300M:400M`; rows say whether they are inside.
        task: only the references of this task.

    Raises:
        ValueError: if the budget or the task is none.
    """
    budget = None if flops is None else Budget.parse(flops)
    chosen = list(references().values())
    if task is not None:
        lookup("task", task, dict.fromkeys(reference.task for reference in chosen))
        chosen = [reference for reference in chosen if reference.task == task]
    ordered = sorted(chosen, key=lambda r: math.inf if r.flops is None else r.flops)
    return [reference.row(budget) for reference in ordered]


def load_reference(
    name: str,
    *,
    num_classes: int = 1000,
    resolution: ResolutionLike | None = None,
    weights: str | Path | None = None,
    scale_by: str | None = None,
) -> nn.Module:
    """Return a published network as a plain PyTorch module, freshly initialised without weights.

    Args:
        name: such as `mobilenext-1.0`; `nastk references` lists them.
        num_classes: number of outputs.
        resolution: pixels, those of the publication if None; they decide the positions of tokens,
            elsewhere only counts.
        weights: a checkpoint of the authors' code, for T2T-ViT (`released.load_released`).
        scale_by: of that checkpoint: None for released ones, `head` where the authors' code
            trained from scratch, see there.

    Raises:
        ValueError: if there is no such network, only its figures are known, or the weights are
            those of another network.
    """
    space, arch = find_reference(name).arch()
    side = space.resolution if resolution is None else resolution_of(resolution, name)
    sized = dataclasses.replace(space, num_classes=num_classes, resolution=side)
    if weights is None:
        return sized.build(arch.choices)
    if not isinstance(sized, T2T | T2TVariant):
        raise ValueError(f"weights of {name!r} cannot be read: only those of t2t-vit archs can")
    return load_released(sized, arch, weights, scale_by=scale_by)
