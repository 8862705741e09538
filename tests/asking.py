"""Searches and trainings in the words of the command line, which many tests share with it."""

import nastk
from nastk.commands.words import retrain_arguments, search_arguments


def search(space="sandglass", flops=None, **words):
    """Search as `nastk search` does with these options; `quiet` or `report` in place of a bar."""
    return nastk.search(**search_arguments({"space": space, "flops": flops, **_progress(words)}))


def retrain(what, **words):
    """Train as `nastk retrain` does with these options."""
    return nastk.retrain(what, **retrain_arguments(_progress(words)))


def resume(what, **words):
    """Go on with a search as `nastk search --resume` does with these options."""
    words = _progress(words)
    costs = ("flops", "params", "activations")
    budget = {cost: words.pop(cost) for cost in costs if cost in words}
    return nastk.resume(what, budget or None, **words)


def _progress(words):
    words = dict(words)
    quiet, report = words.pop("quiet", False), words.pop("report", None)
    return words | {"progress": report or not quiet}
