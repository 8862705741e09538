"""Files that run without nastk: written, run again and compared."""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .core.files import write_atomically
from .core.lookup import lookup
from .naming import family_of, resolve, training_folder
from .weights import check_owner, last_weights, load_weights, metadata_of


def export(what: str | Path, to: str | Path) -> dict[str, Any]:
    """Write a network as .pt2 or .onnx, run the file again and compare.

    The last retraining is exported, that of a file or a name from `runs/NAME`; without one the
    weights are untrained.

    Returns:
        `file`, `weights` (None if untrained), `is_trained` and `max_difference` (relative to the
        largest output).

    Raises:
        ValueError: if the ending is unknown, or a package is missing.
        RuntimeError: if the file computes something else; nothing is written then.
    """
    target = Path(to)
    writers: dict[str, Callable[..., torch.Tensor]] = {".onnx": _to_onnx, ".pt2": _to_pt2}
    write = lookup("export format", target.suffix, writers)
    if not target.absolute().parent.is_dir():
        raise ValueError(f"no folder {target.absolute().parent} to write {target.name} into")
    weights = None
    if (training_folder(what) / "retrain.json").is_file():
        weights = last_weights(what)
        check_owner(weights, what)
        network = load_weights(weights, family_of(what))
        side = metadata_of(weights)["options"]["resolution"]
    else:
        space, arch = resolve(what)
        network, side = space.build(arch).eval(), space.resolution
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x)
    temporary = target.with_name(f".{target.stem}.tmp{target.suffix}")
    try:
        with torch.no_grad():
            again = write(network, x, temporary)
        difference = float((again - expected).abs().max() / expected.abs().max())
        if not difference <= 1e-5:
            raise RuntimeError(
                f"{target} would differ from the module by {difference:.1e}, more than 1e-5; "
                "it was not written"
            )
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    source = None if weights is None else str(weights)
    return {
        "file": str(target),
        "weights": source,
        "is_trained": weights is not None,
        "max_difference": difference,
    }


def _to_pt2(network: nn.Module, x: torch.Tensor, target: Path) -> torch.Tensor:
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (x,), dynamic_shapes=(batch,))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomically(target, buffer.getvalue())
    result: torch.Tensor = torch.export.load(target).module()(x)
    return result


def _to_onnx(network: nn.Module, x: torch.Tensor, target: Path) -> torch.Tensor:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("export to .onnx needs: pip install 'nastk[export]'") from None
    batch = {0: torch.export.Dim("batch")}
    with _without_notes():
        program = torch.onnx.export(
            network,
            (x,),
            dynamo=True,
            verbose=False,
            input_names=["x"],
            dynamic_shapes=(batch,),
        )
    assert program is not None
    write_atomically(target, program.model_proto.SerializeToString())
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keep to itself what the exporter notes of packages that it does not need, and of its own."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.setLevel(level)
