"""What a command says at its end: how far a search decided, and what comes next."""

from __future__ import annotations

import shlex


def entropy_in_words(entropy: float) -> str:
    """Judge how far the logits of a search have decided.

    Args:
        entropy: mean over choices, as a share of its maximum.

    Example:
        >>> entropy_in_words(0.05)
        'entropy 0.05 of 1: the logits have decided'
    """
    said = f"entropy {entropy:.2f} of 1: the logits have "
    if entropy > 0.6:
        return said + (
            "hardly decided; the arch is little better than a guess among those of the budget: "
            "search longer (--steps, --epochs), or train --finalists"
        )
    if entropy > 0.3:
        return said + (
            "decided in part; other archs of the budget may do as well: search longer (--steps, "
            "--epochs), or train --finalists"
        )
    return said + ("all but decided" if entropy > 0.1 else "decided")


def after_search(run: str) -> str:
    """Return what comes behind a search."""
    return f"next: nastk retrain {shlex.quote(run)} (trains the found network and tests it)"


def after_retrain(run: str) -> str:
    """Return what comes behind a retraining."""
    run = shlex.quote(run)
    return (
        f"next: nastk evaluate {run} (tests it again, or on other --data), "
        f"nastk export {run} --to model.onnx (a file that runs without nastk)"
    )


def after_comparison(run: str | None) -> str | None:
    """Return what comes behind a comparison around the run of a search."""
    return (
        None if run is None else f"next: nastk report {shlex.quote(run)} (one page about all of it)"
    )
