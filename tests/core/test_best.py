"""The probability of an arch among all of its space."""

import numpy as np
import pytest
from nastk.core.best import log_probability_of
from nastk.search_spaces import SPACES


def test_the_log_probability_of_an_arch_is_relative_to_that_of_the_most_probable_one():
    space = SPACES["toy"]()
    logs = {"width": np.log([0.8, 0.2]), "kernel": np.log([0.5, 0.5])}
    assert log_probability_of(space, {"width": 8, "kernel": 3}, logs) == 0
    assert log_probability_of(space, {"width": 16, "kernel": 5}, logs) == pytest.approx(-1.3862944)


def test_the_log_probability_of_an_arch_does_not_depend_on_what_it_skips():
    space = SPACES["sandglass-micro"]()
    counts = space.num_candidates
    logs = {n: np.log([0.6, *[0.4 / (count - 1)] * (count - 1)]) for n, count in counts.items()}
    choices = {name: choice.candidates[-1] for name, choice in space.choices().items()}
    name = "stage3.block2.keep"
    skipped = space.arch(choices | {name: 0}).choices
    kept = space.arch(choices | {name: 1}).choices
    hidden = [n for n in choices if n.startswith("stage3.block2.") and n != name]
    for other in hidden:
        logs[other] = np.log([0.1, *[0.9 / (counts[other] - 1)] * (counts[other] - 1)])
    first = log_probability_of(space, skipped, logs)
    assert log_probability_of(space, kept, logs) != first
    for other in hidden:
        logs[other] = logs[other][::-1]
    assert log_probability_of(space, skipped, logs) == pytest.approx(first)
