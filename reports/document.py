"""What runs tell, gathered into one document that a page and other programs read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..comparison.ranking import judge, rank_scores
from ..core.arch import Arch
from ..core.band import band_of
from ..core.budget import recorded_budget
from ..core.choice import Value
from ..core.cost import METRICS
from ..core.dead import dead_in_words
from ..core.manifest import Manifest
from ..core.sampler import sample
from ..core.space import Space
from ..records.front import in_words
from ..tasks.named import family_of, metrics_of
from .class_facts import class_facts
from .learned import learned_facts
from .reproduce import commands, missing_parts
from .story import Story
from .trained import (
    curve_facts,
    loss_facts,
    training_facts,
    training_seconds,
)
from .wording import sentence_of

SCHEMA = 1
# Entropy (as a share of its maximum) above which a search has decided little, and below which it
# had decided everything too early if it got there in the first half of its steps.
UNDECIDED, DECIDED = 0.9, 0.05
# Random archs of the band whose skips are the measure for those of the found one.
_SAMPLE = 200
# Names of candidates that stand for no operator at all.
_SKIPS = ("none", "zero", "zeroize", "identity", "id")


def document(story: Story) -> dict[str, Any]:
    """Return what the page of a run shows, without its pictures."""
    manifest, files = story.manifest, story.files
    compared = files.get("compare") or files.get("evidence")
    judged = files.get("evidence") or files.get("compare")
    verdict = ranking = None
    if "evidence" in files:
        verdict, ranking = files["evidence"].get("verdict"), files["evidence"].get("ranking")
    elif judged:
        first = metrics_of(judged["data"])[0]
        ranking = rank_scores(judged["rows"], first)
        share = _share_of_recipe(judged)
        if story.is_search:
            verdict = judge(judged["rows"], _trainings(story), share, metric=first)
    return {
        "run": str(story.path),
        "status": story.status,
        "notes": story.notes,
        **{key: manifest.get(key) for key in _COPIED},
        "budgets": _limits(manifest),
        "budget": _pair(_limits(manifest)),
        "arch": _arch(story),
        "search": _search(story),
        "collapse": _collapse(story),
        "comparison": compared,
        "comparison_source": None if compared is None else _source(files),
        "front": _front(story),
        "verdict": verdict,
        "ranking": ranking,
        "task": None if story.space is None else family_of(manifest.data).kind,
        "retrained": (files.get("retrain") or {}).get("metrics"),
        "training": training_facts(story),
        "learning_curve": curve_facts(story),
        "by_class": class_facts(story.answers),
        "losses": loss_facts(story),
        "band": _band(files.get("result", {})) or _band(manifest),
        "cost": _cost(story),
        "data_record": manifest.get("data_record"),
        "recipe": _recipe(files),
        "commands": commands(story),
        "missing": missing_parts(story),
    }


_COPIED = (
    "space",
    "target",
    "proxy",
    "strategy",
    "strategy_options",
    "evaluator",
    "date",
    "seed",
    "data",
    "flops",
    "device",
    "threads",
    "versions",
    "git_commit",
)


def _source(files: Mapping[str, Any]) -> str:
    return "compare.json" if "compare" in files else "evidence.json"


def _arch(story: Story) -> dict[str, Any] | None:
    if story.arch is None or story.counts is None:
        return None
    counts = {name: story.counts[name] for name in METRICS}
    return {"id": story.arch.id, "choices": dict(story.arch.choices), **counts}


def _front(story: Story) -> list[dict[str, Any]]:
    """Return the best archs of several budgets, by the search's own score."""
    keys = ("arch_id", "file", "flops", "params", "activations", "score")
    return [
        {"budget": in_words(row.budgets), **{key: getattr(row, key) for key in keys}}
        for row in story.front
    ]


def _band(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return where the search looked, and how many archs are there."""
    bounds = result.get("bands")
    if bounds is None:  # version 0.1 knew bounds on FLOPs alone
        if not isinstance(band := result.get("band"), list) or len(band) != 2:
            return None
        bounds = [{"metric": "flops", "low": band[0], "high": band[1]}]
    archs, is_exact = result.get("band_archs"), result.get("band_is_exact")
    flops = _pair(bounds)
    return {"bounds": bounds, "flops": flops, "num_archs": archs, "is_exact": bool(is_exact)}


def _limits(manifest: Manifest) -> list[dict[str, Any]]:
    """Return what a search was asked to bound: `metric low high` of each."""
    return [
        {k: getattr(one, k) for k in ("metric", "low", "high")} for one in manifest.limits or ()
    ]


def _pair(limits: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Return the bounds of FLOPs, None where these are free."""
    return next(([one["low"], one["high"]] for one in limits if one["metric"] == "flops"), None)


def _search(story: Story) -> dict[str, Any]:
    """Return how the search went, in figures."""
    trials, updates, history = story.trials, story.updates, story.history
    losses = [trial.get("loss") for trial in story.full_trials]
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    last = updates[-1] if updates else {}
    tail = [event["loss"] for event in updates[-max(len(updates) // 20, 1) :]]
    return {
        "num_updates": len(updates),
        "num_supernets": story.num_supernets,
        "num_trials": len(trials),
        "best_trial_loss": min(finite, default=None),
        "loss_at_the_end": statistics.mean(tail) if tail else None,
        "num_losses_not_finite": sum(not math.isfinite(e["loss"]) for e in updates),
        "expected_flops": last.get("expected_flops"),
        "entropy": last.get("entropy"),
        "probs": history[-1] if history else None,
        "learned": learned_facts(story),
    }


def _collapse(story: Story) -> dict[str, Any]:
    """Return the signs of a collapse, and warnings in words where they are bad."""
    result: dict[str, Any] = {"warnings": []}
    warn = result["warnings"].append
    entropies = [e["entropy"] for e in story.updates if e.get("entropy") is not None]
    if entropies:
        result["entropy"] = entropies[-1]
        if entropies[-1] > UNDECIDED and story.status == "finished":
            warn(
                f"The choices are almost as open as at the start (entropy {entropies[-1]:.2f} of "
                "1): the search has learned little. Search for more steps."
            )
        if min(entropies[: len(entropies) // 2], default=1.0) < DECIDED:
            warn(
                "The choices were decided before half of the search was over: a lower learning "
                "rate of the logits lets more of them be tried."
            )
    if story.learned is not None:
        result["warnings"] += map(sentence_of, story.learned.warnings)
    if count := sum(not math.isfinite(e["loss"]) for e in story.updates):
        warn(f"The loss was not finite at {count} of {len(story.updates)} steps: it diverged.")
    if dead := story.files.get("result", {}).get("dead"):
        result["dead"] = dead
        warn(f"{sentence_of(dead_in_words(dead))}")
    if story.arch is not None and story.space is not None:
        result |= _skips(story, story.space, story.arch)
        share, usual = result["share_skipped"], result["share_skipped_random"]
        if usual is not None and share >= 0.5 and share > usual + 0.25:
            warn(
                f"{100 * share:.0f}% of what could be skipped is skipped, where random archs of "
                f"the budget skip {100 * usual:.0f}%: the search may have collapsed to skips."
            )
    return result


def _skips(story: Story, space: Space, arch: Arch) -> dict[str, Any]:
    """Return how much of what may be absent is absent, and in random archs.

    Absent is a candidate 0, or one that is named as nothing or as a skip.
    """
    known = {n: [*map(is_skip, choice.candidates)] for n, choice in space.choices().items()}
    zeros = {n: np.flatnonzero(skips) for n, skips in known.items() if any(skips)}
    zeros = {n: indices for n, indices in zeros.items() if len(indices) < len(known[n])}
    answer: dict[str, Any] = {"num_skippable": len(zeros), "share_skipped": None}
    answer["share_skipped_random"] = None
    if not zeros or story.manifest.limits is None:
        return answer
    indices = space.indices(arch)
    answer["num_skipped"] = sum(int(indices[name] in zero) for name, zero in zeros.items())
    answer["share_skipped"] = answer["num_skipped"] / len(zeros)
    try:
        band = band_of(space, recorded_budget(story.manifest)).bounds
        drawn = sample(space, _SAMPLE, 0, band)
    except ValueError:  # a band so thin that hardly an arch lies in it
        return answer
    shares = [float(np.isin(drawn[name], zero).mean()) for name, zero in zeros.items()]
    answer["share_skipped_random"] = statistics.mean(shares)
    return answer


def is_skip(candidate: Value) -> bool:
    """Tell whether a candidate is the absence of an operator, by its value or by its name.

    Example:
        >>> [is_skip(c) for c in (0, 3, "none", "skip_connect", "Identity", "conv_3x3", "0")]
        [True, False, True, True, True, False, False]
    """
    if isinstance(candidate, str):
        word = candidate.lower()
        return word in _SKIPS or word.startswith("skip")
    return candidate == 0


def _trainings(story: Story) -> float | None:
    """Return what the search cost, in whole trainings of the comparison's recipe."""
    compared = story.files.get("compare", {})
    spent, one = _device_seconds(story), compared.get("training_seconds")
    return spent * _share_of_recipe(compared) / one if spent and one else None


def _retrainings(story: Story) -> float | None:
    """Return what the search cost, in trainings like the one that was done behind it."""
    spent, one = _device_seconds(story), training_seconds(story)
    return spent / one if spent and one else None


def _share_of_recipe(compared: Mapping[str, Any]) -> float:
    """Return the share of the recipe's updates that each training of a comparison got."""
    steps, whole = compared.get("steps"), compared.get("steps_of_the_recipe")
    return steps / whole if steps and whole else 1.0


def _device_seconds(story: Story) -> float | None:
    """Return the seconds of the search: of the CPU, or wall on a GPU."""
    on_cpu = story.manifest.device == "cpu"
    seconds: float | None = story.files.get("result", {}).get(
        "cpu_seconds" if on_cpu else "seconds"
    )
    return seconds


def _cost(story: Story) -> dict[str, Any]:
    result, evidence = story.files.get("result", {}), story.files.get("evidence", {})
    compared = story.files.get("compare", {})
    seconds = _device_seconds(story)
    return {
        "device_hours": None if seconds is None else seconds / 3600,
        "seconds": result.get("seconds"),
        "cpu_seconds": result.get("cpu_seconds"),
        "peak_memory_bytes": result.get("peak_memory_bytes"),
        "num_evaluations": len(story.trials) or None,
        "num_updates": len(story.updates) or None,
        "in_trainings": _trainings(story)
        or (evidence.get("verdict") or {}).get("trainings")
        or _retrainings(story),
        "evidence_cpu_seconds": evidence.get("cpu_seconds"),
        "evidence_share_percent": evidence.get("share_percent"),
        "comparison_cpu_seconds": compared.get("cpu_seconds"),
    }


def _recipe(files: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return name and hash of the recipe, as they were when it was used."""
    source = files.get("compare") or files.get("evidence")
    source = source or files.get("retrain", {}).get("record", {})
    if source.get("recipe") is None:
        return None
    return {"name": source["recipe"], "sha256": source.get("recipe_sha256")}
