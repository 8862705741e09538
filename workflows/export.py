"""Files that run without nastk: written, run again and compared."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.arguments import typed_arguments
from ..core.files import temporary_name, write_atomically
from ..core.lookup import lookup
from ..core.spec import Spec
from ..core.torch_state import own_torch_state
from ..nasbench.families import make_space
from ..records.naming import family_of, resolve
from ..records.weights import check_owner, last_weights, load_weights, metadata_of
from ..tasks.named import family_of as task_family
from .graphs import Graph, plain_graph, prepared_graph

# B batch, R resolution, H height, W width, K classes

# By how much a file may differ from the module, of its largest output.
_SAME = 1e-5


@typed_arguments
@own_torch_state()
def export(
    what: str | Path,
    to: str | Path,
    *,
    with_preprocessing: bool = False,
    untrained: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write a network as .pt2 or .onnx, run the file again and compare.

    The last retraining is exported, that of a file or a name from `runs/NAME`. The file takes
    `image`, float32 [B, 3, H, W] prepared as `nastk.preprocessing` says, and gives `logits`
    [B, K] in the order of `nastk.classes`. Both are in the file as JSON: among the properties of
    the metadata of .onnx, among the extra files of .pt2.

    Args:
        what: run folder, arch.json or published name.
        to: file to write.
        with_preprocessing: prepare within the file: it then takes `image`, uint8 [B, 3, H, W] of
            any size (grey repeated three times), and gives `probabilities` [B, K].
        untrained: export fresh weights; nothing is known about preprocessing and classes then.
        force: replace an existing file.

    Returns:
        `file`, `weights` (None if untrained), `is_trained`, `input`, `output`, `preprocessing`,
        `classes` (None if unknown) and `max_difference` (relative to the largest output).

    Raises:
        ValueError: if the ending is unknown, the file exists, nothing was trained, or a package
            is missing.
        RuntimeError: if the file computes something else; nothing is written then.
    """
    target = Path(to)
    writers: dict[str, Callable[[Graph, Path], Tensor]] = {".onnx": _to_onnx, ".pt2": _to_pt2}
    write = lookup("export format", target.suffix, writers)
    _check_target(target, force)
    network, about = _network_of(what, untrained)
    preprocessing = about.get("preprocessing")
    if not with_preprocessing:
        graph = plain_graph(network, about)
    elif preprocessing is None:
        raise ValueError(
            f"nobody can say how pixels become the input of {what}, because it "
            f"{'is untrained' if untrained else 'was trained on tensors that came ready'}: leave "
            "out --with-preprocessing"
        )
    else:
        graph = prepared_graph(network, about, task_family(about["data"]))
    difference = _written(graph, write, target)
    specs = about["inputs"]
    pictures = "image uint8 [B, 3, H, W]"
    return {
        "file": str(target),
        "weights": about.get("weights"),
        "is_trained": not untrained,
        "input": pictures if with_preprocessing else "; ".join(map(str, specs)),
        "output": f"{graph.output} float32 [B, {', '.join(map(str, graph.expected.shape[1:]))}]",
        "preprocessing": None if preprocessing is None else preprocessing.to_json(),
        "classes": about.get("classes"),
        "max_difference": difference,
    }


def try_export(network: nn.Module, specs: Sequence[Spec]) -> float:
    """Write a network as .pt2 where nobody keeps it, and return how far the file is from it.

    Args:
        network: in eval mode.
        specs: of its inputs.

    Raises:
        RuntimeError: if the file computes something else.
    """
    graph = plain_graph(network, {"inputs": specs})
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        again = _to_pt2(graph, Path(folder, "network.pt2"))
    difference = _difference(again, graph)
    if not difference <= _SAME:
        raise RuntimeError(f"the exported file differs from the network by {difference:.1e}")
    return difference


def _difference(again: Tensor, graph: Graph) -> float:
    return float((again - graph.expected).abs().max() / graph.expected.abs().max())


def _check_target(target: Path, force: bool) -> None:
    folder = target.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"no folder {folder} to write {target.name} into")
    if target.is_dir():
        raise ValueError(f"{target} is a folder; give the name of a file")
    if target.exists() and not force:
        raise ValueError(f"{target} exists; give another name, or --force to replace it")


def _network_of(what: str | Path, untrained: bool) -> tuple[nn.Module, dict[str, Any]]:
    """Return a network in eval mode and what is known: `inputs`, and more of a trained one."""
    space, arch = resolve(what)
    if untrained:
        return space.build(arch).eval(), {"inputs": space.inputs()}
    weights = last_weights(what, "or give --untrained to export fresh ones")
    check_owner(weights, what)
    about = metadata_of(weights)
    known = {name: about[name] for name in ("preprocessing", "classes")}
    trained = make_space(type(space), about["options"])
    return load_weights(weights, family_of(what)), known | {
        "weights": str(weights),
        "inputs": trained.inputs(),
        "data": about["data"],
    }


def _written(graph: Graph, write: Callable[[Graph, Path], Tensor], target: Path) -> float:
    """Write a file, run it, and return how far it is from what is expected."""
    temporary = temporary_name(target)
    try:
        with torch.no_grad():
            again = write(graph, temporary)
        difference = _difference(again, graph)
        if not difference <= _SAME:
            raise RuntimeError(
                f"{target} would differ from the module by {difference:.1e}, more than {_SAME}; "
                "it was not written"
            )
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return difference


def _shapes(graph: Graph) -> tuple[dict[int, Any], ...]:
    free = {axis: torch.export.Dim(name) for axis, name in graph.free.items()}
    return (free,) * len(graph.inputs)


def _to_pt2(graph: Graph, target: Path) -> Tensor:
    inputs = tuple(graph.inputs.values())
    program = torch.export.export(graph.network, inputs, dynamic_shapes=_shapes(graph))
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=dict(graph.entries))
    write_atomically(target, buffer.getvalue())
    with open(target, "rb") as file:  # by name it has to end in .pt2
        result: Tensor = torch.export.load(file).module()(*inputs)
    return result


def _to_onnx(graph: Graph, target: Path) -> Tensor:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("export to .onnx needs: pip install 'nastk[export]'") from None
    with _without_notes():
        program = torch.onnx.export(
            graph.network,
            tuple(graph.inputs.values()),
            dynamo=True,
            verbose=False,
            input_names=list(graph.inputs),
            output_names=[graph.output],
            dynamic_shapes=_shapes(graph),
        )
    assert program is not None
    model = program.model_proto
    for key, text in graph.entries.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, text
    write_atomically(target, model.SerializeToString())
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    fed = {name: x.numpy() for name, x in graph.inputs.items()}
    return torch.from_numpy(session.run(None, fed)[0])


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
