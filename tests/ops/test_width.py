"""Channels that depend on what operators made of one decision."""

import pytest
import torch
from nastk.core.choice import Choice
from nastk.ops.width import grouped

# What three candidates mean: the kernel of the first and of the second group, 0 where it is absent.
FIRST, SECOND = {"skip": 0, "small": 3, "large": 5}, {"skip": 0, "small": 0, "large": 5}


def width():
    choice = Choice("operation", ("skip", "small", "large"))
    return choice, grouped(2, (choice.map(FIRST.__getitem__), choice.map(SECOND.__getitem__)))


@pytest.mark.parametrize(
    "mixture, first, second", [((1, 0, 0), 0, 0), ((0, 1, 0), 1, 0), ((0.2, 0.3, 0.5), 0.8, 0.5)]
)
def test_groups_by_two_readings_of_one_decision_are_masked_by_each(mixture, first, second):
    choice, channels = width()
    choice.slot.set_probs(torch.tensor(mixture))
    assert channels.mask().tolist() == pytest.approx([first, first, second, second])


def test_a_decision_that_is_made_keeps_the_channels_of_its_groups():
    choice, channels = width()
    for index, kept in enumerate(([], [0, 1], [0, 1, 2, 3])):
        choice.slot.set_index(index)
        assert channels.kept().tolist() == kept
