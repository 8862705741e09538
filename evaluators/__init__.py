"""How good a choice is: every evaluator is one class, listed here under its name."""

from ..core.evaluator import Evaluator
from .efficiency import Efficiency
from .inherit import Inherit
from .train import Train

EVALUATORS: dict[str, type[Evaluator]] = {
    "efficiency": Efficiency,
    "inherit": Inherit,
    "train": Train,
}

__all__ = ["EVALUATORS", "Efficiency", "Inherit", "Train"]
