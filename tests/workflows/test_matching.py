"""Trained weights on the same pictures in another container or order of classes."""

import json
from pathlib import Path

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.commands import app
from nastk.records.weights import metadata_of, save_weights
from PIL import Image
from safetensors import safe_open

NAMES = ["0", "1", "10", "2", "3", "4", "5", "6", "7", "8", "9"]  # as folders are sorted


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights trained on folders, whose pictures npz files of the same folder hold too."""
    place = tmp_path_factory.mktemp("matching")
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 256, (11, 1, 1, 3))
    x, y = [], []
    for position, name in enumerate(NAMES):
        for number in range(8):
            noise = generator.integers(-20, 20, (40, 30, 3))
            pixels = np.clip(colours[position] + noise, 0, 255).astype(np.uint8)
            x.append(pixels)
            y.append(int(name))
            for part in ("train", "val"):
                folder = place / "images" / part / name
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    x, y = np.stack(x), np.array(y)
    np.savez(place / "same.npz", x=x, y=y, x_test=x, y_test=y)
    np.savez(place / "some.npz", x=x[y < 5], y=y[y < 5], x_test=x[y < 5], y_test=y[y < 5])
    toy = nastk.search_spaces.Toy()
    (place / "toy.json").write_text(toy.arch({"width": 8, "kernel": 3}).to_json())
    options = {"steps": 10, "recipe": "demonstration", "out": place / "run"}
    result = asking.retrain(place / "toy.json", data=f"imagefolder:{place}/images", **options)
    return place, result


def test_weights_and_run_say_preprocessing_and_classes(trained):
    place, result = trained
    with safe_open(result["weights"], "pt") as file:
        entries = file.metadata()
    said = json.loads(entries["nastk.preprocessing"])
    assert json.loads(entries["nastk.classes"]) == NAMES
    assert (said["crop"], said["resize"], said["channels"]) == (7 / 8, "bilinear", "RGB")
    assert said["mean"] == [0.485, 0.456, 0.406] and said["scale"] == 1 / 255
    manifest = json.loads((place / "run/manifest.json").read_text())["data_record"]
    recorded = json.loads((place / "run/retrain.json").read_text())
    for record in (manifest, recorded, result):
        assert record["preprocessing"] == said and record["classes"] == NAMES


def test_the_same_weights_are_the_same_bytes(trained, tmp_path):
    _, result = trained
    network = nastk.load(trained[0] / "toy.json", weights=result["weights"])
    space, arch = nastk.records.naming.resolve(trained[0] / "toy.json")
    written = []
    for name in "abcdef":
        save_weights(network, tmp_path / name, space, arch, {"data": "digits"})
        written.append((tmp_path / name).read_bytes())
    assert len(set(written)) == 1


def loss_of(place, weights, chosen):
    """Return the loss on pictures of an npz, computed from what the weights say alone."""
    about = metadata_of(Path(weights))
    with np.load(place / "same.npz") as arrays:
        x, y = (arrays[name][chosen(arrays["y"])] for name in "xy")
    pixels = np.stack([about["preprocessing"].pixels(Image.fromarray(image)) for image in x])
    inputs = torch.from_numpy(about["preprocessing"].standardised(pixels.transpose(0, 3, 1, 2)))
    labels = torch.tensor([about["classes"].index(str(label)) for label in y])
    with torch.no_grad():
        logits = nastk.load(place / "toy.json", weights=weights)(inputs)
    return pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), abs=1e-5)


def test_the_same_pictures_in_another_container_score_the_same(trained):
    """Their labels are numbers, which the folders have as names, in another order."""
    place, result = trained
    tested = nastk.evaluate(place / "run", data=f"npz:{place}/same.npz")
    assert tested["metrics"] == pytest.approx(
        {name: result["metrics"][name] for name in tested["metrics"]}, abs=1e-4
    )
    loss = tested["metrics"]["test_loss_nats"]
    assert loss == loss_of(place, result["weights"], lambda y: y >= 0)
    pictures, labels = tested["changes"]
    assert "prepared as in training (crop 0.875, not None, resize bilinear, not bicu" in pictures
    assert "mean 0.485 0.456 0.406, not " in pictures and "matched by the names" in labels
    part = nastk.evaluate(place / "run", data=f"npz:{place}/some.npz")
    expected = loss_of(place, result["weights"], lambda y: y < 5)
    assert part["metrics"]["test_loss_nats"] == expected != loss
    assert nastk.evaluate(place / "run")["changes"] == []


def test_data_of_other_classes_are_refused_unless_allowed(trained, tmp_path, monkeypatch, capsys):
    place, _ = trained
    for part in ("train", "val"):
        for index, name in enumerate(NAMES[:2]):
            (tmp_path / f"other/{part}").mkdir(parents=True, exist_ok=True)
            made = tmp_path / f"other/{part}/{'ab'[index]}"
            made.mkdir()
            for file in (place / f"images/{part}/{name}").iterdir():
                (made / file.name).write_bytes(file.read_bytes())
    data = f"imagefolder:{tmp_path}/other"
    monkeypatch.setattr("sys.argv", ["nastk", "evaluate", str(place / "run"), "--data", data])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as stopped:
        app.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and len(said.splitlines()) == 1
    assert "has the classes a, b, but" in said and "--allow-mismatch" in said
    tested = nastk.evaluate(place / "run", data=data, allow_mismatch=True)
    expected = loss_of(place, tested["weights"], lambda y: y < 2)  # these are 0 and 1 on both sides
    assert tested["metrics"]["test_loss_nats"] == expected


def test_numbers_do_not_pass_for_names(trained, tmp_path):
    place, _ = trained
    x = np.zeros((20, 28, 28), np.uint8)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(20) % 2)
    toy = place / "toy.json"
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / f"images/{part}/{name}").mkdir(parents=True)
            for n in range(5):
                Image.new("L", (9, 9), n).save(tmp_path / f"images/{part}/{name}/{n}.png")
    options = {"steps": 1, "recipe": "demonstration", "out": tmp_path / "run"}
    asking.retrain(toy, data=f"imagefolder:{tmp_path}/images", **options)
    with pytest.raises(ValueError, match=r"0, 1 \(numbers without names\), but .* cat, dog"):
        nastk.evaluate(tmp_path / "run", data=f"npz:{tmp_path}/a.npz")


@pytest.mark.parametrize(
    "key, entry, words",
    [
        ("nastk.preprocessing", None, "does not say its preprocessing; retrain"),
        ("nastk.classes", None, "does not say its classes; retrain"),
        ("nastk.preprocessing", '{"mean": 3}', "is damaged: preprocessing holds"),
        ("nastk.preprocessing", "[1]", r"is damaged: its preprocessing is \[1\]"),
        ("nastk.classes", "[", "is damaged: its metadata are no JSON"),
        ("nastk.classes", '["a"]', "contradict its network"),
        ("nastk", "[]", "does not say its arch"),
        ("nastk", '{"arch": {}, "options": {}, "data": ""}', "not an arch"),
    ],
)
def test_metadata_that_say_too_little_are_one_line(trained, tmp_path, key, entry, words):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "w.safetensors"
    with safe_open(trained[1]["weights"], "pt") as file:
        entries = {**file.metadata(), key: entry}
    kept = {name: text for name, text in entries.items() if text is not None}
    save_file(load_file(trained[1]["weights"]), path, kept)
    with pytest.raises(ValueError, match=words) as caught:
        metadata_of(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_inputs_that_come_ready_are_no_pictures(trained):
    from nastk.tasks.named import make_task
    from nastk.workflows.matching import matched

    place, result = trained
    task = make_task(f"npz:{place}/same.npz", 28)
    task.preprocessing = None
    path = Path(result["weights"])
    with pytest.raises(ValueError, match="nobody can say how the inputs of the data"):
        matched(task, path, "given")
    kept, changes = matched(task, path, "given", allow_mismatch=True)
    assert kept.preprocessing is None and kept.class_names == NAMES and len(changes) == 1
