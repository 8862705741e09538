"""The learning-rate schedule at its corners."""

import pytest
from nastk.core.schedule import warmup_cosine


@pytest.mark.parametrize("warmup", [0.015, 0.15, 0.5])
def test_the_rate_rises_to_its_peak_and_falls_to_zero(warmup):
    assert warmup_cosine(0, warmup) == pytest.approx(1 / 25)
    assert warmup_cosine(warmup / 2, warmup) == pytest.approx(0.52)
    assert warmup_cosine(warmup, warmup) == 1
    assert warmup_cosine(warmup - 1e-9, warmup) == pytest.approx(1)  # without a jump
    assert warmup_cosine((1 + warmup) / 2, warmup) == pytest.approx(0.5)
    assert warmup_cosine(1, warmup) == pytest.approx(0, abs=1e-12)


def test_without_warm_up_the_rate_begins_at_its_peak():
    assert warmup_cosine(0, 0) == 1


def test_the_rate_never_leaves_zero_to_one_and_turns_once():
    factors = [warmup_cosine(step / 200, 0.15) for step in range(201)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[:31] == sorted(factors[:31])
    assert factors[30:] == sorted(factors[30:], reverse=True)
