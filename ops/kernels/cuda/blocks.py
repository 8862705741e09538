"""Sizes of the tiles that one Triton program computes, from shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

# B batch, C channels, H height, W width, K kernel size

TILE = 1024  # elements of one output row in a program: 8 for each of 128 threads
ROWS = 4  # output rows of a program
PROGRAMS = 2048  # enough to fill a large GPU a few times over
PARTIALS_SHARE = 8  # partial sums of backward-weight take at most 1/8 of the feature's elements


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What one program computes, and how wide its memory accesses are."""

    rows: int  # output rows held in registers
    width: int  # columns of a tile, a power of two
    channels: int  # channels of a tile, a power of two
    vector: int  # divides the distance between pixels, hence the elements of one memory access
    num_warps: int = 4
    max_registers: int | None = None  # of a thread, None to leave it to the assembler


def power_of_two(count: int) -> int:
    """Return the smallest power of two that is not below `count`.

    Example:
        >>> [power_of_two(n) for n in (1, 3, 8, 20)]
        [1, 4, 8, 32]
    """
    return 1 << max(count - 1, 0).bit_length()


def vector_size(count: int, item_bytes: int) -> int:
    """Return how many of `count` elements one access of at most 16 bytes can take.

    Example:
        >>> vector_size(144, 2), vector_size(20, 2), vector_size(20, 4), vector_size(3, 2)
        (8, 4, 4, 1)
    """
    return math.gcd(count, 16 // item_bytes)


def depthwise_blocks(
    channels: int, width: int, item_bytes: int, channels_last: bool, kernel: int, stride: int
) -> Blocks:
    """Return the tile of a depthwise pass.

    Args:
        channels: C.
        width: columns that one row of programs covers.
        item_bytes: of one element in memory.
        channels_last: whether channels are the fastest axis.
        kernel: K.
        stride: of the convolution.

    Example:
        >>> b = depthwise_blocks(144, 56, 2, True, 7, 1)
        >>> b.rows, b.width, b.channels, b.vector, b.num_warps
        (4, 16, 64, 8, 4)
    """
    if channels_last:
        block_channels = min(power_of_two(channels), 128 // item_bytes)
        block_width = min(power_of_two(width), TILE // block_channels)
        block_channels = min(power_of_two(channels), TILE // block_width, 256)
        vector = vector_size(channels, item_bytes)
    else:
        block_width = min(power_of_two(width), 64)
        # Pixels without vector accesses need an address each, hence half the tile.
        block_channels = min(power_of_two(channels), TILE // 2 // block_width, 32)
        vector = 1
    per_warp = 256 if channels_last else 128
    # Left to itself the assembler spills some bytes here in exchange for one more warp.
    bound = 128 if kernel == 3 and stride == 2 and item_bytes == 2 else None
    num_warps = min(4, max(1, block_width * block_channels // per_warp))
    if kernel > 7 and not channels_last:
        num_warps *= 2
    return Blocks(
        rows=ROWS,
        width=block_width,
        channels=block_channels,
        vector=vector,
        num_warps=num_warps,
        max_registers=bound,
    )


def weight_blocks(
    channels: int, width: int, item_bytes: int, channels_last: bool, kernel: int, stride: int
) -> Blocks:
    """Return the tile of backward-weight, which also holds a sum for each of the K kernel rows.

    The arguments are those of `depthwise_blocks`.
    """
    blocks = depthwise_blocks(channels, width, item_bytes, channels_last, kernel, stride)
    if kernel < 7:
        return blocks
    bound = 255 if kernel > 7 else blocks.max_registers if channels_last else 168
    doubled = blocks.num_warps * (1 if kernel > 7 and not channels_last else 2)
    return replace(blocks, num_warps=doubled, max_registers=bound)


def row_blocks_per_split(
    batch: int, channels: int, height: int, width: int, kernel: int, blocks: Blocks
) -> int:
    """Return how many blocks of rows one program of backward-weight sums.

    There are enough splits to fill the GPU, but their partial sums stay small beside the feature.

    Args:
        batch: B.
        channels: C.
        height: rows of the output.
        width: columns of the output.
        kernel: K.
        blocks: the tile.
    """
    row_blocks = batch * math.ceil(height / blocks.rows)
    channel_blocks = math.ceil(channels / blocks.channels)
    wanted = math.ceil(PROGRAMS / channel_blocks)
    most = max(1, batch * height * width // (PARTIALS_SHARE * kernel * kernel))
    return math.ceil(row_blocks / min(wanted, most, row_blocks))
