"""Trainings that belong to a run compute as the run did, or say where they cannot."""

import json

import asking
import nastk
import pytest
import torch
from nastk.comparison import jobs
from nastk.comparison.jobs import TrainingJob
from nastk.core.run import write_json
from nastk.evaluators.train import Training
from nastk.records import execution
from nastk.records.execution import Execution
from nastk.training.recipes import DEMONSTRATION
from nastk.workflows import evidence
from nastk.workflows.evidence import Level
from nastk.workflows.proxy import bench_proxy

SMALL = {"seeds": 1, "random": 1, "steps": 1, "processes": 1}


@pytest.fixture
def ways(monkeypatch):
    """How networks were trained, all of them in this process."""
    found = []

    class Watched(Training):
        def fit(self, *arguments):
            found.append((self.precision, self.cuda_graph))
            return super().fit(*arguments)

    monkeypatch.setattr(jobs, "Training", Watched)
    return found


def search(folder, precision="bfloat16"):
    options = {"strategy": "random", "data": "digits", "precision": precision, "out": folder}
    return asking.search("toy", "55K", **options)


def recorded(folder):
    """Let the search of a folder have recorded its updates, as only one on CUDA does."""
    manifest = json.loads((folder / "manifest.json").read_text())
    write_json(folder / "manifest.json", manifest | {"cuda_graph": True})


def test_a_comparison_computes_as_the_search_did(tmp_path, ways):
    search(tmp_path / "run")
    said = []
    result = nastk.compare(tmp_path / "run", **SMALL, report=said.append)
    assert set(ways) == {("bfloat16", False)}
    assert result["record"]["precision"] == "bfloat16"
    assert any("compute in bfloat16, as the search did" in e.get("say", "") for e in said)


def test_no_precision_is_taken_for_another(tmp_path, ways):
    search(tmp_path / "run", "float32")
    first = nastk.compare(tmp_path / "run", **SMALL)
    ways.clear()
    second = nastk.compare(tmp_path / "run", precision="bfloat16", **SMALL)
    assert set(ways) == {("bfloat16", False)}
    assert [row["losses_nats"] for row in first["rows"]] != [
        row["losses_nats"] for row in second["rows"]
    ]
    ways.clear()
    assert nastk.compare(tmp_path / "run", **SMALL)["rows"] == first["rows"] and not ways


def test_trainings_that_compute_otherwise_are_others(monkeypatch):
    for name, answer in (("is_available", True), ("device_count", 2)):
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)

    def key(device="cpu", **how):
        given = {"space": "toy", "options": {}, "choices": {}, "data": "digits", "steps": 1}
        given |= {"data_sha256": "0", "recipe": DEMONSTRATION, "title": "a training"}
        how = {"memory": "high", "precision": "float32"} | how
        return TrainingJob(**given, execution=Execution(device=device, **how)).key

    assert key() == key(precision="float32", threads=2, processes=3, workers=1, strict=True)
    assert key("cuda") == key("cuda:1")
    others = [key(precision="bfloat16"), key("cuda"), key("cuda", precision="bfloat16")]
    others += [key("cuda", precision="bfloat16", cuda_graph=True), key(memory="low"), key(seed=1)]
    assert len({key(), *others}) == 7


def test_runs_of_several_precisions_are_compared_in_one_that_is_said(tmp_path, ways):
    for precision in ("bfloat16", "float32"):
        search(tmp_path / precision, precision)
    both = [tmp_path / "bfloat16", tmp_path / "float32"]
    options = {"seeds": 1, "steps": 1, "processes": 1, "out": tmp_path / "both"}
    with pytest.raises(ValueError, match="computed in bfloat16 and float32: say in which"):
        nastk.compare(both, **options)
    nastk.compare(both, precision="float32", **options)
    assert set(ways) == {("float32", False)}


def test_what_a_device_cannot_do_is_said_or_refused(tmp_path, ways):
    search(tmp_path / "run", "float32")
    recorded(tmp_path / "run")
    said = []
    nastk.compare(tmp_path / "run", **SMALL, report=said.append)
    assert set(ways) == {("float32", False)}
    assert any("updates are not recorded" in event.get("say", "") for event in said)
    with pytest.raises(ValueError, match="add --device cuda or leave it out"):
        nastk.compare(tmp_path / "run", cuda_graph=True, **SMALL)
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    write_json(tmp_path / "run/manifest.json", manifest | {"precision": "float16"})
    with pytest.raises(ValueError, match="computed in float16, which needs --device cuda"):
        nastk.compare(tmp_path / "run", **SMALL)


def test_a_comparison_records_updates_as_the_search_did(tmp_path, ways, monkeypatch):
    search(tmp_path / "run", "float32")
    recorded(tmp_path / "run")
    monkeypatch.setattr(execution, "check_recording", lambda *_, **__: None)
    assert nastk.compare(tmp_path / "run", **SMALL)["record"]["cuda_graph"]
    assert set(ways) == {("float32", True)}
    ways.clear()
    nastk.compare(tmp_path / "run", cuda_graph=False, **SMALL)
    assert set(ways) == {("float32", False)}


def test_evidence_computes_as_the_search_did(tmp_path, ways, monkeypatch):
    monkeypatch.setattr(evidence, "LEVELS", {"quick": Level(num_random=4, seeds=1, share=0.002)})
    monkeypatch.setattr(execution, "check_recording", lambda *_, **__: None)
    search(tmp_path / "run")
    recorded(tmp_path / "run")
    assert asking.resume(tmp_path / "run", evidence="quick")["evidence"]["level"] == "quick"
    assert set(ways) == {("bfloat16", True)}
    files = list((tmp_path / "run").glob("trainings/*/result.json"))
    done = [json.loads(file.read_text())["job"] for file in files]
    assert done and all(job["precision"] == "bfloat16" and job["cuda_graph"] for job in done)
    ways.clear()
    nastk.compare(tmp_path / "run", precision="float32", cuda_graph=False, **SMALL)
    assert set(ways) == {("float32", False)}


def test_a_proxy_is_measured_in_the_precision_of_the_searches_to_come(tmp_path, ways, monkeypatch):
    options = {"space": "sandglass-micro-tab", "flops": "60K", "data": "digits", "steps": 1}
    options |= {"archs": 4, "seeds": 2, "processes": 1, "out": tmp_path}
    with pytest.raises(ValueError, match="add --device cuda or leave it out"):
        bench_proxy(**options, cuda_graph=True)
    with pytest.raises(ValueError, match="float16 needs --device cuda"):
        bench_proxy(**options, precision="float16")
    assert not ways and not list(tmp_path.iterdir())
    monkeypatch.setattr(execution, "check_recording", lambda *_, **__: None)
    results = [
        bench_proxy(**options),
        bench_proxy(**options, precision="bfloat16", cuda_graph=True),
    ]
    assert ways == [("float32", False)] * 8 + [("bfloat16", True)] * 8
    assert [r["record"]["precision"] for r in results] == ["float32", "bfloat16"]
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_the_names_of_comparisons_keep_precisions_apart(tmp_path, ways, monkeypatch):
    search(tmp_path / "run", "float32")
    options = {"seeds": 1, "steps": 1, "processes": 1, "out": tmp_path / "compare"}
    arch = tmp_path / "run/arch.json"
    for precision in ("float32", "bfloat16"):
        nastk.compare(arch, precision=precision, **options)
    assert len(list((tmp_path / "compare").glob("*.json"))) == 2
