"""The network that contains all candidates; a mixture on each choice says what it computes."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .choice import Choice, Part, Value
from .meta import MetaOperator


class Supernet(nn.Module):
    """A network of meta operators together with its choices.

    Attributes:
        choices: the decisions by name, in the order in which the space asks for them.
    """

    def __init__(self, network: nn.Module, choices: Mapping[str, Choice]) -> None:
        super().__init__()
        self.network = network
        self.choices = dict(choices)
        self.mix(self.uniform_probs())

    @property
    def sampled(self) -> list[bool]:
        """Whether each choice runs one candidate a step, since an operator cannot mix them."""
        return [choice.slot.sampled is not None for choice in self.choices.values()]

    @property
    def num_candidates(self) -> list[int]:
        """Number of candidates of each choice."""
        return [len(choice.candidates) for choice in self.choices.values()]

    def uniform_probs(self) -> Tensor:
        """Return [D, N] uniform mixtures, zero behind the last candidate of each choice."""
        probs_DN = torch.zeros(len(self.choices), max(self.num_candidates, default=1))
        for row, count in zip(probs_DN, self.num_candidates, strict=True):
            row[:count] = 1.0 / count
        return probs_DN

    def mix(
        self, probs_DN: Tensor, *, features: bool = False, taught_DN: Tensor | None = None
    ) -> None:
        """Put a soft mixture on every choice.

        A choice whose candidates no operator can mix runs its candidate of the largest weight:
        with Gumbel noise in the logits, or under a symmetric Dirichlet draw, that is one sample.

        Args:
            probs_DN: [D, N] weights of the candidates; entries behind the last are ignored.
            features: sum candidate features instead of candidate weights (the definition, and
                the multi-feature baseline).
            taught_DN: [D, N] which candidates have a gradient in their weight, where those of
                weight 0 are to be left out as far as that allows; it is read on the host.
        """
        parts = None if taught_DN is None else parts_of(probs_DN, taught_DN)
        # One split instead of a slice each: every node of the graph costs a step some time.
        width = probs_DN.shape[1]
        sizes = [size for count in self.num_candidates for size in (count, width - count)]
        rows = torch.split(probs_DN.flatten(), sizes)[::2]
        for number, (choice, row) in enumerate(zip(self.choices.values(), rows, strict=True)):
            choice.slot.set_probs(row, features, None if parts is None else parts[number])

    def select(self, arch: Mapping[str, Value]) -> None:
        """Put a hard mixture on every choice: run `arch` at its true size."""
        for name, choice in self.choices.items():
            choice.slot.set_index(choice.position(arch[name]))

    def extract(self, arch: Mapping[str, Value]) -> nn.Module:
        """Return the plain network of `arch` with a copy of its weights."""
        plain = extract_part(self.network, arch)
        for module in plain.modules():
            module.__dict__.pop("memory", None)  # how the supernet was trained, not what it is
        return plain

    def forward(self, *inputs: Tensor) -> Any:
        """Run the network under the current mixtures."""
        return self.network(*inputs)


def parts_of(probs_DN: Tensor, taught_DN: Tensor) -> list[tuple[Part, ...]]:
    """Return what a step needs of the features of all candidates of each choice.

    Args:
        probs_DN: [D, N] weights of the candidates.
        taught_DN: [D, N] which of them have a gradient in their weight.
    """
    taught_DN = taught_DN & probs_DN.requires_grad & torch.is_grad_enabled()
    needed_DN = torch.where(probs_DN.detach() != 0, int(Part.FULL), taught_DN.int())
    return [tuple(map(Part, row)) for row in needed_DN.tolist()]


def extract_part(module: nn.Module, arch: Mapping[str, Value]) -> nn.Module:
    """Return the plain form of a part of a supernet, with its own copy of the weights."""
    if isinstance(module, MetaOperator):
        return module.extract(arch)
    if not any(isinstance(part, MetaOperator) for part in module.modules()):
        return copy.deepcopy(module)
    plain = copy.copy(module)
    plain._parameters = {name: copy.deepcopy(p) for name, p in module._parameters.items()}
    plain._buffers = {name: copy.deepcopy(b) for name, b in module._buffers.items()}
    plain._modules = {
        name: None if child is None else extract_part(child, arch)
        for name, child in module._modules.items()
    }
    return plain
