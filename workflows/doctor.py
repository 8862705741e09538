"""What this installation can do, and why it cannot do the rest."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .. import __version__
from ..ops.kernels.cpu import compiled

_EXTRAS = {
    "check": ("fvcore",),
    "data": ("mlxtend", "skimage"),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "nni": ("nni", "pytorch_lightning", "filelock"),
    "optuna": ("optuna", "cmaes"),
    "ray": ("ray",),
    "report": ("tensorboardX",),
    "triton": ("triton",),
}

_DISTRIBUTIONS = {"skimage": "scikit-image"}  # modules of another name than what pip installs


def examine() -> list[dict[str, Any]]:
    """Return one row for everything that decides what runs here, and how fast.

    Returns:
        Rows of `name status detail`; the status is `ok`, `missing` or `info`.
    """
    rows = [
        _row("nastk", "info", __version__),
        _row("python", "info", f"{platform.python_version()} on {platform.platform()}"),
        _row("torch", "info", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        _row("processors", "info", f"{os.cpu_count()}, load {os.getloadavg()[0]:.1f}"),
        _cpu_kernels(),
        _cuda(),
    ]
    return rows + [_extra(name, modules) for name, modules in _EXTRAS.items()]


def _row(name: str, status: str, detail: str) -> dict[str, Any]:
    return {"name": name, "status": status, "detail": detail}


def _cpu_kernels() -> dict[str, Any]:
    if compiled.available():
        choice = ", ".join(compiled.isas())
        detail = f"compiled, {compiled.isa()} of {choice}; NASTK_ISA chooses another"
        return _row("CPU kernels", "ok", detail)
    return _row("CPU kernels", "missing", f"plain torch runs instead: {compiled.why_missing()}")


def _cuda() -> dict[str, Any]:
    if not torch.cuda.is_available():
        reason = "no CUDA device" if torch.version.cuda else "this torch was built without CUDA"
        return _row("CUDA", "missing", f"{reason}; everything runs on the CPU")
    return _row("CUDA", "ok", f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")


def _extra(name: str, modules: tuple[str, ...]) -> dict[str, Any]:
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if absent:
        detail = f"no {', '.join(absent)}: pip install 'nastk[{name}]'"
        return _row(f"extra {name}", "missing", detail)
    return _row(f"extra {name}", "ok", ", ".join(f"{m} {_version(m)}" for m in modules))


def _version(module: str) -> str:
    try:
        return version(_DISTRIBUTIONS.get(module, module))
    except PackageNotFoundError:
        return "of unknown version"
