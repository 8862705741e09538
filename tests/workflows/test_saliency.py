"""Salient objects through the commands: heads, baselines, pictures, export, bit-equal resume."""

import base64
import io
import json
from pathlib import Path

import nastk
import numpy as np
import pytest
import torch
from nastk.core.pictures import Pictures
from nastk.tasks.named import make_task
from nastk.tasks.saliency import composite
from nastk.training.task import measure
from nastk.workflows.pictures import save
from PIL import Image

SIZES = {"weights": 48, "architecture": 16, "test": 8}
SEARCH = {
    "task": "saliency",
    "strategy": nastk.Named("logits", {"steps": 3}),
    "progress": False,
}


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(composite, "_SIZES", SIZES)
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def stop_at(phase, step):
    def report(event):
        if (event["phase"], event["step"]) == (phase, step):
            raise KeyboardInterrupt

    return report


@pytest.mark.slow
def test_a_network_with_a_mask_is_found_trained_shown_and_taken_home(tmp_path):
    run = tmp_path / "run"
    found = nastk.search("toy", "90%", out=run, **SEARCH)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["target"]["task"] == "saliency" and manifest["target"]["resolution"] == 48
    made = nastk.retrain(run, steps=4, progress=False)
    keys = {f"test_{name}" for name in ("loss_nats", "max_f", "mae", "s_measure")}
    assert keys <= set(made["metrics"])
    assert list(made["baselines"]) == ["constant", "centre", "colour"]
    assert all(set(row) == keys for row in made["baselines"].values())

    network = nastk.load(run)
    told = measure(network, make_task("composite", 48))
    assert told == {key: made["metrics"][key] for key in told}
    assert nastk.count(run, check=True)["flops"] == found["flops"]

    again = nastk.evaluate(run, save_images=3)
    assert again["metrics"] == told and again["baselines"] == made["baselines"]
    pictures = sorted(Path(again["pictures"]).iterdir())
    assert [p.name for p in pictures] == ["00001.png", "00002.png", "00003.png"]
    assert Image.open(pictures[0]).size == (3 * 48, 48)

    page = Path(nastk.report(run)["html"]).read_text()
    assert page.count("data:image/png") == 6 and "max-F" in page
    file = tmp_path / "network.pt2"
    told = nastk.export(run, file, with_preprocessing=True)
    assert told["output"] == "probabilities float32 [B, 1, 48, 48]"
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 60, 50), np.uint8))
    probs = torch.export.load(file).module()(image)
    assert (
        0 < float(probs.detach().min()) <= float(probs.detach().max()) < 1
    )  # no softmax over a single map


def test_other_data_than_those_of_the_kind_are_refused(tmp_path):
    run = tmp_path / "run"
    nastk.search("toy", "90%", out=run, **SEARCH)
    nastk.retrain(run, steps=2, progress=False)
    with pytest.raises(ValueError, match=r"digits is for classification, but .* for saliency"):
        nastk.evaluate(run, data="digits")
    for space in ("t2t-micro", "nasbench201"):
        with pytest.raises(ValueError, match="builds networks for classification, but the data"):
            nastk.search(space, "90%", out=tmp_path / "other", task="saliency")
    assert not (tmp_path / "other").exists()


def test_pictures_take_the_place_of_those_before_them(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"")
    for count in (3, 2):
        save(tmp_path, [Image.new("RGB", (2, 2))] * count)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00001.png", "00002.png", "mine.png"]


def test_networks_with_a_mask_have_no_classes_to_count(tmp_path):
    space = nastk.Named("toy", {"num_classes": 10})
    with pytest.raises(ValueError, match="networks for saliency have num_classes 1, which is not"):
        nastk.search(space, "90%", out=tmp_path / "run", **SEARCH)
    assert not (tmp_path / "run").exists()


def test_a_found_body_takes_the_head_of_another_kind(tmp_path):
    run = tmp_path / "run"
    search = SEARCH | {"task": "classification", "data": "digits"}
    nastk.search("toy", "90%", out=run, **search)
    made = nastk.retrain(run, task="saliency", steps=2, progress=False)
    assert made["network"]["task"] == "saliency" and "test_max_f" in made["metrics"]
    with pytest.raises(ValueError, match="draws no pictures: leave out --save-images"):
        again = nastk.retrain(run, task="classification", steps=2, progress=False)
        assert again["data"] == "digits"  # the run's own, which are of that kind
        nastk.evaluate(run, save_images=2)


def test_pictures_of_a_run_that_came_from_elsewhere_are_checked():
    images = [Image.new("RGB", (600, 200), "red")]
    content = Pictures.of(images).to_json()
    kept = Pictures.from_json(json.loads(json.dumps(content)))
    assert Image.open(io.BytesIO(kept.files[0])).size == (288, 96)
    jpeg = io.BytesIO()
    images[0].save(jpeg, "jpeg")
    for files in ([base64.b64encode(jpeg.getvalue()).decode()], ["%"], 7, content["files"] * 30):
        with pytest.raises(ValueError, match="these are no nastk pictures"):
            Pictures.from_json(content | {"files": files})


@pytest.mark.slow
def test_a_search_and_a_training_with_masks_resume_bit_for_bit(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = {"task": "saliency", "strategy": nastk.Named("meta_kernel", {"steps": 8})}
    expected = nastk.search("toy", "90%", out=whole, progress=False, **given)
    with pytest.raises(KeyboardInterrupt):
        nastk.search("toy", "90%", out=parts, progress=stop_at("supernet", 5), **given)
    found = nastk.resume(parts, progress=False)
    assert found["arch_id"] == expected["arch_id"] and lines(parts) == lines(whole)

    once = nastk.retrain(whole, steps=6, progress=False)
    with pytest.raises(KeyboardInterrupt):
        nastk.retrain(parts, steps=6, progress=stop_at("train", 4))
    again = nastk.retrain(parts, steps=6, progress=False)
    assert Path(again["weights"]).read_bytes() == Path(once["weights"]).read_bytes()
    for key in ("test_loss_nats", "test_max_f", "test_mae", "test_s_measure"):
        assert again["metrics"][key] == once["metrics"][key]
