"""What a run folder says about a search becomes the problem that its strategy works on."""

from __future__ import annotations

import dataclasses

import torch

from .core.budget import Budget, parse_budget
from .core.precision import default_precision
from .core.run import Run
from .core.strategy import Problem
from .evaluators.tasks import make_task
from .manifests import manifest_of
from .naming import spaces_of


def problem_of(run: Run) -> Problem:
    """Return the problem of a run; the first call reads the data and completes the manifest."""
    manifest = run.manifest
    target, proxy = spaces_of(manifest)
    task = make_task(
        manifest["data"],
        proxy.resolution,
        workers=manifest["workers"],
        strict=manifest["strict"],
    )
    if "budget" not in manifest:
        if not task.is_demonstration and manifest["target_classes"] is None:
            target = dataclasses.replace(target, num_classes=task.num_classes)
        proxy = dataclasses.replace(proxy, num_classes=task.num_classes)
        budget = parse_budget(manifest["flops"], target)
        entries = manifest_of(
            space=manifest["space"], target=target, proxy=proxy, data=manifest["data"]
        )
        bounds = {"budget": [budget.low, budget.high], "data_record": task.describe()}
        run.update_manifest(entries | bounds)
        manifest = run.manifest
    device = torch.device(manifest["device"])
    return Problem(
        space=target,
        proxy=proxy,
        task=task,
        budget=Budget(*manifest["budget"]),
        seed=manifest["seed"],
        device=device,
        memory=manifest.get("memory", "high"),
        precision=manifest.get("precision", default_precision(device)),
        cuda_graph=manifest.get("cuda_graph", False),
    )
