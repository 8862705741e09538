"""From the events of a search to what it has learned of every arch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..core.cost import Indices
from ..core.space import Space
from .effects import Array, Features, logarithms, ranks, without_trend
from .ranking import Figures, Ranking

# A archs or mixtures, D choices, N candidates

_SKIPPED_SHARE = 0.3  # of the updates: their losses say how far training is, not which arch is good
_LEAST = 1e-6  # of a probability; runs write four digits
FEWEST = 8  # figures from which anything is read

Events = Sequence[Mapping[str, Any]]


def read_ranking(space: Space, events: Events, seed: int) -> Ranking:
    """Return what a search has learned of every arch.

    Args:
        space: whose archs are ranked.
        events: of the search: updates with `supernet`, `mixture` and `loss`; archs with `tested`,
            `supernet` and `inherited_loss`; archs with `untrained` and `naswot`; or some of these.
        seed: of the random archs over which scores are scaled, and of the resamples.

    Raises:
        ValueError: if the events are of another space.
    """
    features = Features(space)
    try:
        figures = [*_of_supernets(features, events), *_of_untrained(features, events)]
    except (KeyError, IndexError, TypeError, ValueError):
        raise ValueError(f"the events of the search are not of space {space.name!r}") from None
    return Ranking(space, figures, seed)


def has_ranking(events: Events) -> bool:
    """Tell whether events are of a search whose losses rank all archs."""
    return any("mixture" in event or "tested" in event for event in events)


def serves_all_budgets(events: Events) -> bool:
    """Tell whether its supernet trained on the whole space, so that the ranking knows no budget."""
    return any("mixture" in event for event in events)


def read_log_probs(space: Space, events: Events) -> dict[str, list[float]] | None:
    """Return the logarithms of the last probabilities that a search logged, by choice.

    None where it has logged none of the choices of this space.
    """
    sizes = space.num_candidates
    for event in reversed(events):
        probs = event.get("probs", {})
        if {name: len(row) for name, row in probs.items()} == sizes:
            return {name: np.log(np.maximum(row, _LEAST)).tolist() for name, row in probs.items()}
    return None


def _of_supernets(features: Features, events: Events) -> Iterator[Figures]:
    """Yield the figures of each supernet: losses of its updates, and of archs on its weights."""
    for number in sorted({event["supernet"] for event in events if "supernet" in event}):
        mine = [event for event in events if event.get("supernet") == number]
        updates = [event for event in mine if "mixture" in event]
        updates = updates[int(_SKIPPED_SHARE * len(updates)) :]
        if len(updates) >= FEWEST:
            yield Figures(
                name=f"training {number}",
                single=len(features.names),
                may_pair=False,  # products of weights blur: tau 0.80 falls to 0.73 on a table
                rows=features.of_mixtures(
                    _padded(features.counts, [event["mixture"] for event in updates])
                ),
                values=without_trend(np.array([float(event["loss"]) for event in updates])),
            )
        tested = [event for event in mine if "tested" in event]
        if len(tested) >= FEWEST:
            losses = [_loss(event["inherited_loss"]) for event in tested]
            yield Figures(
                name=f"inherited {number}",
                single=len(features.names),
                rows=features.of_archs(_archs_of(features, tested)),
                values=logarithms(losses),
                is_measure=True,
            )


def _of_untrained(features: Features, events: Events) -> Iterator[Figures]:
    """Yield the figures of untrained archs, if they differ."""
    untrained = [event for event in events if "untrained" in event]
    if len(untrained) >= FEWEST and any(event["naswot"] is not None for event in untrained):
        costs = [-float(e["naswot"]) if e["naswot"] is not None else np.inf for e in untrained]
        rows = features.of_archs(_archs_of(features, untrained))
        single = len(features.names)
        yield Figures(name="untrained", rows=rows, values=ranks(costs), single=single)


def _archs_of(features: Features, events: Events) -> Indices:
    """Return the candidate indices of the archs that events are about."""
    table = np.array([event["indices"] for event in events], dtype=np.int64)
    if (table >= np.array(features.counts)).any():
        raise IndexError("a candidate that the space does not have")
    return dict(zip(features.choices, table.T, strict=True))


def _padded(counts: Sequence[int], mixtures: Sequence[Sequence[Sequence[float]]]) -> Array:
    """Return [A, D, N] mixtures, zero behind the last candidate of each choice."""
    result = np.zeros((len(mixtures), len(counts), max(counts)))
    for row, count in enumerate(counts):
        result[:, row, :count] = [mixture[row] for mixture in mixtures]
    if any(len(mixture) != len(counts) for mixture in mixtures):
        raise ValueError("more choices than the space has")
    return result


def _loss(value: float | None) -> float:
    return np.inf if value is None else float(value)
