"""nastk: give it a search space and a compute budget, get a plain PyTorch network back."""

import importlib
from typing import Any

__version__ = "0.2.0"

_PUBLIC = {
    "Arch": ".core.arch",
    "Batch": ".training.batch",
    "Budget": ".core.budget",
    "Choice": ".core.choice",
    "Evaluator": ".training.evaluator",
    "Execution": ".records.execution",
    "Found": ".workflows.found",
    "Front": ".records.given",
    "Meter": ".training.task",
    "Metric": ".training.task",
    "Named": ".records.named",
    "Objective": ".training.task",
    "Space": ".core.space",
    "Strategy": ".training.strategy",
    "Task": ".training.task",
    "check_space": ".workflows.check",
    "compare": ".workflows.compare",
    "count": ".workflows.networks",
    "evaluate": ".workflows.evaluate",
    "export": ".workflows.export",
    "load": ".workflows.networks",
    "load_reference": ".nasbench.references",
    "report": ".workflows.report",
    "resume": ".workflows.search",
    "retrain": ".workflows.retrain",
    "search": ".workflows.search",
    "trust": ".records.trust",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that `import nastk` costs nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nastk' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name], __name__), name)


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted([*_PUBLIC, "__doc__", "__file__", "__name__", "__version__"])
