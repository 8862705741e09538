"""What is wrong with a space, before a search finds out: choices, counts, passes and an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.arch import Arch
from ..core.blame import blame
from ..core.budget import flops_range, solve
from ..core.space import Space
from ..core.spec import examples
from ..nasbench.families import find_space, make_space, with_options
from ..ops.mixture import Logits
from ..records.named import SpaceLike, given
from .export import try_export
from .guarding import guarded_call

# B batch, R resolution, K classes

_BATCH = 2
# A plain network and the same arch of a supernet round differently.
_AGREES = 1e-3


@guarded_call()
def check_space(
    space: SpaceLike, *, space_options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Describe a space, and run what a search, a training and an export would run of it.

    Args:
        space: name of a space, `FILE.py:CLASS`, a class derived from `nastk.Space` or an instance.
        space_options: fields of the space, for a name or a class.

    Returns:
        `name options choices` (candidates by name) `log10_size flops_min flops_max tasks` (the
        last four None where `choices` or `counts` fail), `checks` (by name: None if it passes,
        else what is wrong, in one line) and `notes` (what may be meant so).

    Raises:
        ValueError: if there is no such space, or it has no such options.
    """
    named = given("space", space)
    name, own = str(named.what), dict(named.options)
    family = find_space(name)
    if own and space_options:
        raise ValueError("give the options of a space to its instance, without space_options")
    made = make_space(family, own) if own else with_options(family, space_options or {})
    found: dict[str, Any] = {"name": name, "options": made.options, "choices": {}}
    found |= dict.fromkeys(("log10_size", "flops_min", "flops_max")) | {"tasks": list(made.tasks)}
    checks: dict[str, str | None] = {}
    notes: list[str] = []
    for check, run in _checks(made, found, notes):
        try:
            run()
            checks[check] = None
        except Exception as error:
            checks[check] = _in_one_line(error)
            if check in ("choices", "counts"):  # without which nothing else can be asked
                break
    return found | {"checks": checks, "notes": notes}


def _checks(
    space: Space, found: dict[str, Any], notes: list[str]
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the checks in their order; the first two fill in what is found."""
    yield "choices", lambda: found.update(choices=_choices(space))
    yield "counts", lambda: found.update(_size(space))
    ends = {"smallest": _end(space, -1), "largest": _end(space, 1)}
    for which, arch in ends.items():
        yield f"{which} network", lambda arch=arch: _train(space, arch, notes)  # type: ignore[misc]
    yield "supernet", lambda: _train_supernet(space, ends["largest"])
    yield "export", lambda: _export(space, ends["largest"])


def _choices(space: Space) -> dict[str, list[Any]]:
    choices = {name: list(choice.candidates) for name, choice in space.choices().items()}
    if not choices:
        raise ValueError("the space asks for no choice, so that there is nothing to search")
    return choices


def _size(space: Space) -> dict[str, Any]:
    smallest, largest = flops_range(space)
    return {"log10_size": space.cost.log10_size, "flops_min": smallest, "flops_max": largest}


def _end(space: Space, sign: int) -> Arch:
    """Return the arch with the fewest or the most FLOPs."""
    best = solve(space, space.cost.flops * sign)
    assert best is not None
    return space.arch_at(best)


def _train(space: Space, arch: Arch, notes: list[str]) -> None:
    """Pass images of noise through a network forward and backward.

    Raises:
        ValueError: if the logits are not [B, K], or something is not finite.
    """
    network = space.build(arch)
    _loss(space, network(*examples(space.inputs(), _BATCH))).backward()
    weights = [(name, w) for name, w in network.named_parameters() if w.requires_grad]
    for name, weight in weights:
        if weight.grad is not None and not weight.grad.isfinite().all():
            raise ValueError(f"the gradient of {name} is not finite")
    idle = [name for name, weight in weights if weight.grad is None]
    note = f"no gradient reaches {', '.join(idle[:3])}{' and others' * (len(idle) > 3)}"
    if idle and note not in notes:
        notes.append(note)


def _loss(space: Space, logits: Any) -> Tensor:
    wanted = (_BATCH, space.num_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        came = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the network has to return logits {list(wanted)}; it returned {came}")
    if not logits.isfinite().all():
        raise ValueError("the network returns what is not finite on images of noise")
    return F.cross_entropy(logits.float(), torch.arange(_BATCH) % space.num_classes)


def _train_supernet(space: Space, arch: Arch) -> None:
    """Pass images through the supernet, and compare one of its archs with its plain network.

    Raises:
        ValueError: if they differ, or as for a network.
    """
    supernet = space.supernet()
    logits = Logits(supernet.num_candidates, supernet.sampled)
    supernet.mix(logits.probs())
    inputs = examples(space.inputs(), _BATCH)
    _loss(space, supernet(*inputs)).backward()
    supernet.eval().select(arch.choices)
    plain = space.build(arch).eval()
    extracted = supernet.extract(arch.choices).eval()
    try:
        plain.load_state_dict(extracted.state_dict())
    except RuntimeError as error:
        raise ValueError(
            f"the weights of the supernet do not fit the plain network: {error}"
        ) from None
    with torch.no_grad():
        inside, alone = supernet(*inputs), plain(*inputs)
    difference = float((inside - alone).abs().max() / alone.abs().max().clamp_min(1e-9))
    if not difference <= _AGREES:
        raise ValueError(
            f"the largest network computes something else in the supernet than by itself "
            f"({difference:.1e} of its largest output)"
        )


def _export(space: Space, arch: Arch) -> None:
    try_export(space.build(arch).eval(), space.inputs())


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, ValueError | RuntimeError):
        text = f"{type(error).__name__}: {text}"
    text = text if len(text) <= 300 else text[:300] + "..."
    place = blame(error)
    return text if place is None or place in text else f"{place}: {text}"
