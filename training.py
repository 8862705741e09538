"""Retraining, evaluating and exporting what a search found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from .api import _silent
from .core.arch import Arch
from .core.checkpoint import load_checkpoint
from .core.lookup import lookup
from .core.loop import Report
from .core.run import Run, write_json
from .core.space import Space
from .core.task import Task
from .evaluators.inherit import inherit as inherit_weights
from .evaluators.recipe import RECIPES, default_recipe
from .evaluators.tasks import make_task
from .evaluators.train import Training, test_metrics
from .naming import find_device, find_space, resolve, spaces_of


def retrain(
    what: str | Path,
    *,
    data: str | None = None,
    inherit: bool = False,
    recipe: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    device: str = "cpu",
    workers: int = 0,
    report: Report = _silent,
) -> dict[str, Any]:
    """Train the arch of a run and test it once.

    On embedded data the proxy is trained, on the user's data the target.

    Args:
        what: run folder of a finished search.
        data: as for search; the run's own if None.
        inherit: start from the supernet's weights instead of from scratch.
        recipe: `adamw` or `sgd`; the short one on embedded data, else the long one.
        seed: of initialisation and batches.
        steps: number of updates; the recipe's epochs if None.
        device: `cpu` or `cuda`.
        workers: processes that decode images.
        report: receives progress events.

    Returns:
        `run`, `weights` (a .safetensors file), `network` (options trained) and `metrics`.
    """
    run = Run.open(Path(what))
    arch = run.arch
    run.acquire()
    try:
        target, proxy = spaces_of(run.manifest)
        place = find_device(device)
        space = target if ":" in (data or run.manifest["data"]) else proxy
        task = make_task(data or run.manifest["data"], space.resolution, workers=workers)
        network = _start(run, space, arch, task, inherit, seed)
        chosen = (
            lookup("recipe", recipe, RECIPES) if recipe else default_recipe(task.is_demonstration)
        )
        length = "full" if steps is None else steps
        start = "inherit" if inherit else "scratch"
        kind = (data or run.manifest["data"]).partition(":")[0]
        name = f"retrain-{kind}-{seed}-{start}-{chosen.optimizer}-{length}"
        training = Training(
            network=network,
            task=task,
            recipe=chosen,
            seed=seed,
            steps=steps,
            device=place,
            run=run,
            name=name,
        )
        trained = training.fit(report)
        metrics = test_metrics(trained, task, device=place)
        metrics["weight_bytes"] = float(sum(p.numel() * 4 for p in trained.parameters()))
        weights = run.path / f"{name}.safetensors"
        metadata = {"space": run.manifest["space"], "data": data or run.manifest["data"]}
        save_weights(trained, weights, space, arch, metadata)
        result = {
            "run": str(run.path),
            "weights": str(weights),
            "network": space.options,
            "data": data or run.manifest["data"],
            "metrics": metrics,
        }
        write_json(run.path / "retrain.json", result)
        return result
    finally:
        run.release()


def _start(run: Run, space: Space, arch: Arch, task: Task, inherit: bool, seed: int) -> nn.Module:
    if not inherit:
        return space.build(arch.choices, seed=seed)
    if space != spaces_of(run.manifest)[1]:
        raise ValueError("inherited weights fit the proxy only: retrain on the search's own data")
    found = load_checkpoint(run.path / "checkpoints", "last")
    if found is None:
        raise ValueError(f"{run.path} holds no supernet to inherit from; retrain without --inherit")
    supernet = space.supernet()
    prefix = "supernet."
    supernet.load_state_dict(
        {k.removeprefix(prefix): v for k, v in found[0].items() if k.startswith(prefix)}
    )
    return inherit_weights(supernet, arch.choices, task, seed=seed)


def evaluate(
    what: str | Path,
    *,
    weights: str | Path | None = None,
    data: str | None = None,
    device: str = "cpu",
    workers: int = 0,
) -> dict[str, Any]:
    """Test trained weights on the test split.

    Args:
        what: run folder or arch.json.
        weights: a .safetensors file of `retrain`; the run's last one if None.
        data: as for search; the data that the weights were trained on if None.
        device: `cpu` or `cuda`.
        workers: processes that decode images.

    Returns:
        `weights`, `data` and `metrics`.
    """
    place = find_device(device)
    path = Path(weights) if weights else _last_weights(Path(what))
    metadata = _metadata(path)
    if json.loads(metadata["arch"])["choices"] != dict(resolve(what)[1].choices):
        raise ValueError(f"{path} belongs to another arch than {what}")
    name = data or metadata["data"]
    network = load_weights(path)
    task = make_task(name, json.loads(metadata["options"])["resolution"], workers=workers)
    metrics = test_metrics(network, task, device=place)
    return {"weights": str(path), "data": name, "metrics": metrics}


def save_weights(
    network: nn.Module, path: Path, space: Space, arch: Arch, metadata: dict[str, str]
) -> None:
    """Write weights together with what is needed to build their network."""
    tensors = {
        key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()
    }
    metadata = metadata | {"arch": arch.to_json(), "options": json.dumps(space.options)}
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, metadata)
    temporary.replace(path)


def load_weights(path: Path) -> nn.Module:
    """Return the network that a weights file belongs to, with its weights.

    Raises:
        ValueError: if the file is none of nastk's.
    """
    metadata = _metadata(path)
    arch = Arch.from_json(metadata["arch"])
    space = find_space(metadata["space"])(**json.loads(metadata["options"]))
    network = space.build(arch.choices)
    network.load_state_dict(load_file(path))
    return network.eval()


def _metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise ValueError(f"no file {path}; expected weights written by `nastk retrain`")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except Exception as error:  # safetensors raises its own, undocumented type
        raise ValueError(f"{path} is no safetensors file ({error})") from None
    if "arch" not in metadata:
        raise ValueError(f"{path} was not written by nastk: it does not say which arch it is of")
    return dict(metadata)


def _last_weights(run: Path) -> Path:
    marker = run / "retrain.json"
    if not marker.is_file():
        raise ValueError(f"{run} has no trained weights: nastk retrain {run}, or give --weights")
    return run / Path(json.loads(marker.read_text())["weights"]).name


def export(what: str | Path, to: str | Path) -> dict[str, Any]:
    """Write a network as .pt2 or .onnx, run the file again and compare.

    The last retraining of a run is exported; without one the weights are untrained.

    Returns:
        `file`, `is_trained` and `max_difference` (relative to the largest output).

    Raises:
        ValueError: if the ending is unknown, or a package is missing.
        RuntimeError: if the file computes something else; it is removed then.
    """
    target = Path(to)
    writers: dict[str, Callable[..., torch.Tensor]] = {".onnx": _to_onnx, ".pt2": _to_pt2}
    write = lookup("export format", target.suffix, writers)
    marker = Path(what) / "retrain.json"
    is_trained = marker.is_file()
    if is_trained:
        weights = _last_weights(Path(what))
        network, side = (
            load_weights(weights),
            json.loads(_metadata(weights)["options"])["resolution"],
        )
    else:
        space, arch = resolve(what)
        network, side = space.build(arch).eval(), space.resolution
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(x)
        again = write(network, x, target)
    difference = float((again - expected).abs().max() / expected.abs().max())
    if not difference <= 1e-5:
        target.unlink()
        raise RuntimeError(f"{target} differs from the module by {difference:.1e}, more than 1e-5")
    return {"file": str(target), "is_trained": is_trained, "max_difference": difference}


def _to_pt2(network: nn.Module, x: torch.Tensor, target: Path) -> torch.Tensor:
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(network, (x,), dynamic_shapes=(batch,))
    torch.export.save(program, target)
    result: torch.Tensor = torch.export.load(target).module()(x)
    return result


def _to_onnx(network: nn.Module, x: torch.Tensor, target: Path) -> torch.Tensor:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError("export to .onnx needs: pip install 'nastk[export]'") from None
    batch = {0: torch.export.Dim("batch")}
    torch.onnx.export(
        network,
        (x,),
        str(target),
        dynamo=True,
        verbose=False,
        input_names=["x"],
        dynamic_shapes=(batch,),
        external_data=False,
    )
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])
