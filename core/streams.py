"""Every purpose of random numbers has a stream of its own: a state is (stream, seed, two, kind).

What is drawn from one state is drawn by one purpose, whatever others draw before or after it. The
numbers of a seed alone, without a stream, are two purposes too: the weights of a network that is
built (torch) and archs at random (numpy, see `nastk.core.sampler.sample`).
"""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np

VERSION = 2
"""Of this list; checkpoints tell it. 1 are the tuples of any length that nastk 0.1 drew from."""

_OF_BATCH, _OF_ITEM, _OF_STEP = 1, 2, 3


@unique
class Stream(IntEnum):
    """Purposes, and what the two numbers beside the seed are; below 100 they are a task's own."""

    # Data that train: epoch and position of a batch, or epoch and number of an item.
    ORDER = 100  # epoch
    SHIFT = 101  # of batch
    MIXING = 102  # of batch: erasing, mixup, cutmix
    CROP = 103  # of item
    FLIP = 104  # of item
    RAND_AUGMENT = 105  # of item
    REPLACEMENT = 106  # of item: what stands in for one that cannot be read

    # Networks that train.
    DROPOUT = 110  # step; drop path too
    MIXTURE = 111  # step, split: by gradient
    RANDOM_MIXTURE = 112  # step
    FAIR_PATH = 113  # choice, turn
    SUPERNET = 114  # number: seeds of the supernets of a search behind the first
    UNTRAINED = 115  # number: weights that stay as they begin

    # Archs, and what is learned of them.
    TRAINED_PATHS = 120
    TESTED_PATHS = 121
    TESTED_ARCHS = 122
    UNTRAINED_ARCHS = 123
    NEW_ARCHS = 124  # batch
    SCORE_SCALE = 125
    RESAMPLES = 126
    MODEL_SCALE = 127

    # Samplers.
    LOCAL = 130
    EVOLUTION = 131
    THOMPSON = 132  # archs that were asked for
    ON_OPTUNA = 133
    ON_NNI = 134
    IN_OPTUNA = 135  # trial, purpose

    def generator(self, seed: int, first: int = 0, second: int = 0) -> np.random.Generator:
        """Return the generator of this purpose.

        Args:
            seed: of the search or training.
            first: what the list above says, at least 0.
            second: so as well.
        """
        return np.random.default_rng(_state(self, seed, first, second, _OF_STEP))

    def seed(self, seed: int, first: int = 0, second: int = 0) -> int:
        """Return 32 bits, to seed what takes a single number, as torch does.

        Those of two states differ but for chance; torch's generator on the CPU takes no more bits.

        Example:
            >>> Stream.DROPOUT.seed(0, 7) == Stream.DROPOUT.seed(7, 0)
            False
        """
        sequence = np.random.SeedSequence(_state(self, seed, first, second, _OF_STEP))
        return int(sequence.generate_state(1)[0])


def of_batch(stream: int, seed: int, epoch: int, position: int) -> np.random.Generator:
    """Return the generator of one purpose of a batch, see `nastk.training.batch.Draw`."""
    return np.random.default_rng(_state(stream, seed, epoch, position, _OF_BATCH))


def of_item(stream: int, seed: int, epoch: int, item: int) -> np.random.Generator:
    """Return the generator of one purpose of an item in an epoch."""
    return np.random.default_rng(_state(stream, seed, epoch, item, _OF_ITEM))


def _state(stream: int, seed: int, first: int, second: int, kind: int) -> tuple[int, ...]:
    """Return always five numbers, the last at least 1.

    numpy pads short seeds with zeros, so that (7, 3) and (7, 3, 0, 0) would be one state.
    """
    return (int(stream), seed, first, second, kind)
