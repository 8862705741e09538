"""The cell space of NAS-Bench-201, of which every arch has been trained and tabulated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ..core.arch import Arch
from ..core.choice import Choice, Choose, Part, Value
from ..core.constraint import Constraint
from ..core.meta import MetaOperator
from ..core.space import Space
from ..core.supernet import extract_part
from ..core.trace import Tracer, active_tracer, gate
from ..ops import batch_norm, conv2d, linear
from .blocks import Head

# Section 2.1 of arXiv:2001.00326, in the order and with the names of its strings.
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NUM_NODES = 4
# (source, target) of every edge of a cell, in the order of its string.
EDGES = tuple((source, node) for node in range(1, NUM_NODES) for source in range(node))


@dataclass(frozen=True, kw_only=True)
class NasBench201(Space):
    """Three stages of one cell, repeated; each of its six edges chooses an operation.

    Macro skeleton and cell of arXiv:2001.00326, section 2.1 (the topology space of
    arXiv:2009.00437): a 3x3 stem, stages of `channels`, 2 x and 4 x `channels` with a residual
    block of stride 2 before the second and the third, pooling and a linear layer. Every string is
    an arch of its own, as in the table, though some give the same function.

    Params equal those of the table. The table's FLOPs are nastk's and one for every class: it
    counts the bias of the classifier.

    The candidates are not linear in their weights (each has an activation in front and a norm
    behind), so that a mixture runs all of them and sums their features. Of the mixtures of
    `gumbel`, `two_path` runs two candidates, `binary` one and another forward only, and
    `straight_through` one and the others forward only, since its gradient reaches all logits.

    Attributes:
        channels: of the first stage.
        cells: in each stage.
        alive: leave out the archs of which some convolution does nothing: it is fed with zeros or
            constants alone, or nothing behind it reaches the output.
    """

    name: ClassVar[str] = "nasbench201"
    recipe: ClassVar[str | None] = "small"
    search_steps: ClassVar[int] = 1000

    resolution: int = 32
    num_classes: int = 10
    channels: int = 16
    cells: int = 5
    alive: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels < 1 or self.cells < 1:
            raise ValueError(
                f"{self.name} needs at least 1 channel and 1 cell, "
                f"got {self.channels} and {self.cells}"
            )

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """With `alive`: paths lead to and from every convolution, and through the cell.

        A path from one node to another exists if and only if each set of edges that parts them
        (a cut) has an open edge, and that is linear in the choices.
        """
        if not self.alive:
            return ()
        choices = self.choices()
        open_edges = {e: choices[_name_of(e)].map(lambda name: -(name != "none")) for e in EDGES}
        rules: list[tuple[tuple[Choice, ...], int]] = []
        for edge in EDGES:
            conv = choices[_name_of(edge)].map(lambda name: int(name.startswith("nor_conv")))
            for cut in (*_cuts(0, edge[0]), *_cuts(edge[1], NUM_NODES - 1)):
                rules.append(((conv, *(open_edges[e] for e in cut)), 0))
        rules += [(tuple(open_edges[e] for e in cut), -1) for cut in _cuts(0, NUM_NODES - 1)]
        return tuple(Constraint(name="alive", terms=terms, high=high) for terms, high in rules)

    def network(self, choose: Choose) -> nn.Module:
        """Build stem, stages and head; all cells share their choices."""
        chosen = {edge: choose(_name_of(edge), OPERATIONS) for edge in EDGES}
        width = self.channels
        layers: list[nn.Module] = [nn.Sequential(conv2d(3, width, 3), batch_norm(width))]
        for stage in range(3):
            if stage:
                layers.append(Reduction(width, 2 * width))
                width *= 2
            layers += [cell(chosen, width) for _ in range(self.cells)]
        layers += [batch_norm(width), nn.ReLU(), Head(linear(width, self.num_classes))]
        return nn.Sequential(*layers)

    def proxy(self) -> NasBench201:
        """Return the space at 16 px with one cell in each stage and half the channels."""
        channels = max(1, self.channels // 2)
        return dataclasses.replace(self, cells=1, channels=channels, resolution=16)

    def parse(self, text: str) -> Arch:
        """Return the arch of a string, for example `|nor_conv_3x3~0|+|none~0|skip_connect~1|+...`.

        Raises:
            ValueError: if the string is none of the space.

        Example:
            >>> space = NasBench201()
            >>> text = "|none~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
            >>> space.parse(text).choices["node2.input1"]
            'avg_pool_3x3'
            >>> format_arch(space.parse(text)) == text
            True
        """
        terms = [term for node in text.strip().split("+") for term in node.strip("|").split("|")]
        found = [term.rpartition("~") for term in terms]
        expected = [str(source) for source, _ in EDGES]
        if text.count("+") != NUM_NODES - 2 or [term[2] for term in found] != expected:
            raise ValueError(
                f"{text!r} is no NAS-Bench-201 arch; expected |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
            )
        pairs = zip(EDGES, found, strict=True)
        return self.arch({_name_of(edge): operation for edge, (operation, _, _) in pairs})


def format_arch(arch: Arch) -> str:
    """Return the NAS-Bench-201 string of an arch."""
    nodes = [
        "".join(f"|{arch.choices[_name_of((source, node))]}~{source}" for source in range(node))
        for node in range(1, NUM_NODES)
    ]
    return "|+".join(nodes) + "|"


def _name_of(edge: tuple[int, int]) -> str:
    return f"node{edge[1]}.input{edge[0]}"


def _cuts(source: int, target: int) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield the sets of edges one of which every path from one node to a later one has."""
    between = range(source + 1, target)
    for size in range(len(between) + 1 if source < target else 0):
        for others in combinations(between, size):
            near = {source, *others}
            yield tuple(e for e in EDGES if e[0] in near and e[1] not in near and e[1] <= target)


def _key_of(edge: tuple[int, int]) -> str:
    return f"{edge[0]}to{edge[1]}"


def cell(chosen: Mapping[tuple[int, int], Any], channels: int) -> nn.Module:
    """Return a cell, or its meta operator where edges are choices."""
    if all(isinstance(operation, str) for operation in chosen.values()):
        made = {edge: _operator(operation, channels) for edge, operation in chosen.items()}
        return Cell({_key_of(edge): module for edge, module in made.items() if module is not None})
    return MetaCell({edge: cast(Choice, choice) for edge, choice in chosen.items()}, channels)


def _operator(name: str, channels: int) -> nn.Module | None:
    """Return what an edge computes; None for nothing."""
    if name == "none":
        return None
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return _activated_conv(channels, channels, 1 if name == "nor_conv_1x1" else 3)


def _activated_conv(in_channels: int, channels: int, kernel: int, stride: int = 1) -> nn.Module:
    conv = conv2d(in_channels, channels, kernel, stride=stride)
    return nn.Sequential(nn.ReLU(), conv, batch_norm(channels))


Edge = Callable[[tuple[int, int], Tensor], Tensor | None]


def _run_cell(x: Tensor, edge_output: Edge) -> Tensor:
    """Return the last node; a node is the sum of its edges, zero where it has none."""
    nodes = [x]
    for node in range(1, NUM_NODES):
        outputs = [edge_output((source, node), nodes[source]) for source in range(node)]
        present = [output for output in outputs if output is not None]
        nodes.append(sum(present[1:], present[0]) if present else torch.zeros_like(x))
    return nodes[-1]


class Cell(nn.Module):
    """A directed acyclic graph of four nodes; edges without an operation are left out."""

    def __init__(self, edges: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(edges)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last node [B, C, H, W]."""

        def edge_output(edge: tuple[int, int], x: Tensor) -> Tensor | None:
            key = _key_of(edge)
            return self.edges[key](x) if key in self.edges else None

        return _run_cell(x, edge_output)


class MetaCell(MetaOperator):
    """A cell that holds every operation of every edge."""

    def __init__(self, chosen: Mapping[tuple[int, int], Choice], channels: int) -> None:
        super().__init__()
        self.chosen = dict(chosen)
        self.edges = nn.ModuleDict()
        for edge, choice in chosen.items():
            made = {str(name): _operator(str(name), channels) for name in choice.candidates}
            self.edges[_key_of(edge)] = nn.ModuleDict(
                {name: module for name, module in made.items() if module is not None}
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the last node, edges as their choices are decided or mixed."""
        tracer = active_tracer()
        if tracer is not None:
            for edge in self.chosen:
                self._trace(tracer, edge, x)
            return x
        return _run_cell(x, self._edge_output)

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain cell of `arch`."""
        edges = {}
        for edge, choice in self.chosen.items():
            operators = cast(nn.ModuleDict, self.edges[_key_of(edge)])
            if (name := str(arch[choice.name])) in operators:
                edges[_key_of(edge)] = extract_part(operators[name], arch)
        return Cell(edges).train(self.training)

    def _edge_output(self, edge: tuple[int, int], x: Tensor) -> Tensor | None:
        choice, operators = self.chosen[edge], cast(nn.ModuleDict, self.edges[_key_of(edge)])
        names = [str(name) for name in choice.candidates]
        if choice.slot.probs_N is None:
            name = names[cast(int, choice.slot.index)]
            return cast(Tensor, operators[name](x)) if name in operators else None
        probs_N = choice.slot.probs_N.to(x)
        total = torch.zeros_like(x)
        for number, (name, share) in enumerate(zip(names, probs_N, strict=True)):
            if name in operators and (part := choice.slot.part(number)) is not Part.NONE:
                total = total + share * part.run(operators[name], x)
        return total

    def _trace(self, tracer: Tracer, edge: tuple[int, int], x: Tensor) -> None:
        choice, operators = self.chosen[edge], cast(nn.ModuleDict, self.edges[_key_of(edge)])
        tracer.use(choice, choice.candidates)
        for candidate in choice.candidates:
            if str(candidate) in operators:
                with gate(choice, [candidate == other for other in choice.candidates]):
                    operators[str(candidate)](x)


class Reduction(nn.Module):
    """The residual block of stride 2 between stages."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _activated_conv(in_channels, channels, 3, stride=2),
            _activated_conv(channels, channels, 3),
        )
        # An odd side keeps its last row and column, as it does in a strided convolution.
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)
        self.shortcut = nn.Sequential(pool, conv2d(in_channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both [B, C, H / 2, W / 2]."""
        y: Tensor = self.shortcut(x) + self.branch(x)
        return y
