"""An arch as a picture: its blocks from top to bottom, in each its layers from left to right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ..core.arch import Arch
from ..core.resolution import Resolution, as_typed, resolution_of
from ..core.space import Space
from ..core.spec import examples
from ..evaluators.efficiency import per_layer
from .axes import WIDTH, box, picture, short, stroke, text
from .markup import Markup, tag

# Classes whose names tell nothing about a block.
_PLAIN = {"Chain", "Identity", "Linear", "ModuleList", "Residual", "Sequential", "ConvNormAct"}
_LEFT, _PITCH, _CELL, _PER_ROW = 92.0, 30, 41.0, 5


@dataclass(frozen=True)
class Drawn:
    """One layer of the built network: a convolution or a linear map.

    Attributes:
        kernel: side of the kernel, 0 of a linear map, which has none.
        is_depthwise: whether every channel has a kernel of its own.
        channels: of the output.
        size: of the output, pixels as in `nastk.core.resolution` or tokens; 0 of a mere vector.
        unit: `px` or `tokens`.
        owner: module that holds it; the parts of a mixed convolution have one owner.
    """

    kernel: int
    is_depthwise: bool
    channels: int
    size: Resolution
    unit: str
    owner: str


@dataclass(frozen=True)
class Block:
    """A child of the network.

    Attributes:
        name: what its choices are called, else its class.
        layers: in the order in which they run; none in a block that was skipped.
        flops: multiply-adds.
        has_shortcut: whether its input is added to its output.
    """

    name: str
    layers: tuple[Drawn, ...]
    flops: int
    has_shortcut: bool


def blocks_of(space: Space, arch: Arch) -> list[Block]:
    """Return what the built network of an arch consists of; nothing is computed or stored."""
    with torch.device("meta"):
        network = space.build(arch.choices).eval()
        layers = _run(network, examples(space.inputs(), device="meta"))
    prefix, children = _children(network)
    labels = _labels(space, [prefix + name for name, _ in children])
    costs = {row["layer"]: row["flops"] for row in per_layer(space, arch)}
    blocks: list[Block] = []
    for name, child in children:
        full = prefix + name
        mine = tuple(layer for key, layer in layers if _is_within(key, full))
        is_skipped = isinstance(child, nn.Identity) and full in labels
        if not mine and not is_skipped:
            continue
        flops = sum(value for key, value in costs.items() if _is_within(key, full))
        kind = type(child).__name__
        shown = labels.get(full, f"block {len(blocks) + 1}" if kind in _PLAIN else kind)
        blocks.append(Block(shown, mine, flops, "Residual" in type(child).__name__))
    return blocks


def _children(network: nn.Module) -> tuple[str, list[tuple[str, nn.Module]]]:
    """Return the first modules, going down, that are more than one; and where they are."""
    prefix = ""
    while len(children := list(network.named_children())) == 1:
        prefix += children[0][0] + "."
        network = children[0][1]
    return prefix, children


def _is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def _run(network: nn.Module, inputs: Sequence[Tensor]) -> list[tuple[str, Drawn]]:
    """Return the layers in the order in which one forward pass calls them."""
    found: list[tuple[str, Drawn]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, y: Tensor) -> None:
            found.append((name, _drawn(name, module, y)))

        return hook

    handles = [
        module.register_forward_hook(watch(name, module))
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd | nn.Linear)
    ]
    with torch.no_grad():
        network(*inputs)
    for handle in handles:
        handle.remove()
    return found


def _drawn(name: str, module: nn.Module, y: Tensor) -> Drawn:
    owner = name.rpartition(".")[0]
    if isinstance(module, nn.Linear):
        size = y.shape[-2] if y.dim() > 2 else 0
        return Drawn(0, False, module.out_features, size, "tokens", owner)
    assert isinstance(module, _ConvNd)
    is_depthwise = module.groups == module.in_channels > 1
    is_line = len(module.kernel_size) == 1
    sides: Resolution = y.shape[-1] if is_line else resolution_of(y.shape[-2:])
    unit = "tokens" if is_line else "px"
    kernel = int(module.kernel_size[-1])
    return Drawn(kernel, is_depthwise, module.out_channels, sides, unit, owner)


def _labels(space: Space, modules: Sequence[str]) -> dict[str, str]:
    """Return what the choices of each module are called, where they have a name in common.

    That is the longest part in front of a dot that most layers of the module depend on; a name
    that holds another module's (`stage3` beside `stage3.block1`) tells nothing.
    """
    labels = {}
    for module in modules:
        names: Counter[str] = Counter()
        for layer in space.cost.layers:
            if _is_within(layer.name, module):
                used = {*layer.flops.names, *layer.params.names}
                names.update({_prefix(name) for name in used} - {""})
        if names:
            most = max(names.values())
            labels[module] = max((n for n, c in names.items() if c == most), key=len)
    counts = Counter(labels.values())
    return {
        module: label
        for module, label in labels.items()
        if counts[label] == 1 and not any(o.startswith(label + ".") for o in counts)
    }


def _prefix(choice: str) -> str:
    """Return the block in the name of a choice, group numbers left out.

    Example:
        >>> _prefix("stage2.block1.kernel.3"), _prefix("stem.width"), _prefix("width")
        ('stage2.block1', 'stem', '')
    """
    parts = choice.split(".")
    return ".".join(parts[: -2 if parts[-1].isdigit() else -1])


def draw_arch(blocks: Sequence[Block], title: str) -> Markup:
    """Return the picture of an arch.

    A box is a layer: its kernel, and below it the channels of its output; a depthwise
    convolution of several kernel sizes is one box of several parts. Behind a block stands its
    share of the multiply-adds.
    """
    total = max(sum(block.flops for block in blocks), 1)
    largest = max((block.flops for block in blocks), default=0) or 1
    content, y = [], 14.0
    for words, x, style in (
        ("block, size", 0.0, "tiny"),
        ("kernel / channels of each layer", _LEFT, "tiny"),
        ("FLOPs", WIDTH - 2.0, "tiny end"),
    ):
        content.append(text(words, x, 8.0, style))
    for block in blocks:
        parts, height = _block(block, y, block.flops / largest, block.flops / total)
        content += parts
        y += height
    return picture(title, y + 2, content)


def _block(block: Block, y: float, length: float, share: float) -> tuple[list[Markup], float]:
    shown = block.name if len(block.name) <= 17 else "…" + block.name[-16:]
    parts = [text(shown, 0, y + 11, "small")]
    if not block.layers:
        parts.append(text("skipped", _LEFT, y + 15, "small"))
        parts.append(stroke("level", _LEFT + 44, y + 11, WIDTH - 48, y + 11))
        return parts, _PITCH
    note = _size(block.layers) + (" +" if block.has_shortcut else "")
    parts.append(text(note, 0, y + 21, "tiny"))
    cells = list(_cells(block.layers))
    for number, cell in enumerate(cells):
        row, column = divmod(number, _PER_ROW)
        parts += _cell(cell, _LEFT + _CELL * column, y + _PITCH * row)
    parts.append(tag("title", f"{block.name}: {block.flops:,} multiply-adds"))
    right = WIDTH - 1.0
    parts.append(box("share", right - 40 * length, y + 15, 40 * length, 7))
    parts.append(text(f"{100 * share:.1f}%", right, y + 11, "tiny end"))
    rows = -(-len(cells) // _PER_ROW)
    return [tag("g", *parts)], _PITCH * rows


def _size(layers: Sequence[Drawn]) -> str:
    """Return the size of the first output and, where it is another one, that of the last."""
    sizes = [(layer.size, layer.unit) for layer in layers if layer.size]
    if not sizes:
        return ""
    ends = [(as_typed(size), unit) for size, unit in (sizes[0], sizes[-1])]
    (first, unit), (last, last_unit) = ends
    if unit == last_unit == "tokens":  # gates see a mean, which is one token
        most = max(layer.size for layer in layers if layer.unit == "tokens")
        return f"{most} tokens"
    if unit != last_unit:
        return f"{first} {unit}→{last} {last_unit}"
    return f"{first} {unit}" if first == last else f"{first}→{last} {unit}"


def _cells(layers: Sequence[Drawn]) -> Iterator[list[Drawn]]:
    """Put the parts of a mixed depthwise convolution together, each other layer alone."""
    cell: list[Drawn] = []
    for layer in layers:
        if cell and not (
            layer.is_depthwise and cell[-1].is_depthwise and layer.owner == cell[-1].owner
        ):
            yield cell
            cell = []
        cell.append(layer)
    yield cell


def _cell(cell: Sequence[Drawn], x: float, y: float) -> list[Markup]:
    width, height = _CELL - 4, _PITCH - 5.0
    channels = sum(layer.channels for layer in cell)
    parts, at = [], x
    for layer in cell:
        piece = width * layer.channels / channels
        parts.append(box(_style(layer.kernel), at, y, piece, height))
        at += piece
    sizes = "·".join(str(k) for k in dict.fromkeys(layer.kernel for layer in cell))
    first = cell[0]
    shape = f"{sizes}x{sizes}" if len(cell) == 1 else sizes
    shape = shape if first.kernel else "linear"
    kind = "dw " if first.is_depthwise and len(cell) == 1 else ""
    middle = x + width / 2
    parts.append(text(kind + shape, middle, y + 10.5, "cell middle"))
    parts.append(text(short(channels), middle, y + 21, "cell middle"))
    return parts


def _style(kernel: int) -> str:
    """Return the CSS class of a kernel's colour."""
    return f"k{max(kernel, 1)}" if kernel in (0, 1, 3, 5, 7) else "k9"
