"""What a search has found, and what is done with it next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..core.arch import Arch
from ..core.run import Run
from ..core.space import Space
from ..records.naming import found_in


class Found(Mapping[str, Any]):
    """The result of a search: its figures as a mapping, and the next steps as methods.

    The methods take the keyword arguments of the functions of their name in `nastk`.

    Attributes:
        run: the run folder.

    Example:
        >>> Found({"run": "runs/toy-random-0", "flops": 51200, "params": 700, "arch_id": "12ab"})
        Found(arch 12ab, 51,200 FLOPs, 700 params, in runs/toy-random-0)
    """

    def __init__(self, result: Mapping[str, Any], keep: object = None) -> None:
        """Take what the search returned.

        Args:
            result: by key, as `nastk search --json` prints it.
            keep: data of the program that must live as long as this.
        """
        self._result, self._keep = dict(result), keep
        self.run = Path(result["run"])

    def __getitem__(self, key: str) -> Any:
        return self._result[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._result)

    def __len__(self) -> int:
        return len(self._result)

    def __repr__(self) -> str:
        known = self._result
        return (
            f"Found(arch {known['arch_id']}, {known['flops']:,} FLOPs, {known['params']:,} params, "
            f"in {self.run})"
        )

    def __fspath__(self) -> str:
        """Return the run folder, so that every function of `nastk` takes what was found for it."""
        return str(self.run)

    @property
    def arch(self) -> Arch:
        """The arch that was found."""
        return found_in(Run.open(self.run))[1]

    @property
    def space(self) -> Space:
        """The space, with the options whose FLOPs the budget bounds."""
        return found_in(Run.open(self.run))[0]

    def network(self, trained: bool = True) -> nn.Module:
        """Return the network as the last retraining left it, in eval mode, or a fresh one.

        Raises:
            ValueError: if a trained one is asked for and nothing has been trained.
        """
        from .networks import load

        return load(self.run) if trained else load(self.run, weights="none")

    def retrain(self, **options: Any) -> dict[str, Any]:
        """Train the network from scratch and test it once, see `nastk.retrain`."""
        from .retrain import retrain

        return retrain(self.run, **options)

    def evaluate(self, **options: Any) -> dict[str, Any]:
        """Test the trained network on the test split, see `nastk.evaluate`."""
        from .evaluate import evaluate

        return evaluate(self.run, **options)

    def export(self, to: str | Path | None = None, **options: Any) -> dict[str, Any]:
        """Write the trained network as .pt2 or .onnx, see `nastk.export`.

        Args:
            to: the file, `network.pt2` in the run folder if None.
            options: of `nastk.export`.
        """
        from .export import export

        return export(self.run, to or self.run / "network.pt2", **options)

    def report(self, **options: Any) -> dict[str, Any]:
        """Write a page about the run, see `nastk.report`."""
        from .report import report

        return report([self.run], **options)
