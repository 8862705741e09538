"""Exported files say how they are fed, and are right where nastk is not installed."""

import json
import subprocess
import sys

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.commands import app
from nastk.core.preprocessing import Preprocessing
from nastk.workflows.export import export
from PIL import Image

NAMES = ["blue", "green", "red"]

# What a user of a file writes: no nastk, the raw pictures of the test part, grouped by size.
OUTSIDE = """
import json, sys
sys.modules["nastk"] = None
import numpy as np
def run_onnx(file, image):
    import onnxruntime
    session = onnxruntime.InferenceSession(file)
    said = session.get_modelmeta().custom_metadata_map
    assert [i.name for i in session.get_inputs()] == ["image"]
    return session.run([OUTPUT], {"image": image})[0], said
def run_pt2(file, image):
    import torch
    said = {"nastk.preprocessing": "", "nastk.classes": ""}
    program = torch.export.load(file, extra_files=said)
    with torch.no_grad():
        return program.module()(torch.from_numpy(image)).numpy(), said
"""
PREPARED = """
correct = []
for name in ("first", "second"):
    arrays = np.load(f"{name}.npz")
    image = np.ascontiguousarray(arrays["x"].transpose(0, 3, 1, 2))
    found, said = RUN(FILE, image)
    assert found.dtype == np.float32 and np.allclose(found.sum(1), 1, atol=1e-5)
    one, _ = RUN(FILE, image[:1])
    assert np.allclose(one, found[:1], atol=1e-5)
    classes = json.loads(said["nastk.classes"])
    correct += [classes[n] == name for n, name in zip(found.argmax(1), arrays["y"])]
print(100 * np.mean(correct))
"""
PLAIN = """
from PIL import Image
correct = []
for name in ("first", "second"):
    arrays = np.load(f"{name}.npz")
    images = []
    for pixels in arrays["x"]:
        said = {"nastk.preprocessing": PREPROCESSING}
        way = json.loads(said["nastk.preprocessing"])
        assert way["crop"] is None and way["resize"] == "bicubic"
        image = Image.fromarray(pixels).resize((way["resolution"],) * 2, Image.Resampling.BICUBIC)
        image = np.asarray(image, np.float32) * np.float32(way["scale"])
        images.append((image - way["mean"]) / way["deviation"])
    image = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32)
    found, said = RUN(FILE, image)
    classes = json.loads(said["nastk.classes"])
    correct += [classes[n] == str(k) for n, k in zip(found.argmax(1), arrays["number"])]
print(100 * np.mean(correct))
"""


def pictures(count, height, width, generator):
    """Return noise that leans a little to one of three colours, so that some are mistaken."""
    y = np.arange(count) % 3
    x = generator.integers(0, 226, (count, height, width, 3))
    x[np.arange(count), :, :, 2 - y] += generator.integers(0, 30, (count, 1, 1))
    return x.clip(0, 255).astype(np.uint8), y


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs trained on folders and on an npz file, and the test pictures as two arrays."""
    place = tmp_path_factory.mktemp("exporting")
    generator = np.random.default_rng(0)
    x, y = pictures(48, 30, 40, generator)
    parts = {"first": pictures(150, 30, 40, generator), "second": pictures(150, 71, 50, generator)}
    for name, (images, labels) in parts.items():
        np.savez(place / f"{name}.npz", x=images, y=np.array(NAMES)[labels], number=labels)
    held_out = [
        (image, label)
        for images, labels in parts.values()
        for image, label in zip(images, labels, strict=True)
    ]
    for part, items in {"train": list(zip(x, y, strict=True)), "val": held_out}.items():
        for number, (pixels, label) in enumerate(items):
            folder = place / "images" / part / NAMES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
    x_test, y_test = parts["first"]
    np.savez(place / "data.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    toy = nastk.search_spaces.Toy()
    (place / "toy.json").write_text(toy.arch({"width": 8, "kernel": 3}).to_json())
    for kind, data in {"imagefolder": place / "images", "npz": place / "data.npz"}.items():
        options = {"steps": 12, "recipe": "demonstration", "out": place / kind}
        asking.retrain(place / "toy.json", data=f"{kind}:{data}", **options)
    return place


def outside(place, script, **names):
    code = OUTSIDE
    for name, text in names.items():
        code, script = code.replace(name, text), script.replace(name, text)
    done = subprocess.run(
        [sys.executable, "-c", code + script], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pt2", "onnx"])
def test_raw_pictures_of_any_size_score_as_nastk_says(trained, ending):
    pytest.importorskip("onnxruntime")
    told = nastk.evaluate(trained / "imagefolder")["metrics"]["test_top1_percent"]
    assert 40 < told < 99  # else any file might do
    said = export(trained / "imagefolder", trained / f"f.{ending}", with_preprocessing=True)
    assert said["input"] == "image uint8 [B, 3, H, W]" and said["classes"] == NAMES
    assert said["output"] == "probabilities float32 [B, 3]" and said["max_difference"] <= 1e-5
    names = {"RUN": f"run_{ending}", "FILE": f'"f.{ending}"', "OUTPUT": '"probabilities"'}
    assert outside(trained, PREPARED, **names) == pytest.approx(told, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["pt2", "onnx"])
def test_a_plain_file_says_what_its_input_is(trained, ending):
    pytest.importorskip("onnxruntime")
    file = trained / f"p.{ending}"
    said = export(trained / "npz", file)
    assert said["input"] == "image float32 [B, 3, 28, 28]"
    assert said["output"] == "logits float32 [B, 3]"
    names = {"RUN": f"run_{ending}", "FILE": f'"p.{ending}"', "OUTPUT": '"logits"'}
    way = repr(json.dumps(said["preprocessing"]))
    found = outside(trained, PLAIN.replace("PREPROCESSING", way), **names)
    arrays = [dict(np.load(trained / f"{name}.npz")) for name in ("first", "second")]
    told = []
    network = nastk.load(trained / "npz")
    preprocessing = Preprocessing.from_json(said["preprocessing"])
    for part in arrays:
        pixels = np.stack([preprocessing.pixels(Image.fromarray(one)) for one in part["x"]])
        x = torch.from_numpy(preprocessing.standardised(pixels.transpose(0, 3, 1, 2)))
        told += list(network(x).argmax(1).numpy() == part["number"])
    assert found == pytest.approx(100 * np.mean(told), abs=0.3)


@pytest.mark.slow
def test_preprocessing_by_the_filter_of_arrays_is_in_the_file_too(trained):
    told = nastk.evaluate(trained / "npz")["metrics"]["test_top1_percent"]
    export(trained / "npz", trained / "n.pt2", with_preprocessing=True)
    with np.load(trained / "data.npz") as arrays:
        x = torch.from_numpy(arrays["x_test"]).permute(0, 3, 1, 2)
        found = torch.export.load(trained / "n.pt2").module()(x).argmax(1).numpy()
        assert 100 * np.mean(found == arrays["y_test"]) == pytest.approx(told)


def test_load_returns_what_was_trained_in_eval_mode(trained):
    weights = json.loads((trained / "npz/retrain.json").read_text())["weights"]
    network, same = nastk.load(trained / "npz"), nastk.load(trained / "npz", weights=weights)
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    fresh = nastk.load(trained / "npz", weights="none")
    assert fresh.training
    assert not torch.equal(next(fresh.parameters()), next(network.parameters()))
    with pytest.raises(ValueError, match="leave out what they fix"):
        nastk.load(trained / "npz", resolution=32)
    sized = nastk.load(trained / "npz", weights="none", resolution=32, classes=5)
    assert sized(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


@pytest.fixture
def said(monkeypatch, capsys):
    def run(*command):
        monkeypatch.setattr("sys.argv", ["nastk", *map(str, command)])
        monkeypatch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as stopped:
            app.main()
        out, err = capsys.readouterr()
        return stopped.value.code or 0, out, err

    return run


def test_untrained_runs_are_refused_unless_asked_for(said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asking.search("toy", "90%", strategy="random", out="run")
    with pytest.raises(ValueError, match=r"run has no trained weights.*weights='none'"):
        nastk.load("run")
    code, _, error = said("export", "run", "--to", "a.pt2")
    assert code == 2 and "no trained weights" in error and "--untrained" in error
    assert sum(line.startswith("nastk: ") for line in error.splitlines()) == 1
    code, _, error = said("export", "run", "--to", "a.pt2", "--untrained", "--with-preprocessing")
    assert code == 2 and "leave out --with-preprocessing" in error
    code, out, _ = said("export", "run", "--to", "a.pt2", "--untrained")
    assert code == 0 and "the exported weights are untrained" in out
    asked = {"nastk.preprocessing": "", "nastk.classes": ""}
    torch.export.load("a.pt2", extra_files=asked)
    assert not any(asked.values())  # nobody knows them


def test_an_existing_file_is_replaced_by_force_only(said, trained):
    target = trained / "there.pt2"
    target.write_bytes(b"precious")
    code, _, error = said("export", trained / "npz", "--to", target)
    assert code == 2 and "exists" in error and "--force" in error
    assert target.read_bytes() == b"precious"
    code, out, _ = said("export", trained / "npz", "--to", target, "--force")
    assert code == 0 and target.read_bytes() != b"precious"
    assert "input: image float32 [B, 3, 28, 28], output: logits float32 [B, 3]" in out
    assert "nastk.preprocessing: the whole picture, bicubic to 28 x 28, RGB, bytes times" in out
    assert "nastk.classes: 0, 1, 2" in out
    (trained / "folder.pt2").mkdir()
    code, _, error = said("export", trained / "npz", "--to", trained / "folder.pt2", "--force")
    assert code == 2 and "is a folder" in error
