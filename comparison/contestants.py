"""Who takes part in a comparison: the found arch, its rivals of the same space, its references."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..core.arch import Arch
from ..core.band import band_of
from ..core.best import free_archs
from ..core.budget import Budget
from ..core.sampler import sample_archs
from ..core.space import Space
from ..nasbench.references import references

# References within this share of the budget are trained beside the found arch.
NEIGHBOURHOOD = 0.15


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One network of a comparison.

    Attributes:
        name: unique in the comparison.
        kind: `found`, `front` (found for another budget), a rule of `nastk.core.best.FREE`,
            `reference`, `random`, or `given` where archs stand beside each other.
        family: name of its space, or `FILE.py:CLASS`.
        options: of the space that is trained.
        choices: of the arch.
        flops: of the target, by which the budget counts.
        params: of the target.
        inside_budget: whether the target keeps the budget.
    """

    name: str
    kind: str
    family: str
    options: Mapping[str, Any]
    choices: Mapping[str, Any]
    flops: int
    params: int
    inside_budget: bool = True


def contestant(
    name: str, kind: str, *, family: str, target: Space, trained: Space, arch: Arch
) -> Contestant:
    """Return one network, counted on the target.

    Args:
        name: unique in the comparison.
        kind: of `Contestant`.
        family: name of the space as the user gave it.
        target: whose cost is counted.
        trained: the space that is trained, maybe the target itself.
        arch: of both.
    """
    counts = target.cost.count(target.indices(arch.choices))
    return Contestant(
        name=name,
        kind=kind,
        family=family,
        options=trained.options,
        choices=dict(arch.choices),
        flops=counts["flops"],
        params=counts["params"],
    )


def contestants(
    *,
    family: str,
    target: Space,
    proxy: Space,
    arch: Arch,
    budget: Budget,
    num_random: int,
    seed: int,
    with_references: bool = True,
    front: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Contestant]:
    """Return the found arch, those of free rules, random ones and neighbouring references.

    Args:
        family: name of the space as the user gave it.
        target: whose cost is counted.
        proxy: the space that is trained, maybe the target itself.
        arch: what the search found.
        budget: of the search.
        num_random: random archs of the budget's band.
        seed: of the random archs.
        with_references: whether published networks near the budget take part.
        front: choices of the archs that the search found for other budgets, by name.
    """

    def member(name: str, kind: str, values: Arch) -> Contestant:
        return contestant(name, kind, family=family, target=target, trained=proxy, arch=values)

    result = [member("found", "found", arch)]
    for name, choices in (front or {}).items():
        other = target.arch(choices)
        result += [member(name, "front", other)] if other.id != arch.id else []
    result += [member(rule, rule, free) for rule, free in free_archs(target, budget).items()]
    drawn = sample_archs(target, num_random, seed, band_of(target, budget).bounds)
    result += [member(f"random-{n}", "random", values) for n, values in enumerate(drawn, 1)]
    return result + (_neighbours(target, proxy, budget) if with_references else [])


def _neighbours(target: Space, proxy: Space, budget: Budget) -> list[Contestant]:
    """Return the references near the budget, scaled for training as the found arch is."""
    result = []
    trained = proxy.sizes | {"scale": proxy.options.get("scale", 1.0)}
    for reference in references().values():
        if not reference.builds or reference.task != target.kind:
            continue
        if reference.options.get("resolution", target.resolution) != target.resolution:
            continue  # it is another one's network at another resolution
        space, arch = reference.arch(**target.sizes)
        counts = _counts(space, arch)
        if abs(counts[budget.metric] / budget.high - 1) > NEIGHBOURHOOD:
            continue
        result.append(
            Contestant(
                name=reference.name,
                kind="reference",
                family=space.name,
                options=dataclasses.replace(space, **trained).options,
                choices=dict(arch.choices),
                flops=counts["flops"],
                params=counts["params"],
                inside_budget=all(counts[part.metric] <= part.high for part in budget.parts),
            )
        )
    return sorted(result, key=lambda c: c.flops)


@lru_cache(maxsize=256)
def _counts(space: Space, arch: Arch) -> dict[str, int]:
    """Return what an arch costs; tracing all references takes seconds."""
    return space.cost.count(space.indices(arch.choices))
