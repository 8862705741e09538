"""Weights of T2T-ViT as its authors' code names them, read into nastk's plain network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from ..core.arch import Arch
from ..search_spaces.t2t import T2T
from .checkpoints import read_weights
from .t2t_variants import DENSE, GHOST, T2TVariant

# Layers of a block: nastk's name inside of the branch, and the released one inside of the block.
_ATTENTION = {
    "0": "norm1",
    "1.qkv": "attn.qkv",
    "1.proj": "attn.proj",
    "2.reduce": "attn.se_layer.fc.0",
    "2.expand": "attn.se_layer.fc.2",
}
_MLP = {"0": "norm2", "1": "mlp.fc1", "3": "mlp.fc2"}
_GHOST_ATTENTION = {
    "0": "norm1",
    "1.proj": "attn.proj",
    **{f"1.qkv.maps.{index}": f"attn.{name}" for index, name in enumerate("qkv")},
    **{
        f"1.qkv.scalars.{index}": f"attn.cheap_operation_{name}" for index, name in enumerate("qkv")
    },
}
_GHOST_MLP = {
    "0": "norm2",
    "1.first": "mlp.fc1",
    "1.scalars.0": "mlp.cheap_operation2",
    "1.scalars.1": "mlp.cheap_operation3",
    "1.last": "mlp.fc2",
}


def load_released(
    space: T2T | T2TVariant, arch: Arch, file: str | Path, *, scale_by: str | None = None
) -> nn.Module:
    """Return the network of a T2T-ViT arch with weights in the names of the released code.

    Args:
        space: of the arch; classes and resolution must be those of the file.
        arch: such as `t2t-vit-14`.
        file: a checkpoint of the released code (.pth, .pth.tar), wherever `read_weights` finds its
            weights; the arguments and whatever else it holds are neither run nor needed.
        scale_by: None for the authors' files, whose attention was trained with D^-0.5, but for
            T2T-ViT-Dense; `width` or `head` says so, `head` for files that their code trained
            from scratch.

    Raises:
        ValueError: if the file is no such checkpoint, or belongs to another network.
    """
    if scale_by is None:
        scale_by = "head" if _is_dense(space) else "width"
    network = dataclasses.replace(space, scale_by=scale_by).build(arch.choices)
    found = read_weights(Path(file))
    names = dict(released_names(space, arch))
    weights = {}
    for ours, value in network.state_dict().items():
        theirs = names[ours]
        if theirs not in found:
            raise ValueError(f"{file} has no weight {theirs!r}: it belongs to another network")
        weight = found.pop(theirs)
        if weight.numel() != value.numel():
            raise ValueError(
                f"{file}: weight {theirs!r} is of shape {tuple(weight.shape)}, the network's of "
                f"{tuple(value.shape)}; give the number of classes and the variant of the file"
            )
        # The projection of the last split is a convolution: its columns are channel, row, column.
        weights[ours] = weight.reshape(value.shape).to(value)
    positions = found.pop("pos_embed", None)
    if found:
        raise ValueError(
            f"{file} also holds {next(iter(found))!r} ({len(found)} such weights), which the "
            "network has not: it belongs to another network"
        )
    network.load_state_dict(weights)
    table: Tensor = network.get_buffer("2.positions")
    if positions is not None:
        if positions.shape != table.shape:
            raise ValueError(
                f"{file} is for {positions.shape[1] - 1} tokens, the network has "
                f"{table.shape[1] - 1}; give the resolution of the file"
            )
        table.copy_(positions)
    return network


def released_names(space: T2T | T2TVariant, arch: Arch) -> Iterator[tuple[str, str]]:
    """Yield nastk's name and the released name of every weight."""
    layer = space.layers[0] if isinstance(space, T2T) else "performer"
    is_performer = arch.choices.get("layer", layer) == "performer"
    for stage in (0, 1):
        ours, theirs = f"{stage}.operators.1", f"tokens_to_token.attention{stage + 1}"
        yield from _both(f"{ours}.norm", f"{theirs}.norm1")
        yield from _both(f"{ours}.mlp.0", f"{theirs}.norm2")
        if is_performer:
            yield f"{ours}.attention.random_features", f"{theirs}.w"
            pairs = {"attention.kqv": "kqv", "attention.proj": "proj"}
            pairs |= {"mlp.1": "mlp.0", "mlp.3": "mlp.2"}
        else:
            pairs = {"attention.qkv": "attn.qkv", "attention.proj": "attn.proj"}
            pairs |= {"mlp.1": "mlp.fc1", "mlp.3": "mlp.fc2"}
        for our_part, their_part in pairs.items():
            yield from _both(f"{ours}.{our_part}", f"{theirs}.{their_part}")
    yield "2.class_token", "cls_token"
    yield from _both("2.project", "tokens_to_token.project")
    for ours, theirs in _dense_blocks() if _is_dense(space) else _blocks(space):
        yield from _both(ours, theirs)
    last = _num_stages(space)
    yield from _both(f"{last}.norm", "norm")
    yield from _both(f"{last}.classifier", "head")


def _num_stages(space: T2T | T2TVariant) -> int:
    """Return the number of stages in front of the head: splits, blocks and transitions."""
    if _is_dense(space):
        return 3 + sum(DENSE[0]) + 2 * (len(DENSE[0]) - 1)
    return 3 + 2 * (max(space.depths) if isinstance(space, T2T) else GHOST[0])


def _blocks(space: T2T | T2TVariant) -> Iterator[tuple[str, str]]:
    """Yield nastk's name and the released one of each layer of the blocks."""
    is_ghost = isinstance(space, T2TVariant)
    branches = (_GHOST_ATTENTION, _GHOST_MLP) if is_ghost else (_ATTENTION, _MLP)
    for stage in range(3, _num_stages(space)):
        block, branch = divmod(stage - 3, 2)
        for ours, theirs in branches[branch].items():
            yield f"{stage}.branch.{ours}", f"blocks.{block}.{theirs}"


def _dense_blocks() -> Iterator[tuple[str, str]]:
    """Yield the same of T2T-ViT-Dense, whose released code counts transitions as blocks."""
    stage, block = 3, 0
    for index, blocks in enumerate(DENSE[0]):
        if index:
            yield f"{stage}", f"blocks.{block}.linear"
            stage, block = stage + 2, block + 1
        for _ in range(blocks):
            for branch, layers in enumerate((_ATTENTION, _MLP)):
                for ours, theirs in layers.items():
                    yield f"{stage}.body.{branch}.branch.{ours}", f"blocks.{block}.{theirs}"
            yield f"{stage}.body.2", f"blocks.{block}.dense_linear"
            stage, block = stage + 1, block + 1


def _is_dense(space: T2T | T2TVariant) -> bool:
    return isinstance(space, T2TVariant) and space.model == "t2t-vit-dense"


def _both(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for kind in ("weight", "bias"):
        yield f"{ours}.{kind}", f"{theirs}.{kind}"
