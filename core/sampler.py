"""Random archs, uniform over the different archs of a space or of a band of its costs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .arch import Arch
from .bounds import Bounds
from .budget import NEARLY, solve
from .cost import Indices, completions
from .polynomial import Polynomial
from .space import Space
from .tilt import Logs, gates_of, log_tilt
from .trace import Use
from .walk import walk

_BATCH = 20_000
_TRIAL_DRAWS = 200_000  # after which it is judged whether rejection will do
_MAX_DRAWS = 4_000_000
_ENOUGH = 2000  # different archs of a band, to estimate how many there are


def sample(
    space: Space,
    count: int,
    seed: int | np.random.Generator,
    band: Bounds | tuple[float, float] | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Draw archs uniformly over the different archs whose costs lie in the band.

    Choices that an arch makes idle stand at their first candidate and are not counted, so that
    equal networks are one arch. Narrow corners of a space are reached by drawing from an
    exponentially tilted distribution and correcting for the tilt by rejection, which keeps the
    result uniform. Where that meets too few, all archs of a band that has few are listed, and are
    drawn from uniformly; a thin band of many is walked through, which is uniform but nearly, and
    a warning in the log says so (see `walk`).

    Args:
        space: the space.
        count: number of archs, drawn with replacement.
        seed: of the archs; or the generator of a stream.
        band: bounds on costs, a pair on FLOPs alone, or None for the whole space.

    Returns:
        For each choice [count] candidate indices.

    Raises:
        ValueError: if no arch lies in the band.
    """
    if count == 0:
        return {name: np.zeros(0, dtype=np.int64) for name in space.choices()}
    generator = np.random.default_rng(seed)
    if band is None:
        return _draw(space, count, generator)
    band = Bounds.of(band)
    tilt, surrogate, top = _find_tilt(space, band, generator)
    found: list[Indices] = []
    have = drawn = 0
    while have < count:
        if drawn >= _TRIAL_DRAWS and have / drawn * _MAX_DRAWS < count:
            return walk(space, count, generator, band, _draw)
        indices = _draw(space, _BATCH, generator, tilt)
        drawn += _BATCH
        keep = band.allows(space.cost, indices)
        if surrogate is not None:
            gain = surrogate.evaluate(indices) - top
            keep &= np.log(generator.random(_BATCH)) < gain
        found.append({name: column[keep] for name, column in indices.items()})
        have += int(keep.sum())
    return {
        name: np.concatenate([part[name] for part in found])[:count] for name in space.choices()
    }


def sample_archs(
    space: Space,
    count: int,
    seed: int | np.random.Generator,
    band: Bounds | tuple[float, float] | None = None,
) -> list[Arch]:
    """Return archs that `sample` draws."""
    drawn = sample(space, count, seed, band)
    return [space.arch_at({n: int(column[i]) for n, column in drawn.items()}) for i in range(count)]


def _draw(
    space: Space,
    count: int,
    generator: np.random.Generator,
    tilt: Mapping[str, NDArray[np.float64]] | None = None,
) -> dict[str, NDArray[np.int64]]:
    """Draw from the product of the tilts over different archs."""
    weights = completions(space.cost, tilt)
    parts: list[dict[str, NDArray[np.int64]]] = []
    have = 0
    while have < count:
        parts.append(_proposals(space, count, generator, weights))
        have += len(next(iter(parts[-1].values())))
    return {name: np.concatenate([part[name] for part in parts])[:count] for name in weights}


def _proposals(
    space: Space,
    count: int,
    generator: np.random.Generator,
    weights: Mapping[str, NDArray[np.float64]],
) -> dict[str, NDArray[np.int64]]:
    """Draw so many settings by the weights of `completions`, and return those that are archs."""
    cost = space.cost
    # `completions` knows how often each candidate occurs where one gate decides about a choice.
    # A choice under several gates is drawn in any case: where it turns out idle, only the draws
    # of its first candidate are kept, so that equal networks count once.
    shared = [n for n, uses in cost.uses.items() if cost.parents[n] is None and _is_gated(uses)]
    drawn = {}
    for name, vector in weights.items():
        steps = np.cumsum(vector / vector.sum())
        steps[-1] = 1.0
        drawn[name] = np.searchsorted(steps, generator.random(count), side="right")
    active = cost.active(drawn)
    kept = np.ones(count, dtype=bool)
    for name in shared:
        kept &= active[name] | (drawn[name] == 0)
    for constraint in space.constraints:
        kept &= constraint.allows(drawn)
    return {name: np.where(active[name], column, 0)[kept] for name, column in drawn.items()}


def _exp(logs: Logs) -> dict[str, NDArray[np.float64]]:
    return {name: np.exp(vector) for name, vector in logs.items()}


def _is_gated(uses: tuple[Use, ...]) -> bool:
    return all(use.gates for use in uses)


def _find_tilt(
    space: Space, band: Bounds, generator: np.random.Generator
) -> tuple[dict[str, NDArray[np.float64]] | None, Polynomial | None, float]:
    """Return a tilt that makes the band likely, its negative logarithm and that one's maximum."""
    logs = log_tilt(space, band, _draw, generator)
    if logs is None:
        return None, None, 0.0
    surrogate = Polynomial()
    for name, vector in logs.items():
        factor = Polynomial.of(name, -vector)
        for gate_name, alive in gates_of(space, name):
            factor = factor * Polynomial.of(gate_name, [float(flag) for flag in alive])
        surrogate = surrogate + factor
    best = solve(space, surrogate, band, gap=NEARLY)
    if best is None:
        raise ValueError(f"no arch of {space.name} has {band}")
    top = float(surrogate.evaluate({n: np.array([index]) for n, index in best.items()})[0])
    return _exp(logs), surrogate, top + NEARLY * abs(top)  # no arch of the band exceeds that


def estimate(space: Space, band: Bounds) -> tuple[float, int]:
    """Return about how many archs a band holds, and how many different ones were met for that.

    Uniform or tilted draws are weighted by what one of them stands for.
    """
    generator = np.random.default_rng(0)
    tilt_logs = log_tilt(space, band, _draw, generator)
    tilt = None if tilt_logs is None else _exp(tilt_logs)
    weights = completions(space.cost, tilt)
    roots = [name for name in weights if space.cost.parents[name] is None]
    log_total = sum(math.log(float(weights[name].sum())) for name in roots)
    logs: list[NDArray[np.float64]] = []
    met: set[bytes] = set()
    proposed = 0
    while proposed < _TRIAL_DRAWS and len(met) < _ENOUGH:
        drawn = _proposals(space, _BATCH, generator, weights)
        proposed += _BATCH
        inside = band.allows(space.cost, drawn)
        logs.append(
            -sum(
                (t[drawn[n][inside]] for n, t in (tilt_logs or {}).items()), np.zeros(inside.sum())
            )
        )
        met.update(row.tobytes() for row in np.stack([c[inside] for c in drawn.values()], 1))
    every = np.concatenate(logs)
    if not len(every):
        return 0.0, 0
    shift = float(every.max())
    mean = float(np.exp(every - shift).sum()) / proposed
    return math.exp(min(700.0, log_total + shift + math.log(mean))), len(met)
