"""Settings of strategies that say which values make sense."""

from dataclasses import dataclass

import pytest
from nastk.strategies import BlackBox, Gumbel, LogitsSearch, MetaKernel, SinglePath


@dataclass(frozen=True, kw_only=True)
class Mine(BlackBox):
    """Another default, of the same limits."""

    evaluations: int = 3

    def sampler(self, space, budget, seed):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("family", "options", "words"),
    [
        (Mine, {"evaluations": 0}, "Mine takes as evaluations at least 1 and at most 1,000,000"),
        (MetaKernel, {"supernets": 0}, "supernets at least 1 and at most 100; got 0"),
        (MetaKernel, {"concentration_end": 0.0}, "concentration_end a number above 0; got 0.0"),
        (LogitsSearch, {"warmup": 1.0}, "warmup a share of at least 0 and below 1; got 1.0"),
        (LogitsSearch, {"level": "fast"}, "level one of single, bilevel; got 'fast'"),
        (LogitsSearch, {"mixture": "two_path"}, "mixture one of gumbel, softmax"),
        (Gumbel, {"mixture": "softmax"}, "mixture one of two_path"),
        (Gumbel, {"budget_term": "exact"}, "budget_term one of"),
        (SinglePath, {"evaluations": 2}, "from which something is learned, and at most 1,000,000"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_line(family, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        family(**options)
    assert "\n" not in str(caught.value)


def test_none_stands_for_a_default():
    assert MetaKernel(weights_lr=None, archs=None).archs is None and Mine().evaluations == 3
