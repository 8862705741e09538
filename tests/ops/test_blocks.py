"""Tiles of every shape are ones that Triton takes."""

from itertools import product

import pytest
from nastk.ops.kernels.cuda.blocks import depthwise_blocks, row_blocks_per_split, weight_blocks


@pytest.mark.parametrize("blocks", [depthwise_blocks, weight_blocks])
def test_tiles_are_powers_of_two_and_vectors_divide_the_pixels(blocks):
    sizes = ((1, 3, 20, 96, 144, 1280), (1, 7, 14, 56, 112), (2, 4), (True, False), (3, 7, 11))
    for channels, width, item_bytes, last, kernel in product(*sizes):
        b = blocks(channels, width, item_bytes, last, kernel, 1)
        for size in (b.width, b.channels, b.num_warps, b.vector):
            assert size & (size - 1) == 0 and size >= 1, b
        assert b.num_warps <= 8 and channels % b.vector == 0, b


def test_splits_cover_all_rows_with_few_partial_sums():
    b = weight_blocks(144, 56, 2, True, 7, 1)
    per_split = row_blocks_per_split(256, 144, 56, 56, 7, b)
    splits = -(-256 * 14 // per_split)
    assert 100 < splits and splits * 49 * 8 <= 256 * 56 * 56
