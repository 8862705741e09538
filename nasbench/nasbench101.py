"""The cells of NAS-Bench-101: what is one, how the table calls it, and the network built of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..ops import batch_norm, conv2d, linear
from ..search_spaces.blocks import Head

# arXiv:1902.09635, section 2; the order, of the released configuration, decides hashes.
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
MAX_VERTICES, MAX_EDGES = 7, 9

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A directed acyclic graph with an operation at every vertex (arXiv:1902.09635, section 2).

    Vertices that are on no path from input to output do nothing: `prune` makes a cell without
    them. Cells form no `Space`: the channels of a vertex depend on all edges at once, so that
    the cost of a cell is no polynomial of its choices.

    Attributes:
        matrix: [V, V] zeros and ones; entry (i, j) is the edge from vertex i to vertex j > i.
        operations: V names, the first `input`, the last `output`.
    """

    matrix: Matrix
    operations: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_shape(self.matrix, self.operations)
        size, names = len(self.matrix), self.operations
        if any(e not in (0, 1) or (e and j <= i) for i, j, e in self._entries()):
            raise ValueError(
                "the matrix of a cell holds zeros and ones, the latter above the diagonal"
            )
        if unknown := [name for name in names[1:-1] if name not in OPERATIONS]:
            raise ValueError(f"unknown operation {unknown[0]!r}; known: {', '.join(OPERATIONS)}")
        if (names[0], names[-1]) != ("input", "output"):
            raise ValueError(
                f"the operations of a cell go from input to output, got {names[0]} to {names[-1]}"
            )
        if len(self._used) != size:
            raise ValueError("a vertex is on no path from input to output; use Cell.prune")
        if size > MAX_VERTICES or self.num_edges > MAX_EDGES:
            raise ValueError(
                f"NAS-Bench-101 has cells of up to {MAX_VERTICES} vertices and {MAX_EDGES} edges, "
                f"got {size} and {self.num_edges}"
            )

    @classmethod
    def prune(cls, matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> Cell:
        """Return the cell of a graph, vertices that do nothing left out.

        Raises:
            ValueError: if what is left is no cell of the table.
        """
        _check_shape(matrix, operations)
        used = _between(matrix)
        if not used:
            raise ValueError("no path leads from the input of this cell to its output")
        rows = tuple(tuple(int(matrix[i][j]) for j in used) for i in used)
        return cls(matrix=rows, operations=tuple(operations[i] for i in used))

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return sum(map(sum, self.matrix))

    @cached_property
    def hash(self) -> str:
        """The name of the cell in the table, the same for isomorphic cells.

        A hash of its degrees and operation stands at every vertex; then, as often as there are
        vertices, it is hashed with those of the vertices before and behind; at last all together
        (the iterative hash of arXiv:1902.09635, section 2; what exactly is hashed is that of the
        released code, without which names would not be found in the table).
        """
        size = len(self.matrix)
        labels = [-1, *(OPERATIONS.index(name) for name in self.operations[1:-1]), -2]
        columns = list(zip(*self.matrix, strict=True))
        hashes = [_md5(str((sum(self.matrix[v]), sum(columns[v]), labels[v]))) for v in range(size)]
        for _ in range(size):
            hashes = [
                _md5(
                    "".join(sorted(hashes[w] for w in range(size) if columns[v][w]))
                    + "|"
                    + "".join(sorted(hashes[w] for w in range(size) if self.matrix[v][w]))
                    + "|"
                    + hashes[v]
                )
                for v in range(size)
            ]
        return _md5(str(sorted(hashes)))

    def channels(self, in_channels: int, out_channels: int) -> list[int]:
        """Return the channels of every vertex (arXiv:1902.09635, section 2 and supplement).

        The vertices that lead to the output share its channels, the first of them one more each
        where that leaves a rest; any other has as many as the widest vertex it leads to.
        """
        last = len(self.matrix) - 1
        result = [in_channels] + [0] * (last - 1) + [out_channels]
        ends = [v for v in range(1, last) if self.matrix[v][last]]
        for position, vertex in enumerate(ends):
            result[vertex] = out_channels // len(ends) + (position < out_channels % len(ends))
        for vertex in range(last - 1, 0, -1):
            if vertex not in ends:
                reached = [w for w in range(vertex + 1, last) if self.matrix[vertex][w]]
                result[vertex] = max(result[w] for w in reached)
        return result

    @property
    def _used(self) -> list[int]:
        return _between(self.matrix)

    def _entries(self) -> list[tuple[int, int, int]]:
        return [(i, j, e) for i, row in enumerate(self.matrix) for j, e in enumerate(row)]


def _check_shape(matrix: Sequence[Sequence[int]], operations: Sequence[str]) -> None:
    size = len(matrix)
    if size < 2 or any(len(row) != size for row in matrix) or len(operations) != size:
        raise ValueError(
            f"a cell needs a square matrix and one operation for each row, got rows of "
            f"{[len(row) for row in matrix]} and {len(operations)} operations"
        )


def _between(matrix: Sequence[Sequence[int]]) -> list[int]:
    """Return the vertices on paths from the first to the last; none if there is no path."""
    size = len(matrix)
    forward, backward = {0}, {size - 1}
    for v in range(1, size):
        if any(matrix[w][v] for w in forward):
            forward.add(v)
    for v in range(size - 2, -1, -1):
        if any(matrix[v][w] for w in backward):
            backward.add(v)
    both = sorted(forward & backward)
    return both if len(both) > 1 else []


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def build_nasbench101(cell: Cell, *, num_classes: int = 10) -> nn.Module:
    """Return the network of a cell: nine of them in three stacks (arXiv:1902.09635, section 2).

    A 3x3 stem makes 128 channels; max pooling halves the feature and doubles the channels before
    the second and the third stack. Its trainable params are those of the table.
    """
    width = 128
    layers: list[nn.Module] = [_conv(3, width, 3)]
    for stack in range(3):
        if stack:
            layers.append(nn.MaxPool2d(2, stride=2))
        for position in range(3):
            grows = stack > 0 and position == 0
            layers.append(Module(cell, width, 2 * width if grows else width))
            width = 2 * width if grows else width
    return nn.Sequential(*layers, Head(linear(width, num_classes)))


def _conv(in_channels: int, channels: int, kernel: int) -> nn.Module:
    # The released code keeps 0.997 of the running statistics.
    norm = batch_norm(channels, momentum=0.003)
    return nn.Sequential(conv2d(in_channels, channels, kernel), norm, nn.ReLU())


def _operation(name: str, channels: int) -> nn.Module:
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return _conv(channels, channels, 3 if name == "conv3x3-bn-relu" else 1)


class Module(nn.Module):
    """One cell at work: sums before its vertices, a concatenation before its output.

    What comes from the input is projected by a 1x1 convolution; what comes from a wider vertex
    gives its first channels.
    """

    def __init__(self, cell: Cell, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.matrix, self.last = cell.matrix, len(cell.matrix) - 1
        self.channels = cell.channels(in_channels, out_channels)
        self.projections = nn.ModuleDict(
            {
                str(v): _conv(in_channels, self.channels[v], 1)
                for v in range(1, self.last + 1)
                if cell.matrix[0][v]
            }
        )
        self.operations = nn.ModuleDict(
            {str(v): _operation(cell.operations[v], self.channels[v]) for v in range(1, self.last)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the cell [B, C, H, W]."""
        values: dict[int, Tensor] = {}
        for v in range(1, self.last):
            parts = [values[w][:, : self.channels[v]] for w in range(1, v) if self.matrix[w][v]]
            if str(v) in self.projections:
                parts.append(self.projections[str(v)](x))
            values[v] = self.operations[str(v)](sum(parts[1:], parts[0]))
        ends = [values[v] for v in range(1, self.last) if self.matrix[v][self.last]]
        if str(self.last) not in self.projections:
            return torch.cat(ends, 1)
        y: Tensor = self.projections[str(self.last)](x)
        return torch.cat(ends, 1) + y if ends else y
