"""Images that are not square, from what people type to counts, data, runs and exported files."""

import json
from pathlib import Path

import asking
import nastk
import numpy as np
import pytest
import torch
from nastk.core.preprocessing import Preprocessing
from nastk.core.resolution import as_typed, resolution_of, sides_of
from nastk.core.sampler import sample_archs
from nastk.evaluators.efficiency import outside_flops
from nastk.records.weights import metadata_of
from nastk.reports.arch_picture import blocks_of
from nastk.search_spaces import SPACES, Toy
from nastk.tasks.named import make_task
from nastk.tasks.saliency import composite as composites
from nastk.training.task import training_batch
from PIL import Image

SMALL = ("toy", "sandglass-micro", "mbconv-micro", "t2t-micro")


@pytest.mark.parametrize(
    "typed, resolution",
    [
        *((28, 28), ("28", 28), ("256x192", (256, 192)), ("256 X 192", (256, 192))),
        *(([24, 16], (24, 16)), ((32, 32), 32), ("32x32", 32), (np.int64(28), 28)),
    ],
)
def test_a_resolution_is_the_side_of_a_square_or_height_and_width(typed, resolution):
    assert resolution_of(typed) == resolution
    assert resolution_of(as_typed(resolution)) == resolution_of(json.loads(json.dumps(resolution)))
    height, width = sides_of(resolution)
    assert Toy(resolution=typed).input_shape == (3, height, width)


@pytest.mark.parametrize(
    "typed",
    ["", "28x", "x28", "28x28x3", "-3", "0x4", 0, True, 2.5, None, [1, 2, 3], 10**30, "9" * 9],
)
def test_what_is_no_resolution_is_one_line(typed):
    with pytest.raises(
        ValueError, match=r"toy takes as resolution .* height and width as"
    ) as error:
        Toy(resolution=typed)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def check_counts(name, resolution, *, archs):
    space = SPACES[name](resolution=resolution)
    for arch in sample_archs(space, archs, 0):
        network, found = space.build(arch), space.cost.count(space.indices(arch))
        assert found["flops"] == outside_flops(network, space.inputs())[1]
        assert found["params"] == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_counts_are_exact_on_rectangles(name):
    check_counts(name, (40, 24), archs=2)
    check_counts(name, "17x30", archs=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SPACES) - set(SMALL)))
def test_counts_of_large_spaces_are_exact_on_rectangles(name):
    check_counts(name, (96, 64), archs=1)


def test_flops_follow_the_area_and_not_the_longer_side():
    def flops(resolution):
        space = Toy(resolution=resolution)
        return space.cost.count(dict.fromkeys(space.choices(), 0))["flops"]

    assert flops((32, 16)) == flops((16, 32))
    head = 8 * 10
    assert 2 * (flops((32, 16)) - head) == flops(32) - head


def test_a_transformer_has_a_token_for_each_place_of_the_rectangle():
    space = SPACES["t2t-micro"](resolution=(48, 32), num_classes=7)
    network = space.build(space.arch_at(dict.fromkeys(space.choices(), 0))).eval()
    tokens = {}
    network[2].register_forward_hook(lambda _, fed, y: tokens.update(fed=fed[0].shape, y=y.shape))
    assert network(torch.randn(2, 3, 48, 32)).shape == (2, 7)
    height, width = tokens["fed"][2:]
    assert height > width and tokens["y"][1] > 1
    with pytest.raises(ValueError, match="at least 8 pixels a side, got 48x7"):
        SPACES["t2t-micro"](resolution=(48, 7))


def test_a_crop_has_the_aspect_of_the_input():
    way = Preprocessing(
        resolution=(40, 20), crop=0.5, mean=(0.0,) * 3, deviation=(1.0,) * 3, scale=1.0
    )
    assert way.box((100, 100)) == (37.5, 25.0, 62.5, 75.0)
    assert way.box((20, 400)) == (5.0, 190.0, 15.0, 210.0)
    assert way.pixels(Image.new("RGB", (90, 70))).shape == (40, 20, 3)
    assert Preprocessing.from_json(json.loads(json.dumps(way.to_json()))) == way
    assert "the middle 40 x 20 of 0.5 of the shorter side, bilinear to 40 x 20" in str(way)


@pytest.mark.parametrize("kind", ["digits", "textures", "npz", "imagefolder"])
def test_data_are_read_as_rectangles(kind, tmp_path):
    data = kind
    if kind == "npz":
        x = np.random.default_rng(0).integers(0, 255, (40, 12, 12), dtype=np.uint8)
        np.savez(tmp_path / "a.npz", x=x, y=np.arange(40) % 2)
        data = f"npz:{tmp_path / 'a.npz'}"
    if kind == "imagefolder":
        for part in ("train", "val"):
            for number in range(8):
                folder = tmp_path / part / "ab"[number % 2]
                folder.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (30, 50), (30 * number, 0, 99)).save(folder / f"{number}.png")
        data = f"imagefolder:{tmp_path}"
    task = make_task(data, "24x16")
    how = {"seed": 1, "step": 2, "batch_size": 4, "amounts": {"rand_augment": 9.0, "erasing": 1.0}}
    first, again = (training_batch(task, "train", **how).inputs[0] for _ in range(2))
    assert first.shape == (4, 3, 24, 16) and torch.equal(first, again)
    assert task.read("test", range(2), None).inputs[0].shape == (2, 3, 24, 16)
    assert json.loads(json.dumps(task.describe()))["resolution"] == [24, 16]


@pytest.mark.slow
def test_a_rectangle_goes_from_search_to_exported_file(tmp_path):
    run = tmp_path / "run"
    options = {"target_resolution": "24x16", "data": "digits", "steps": 12, "quiet": True}
    found = asking.search("toy", "90%", out=run, **options)
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["target"]["resolution"] == manifest["proxy"]["resolution"] == [24, 16]
    assert json.loads((run / "arch.json").read_text())["options"]["resolution"] == [24, 16]
    counted = nastk.count(run, check=True)
    assert counted["resolution"] == (24, 16) and counted["flops"] == found["flops"]
    assert nastk.count(run, resolution=24)["flops"] > counted["flops"]
    made = asking.retrain(run, steps=4, quiet=True)
    metadata = metadata_of(Path(made["weights"]))
    assert metadata["preprocessing"].resolution == (24, 16)
    told = nastk.evaluate(run)
    assert told["metrics"]["test_loss_nats"] == made["metrics"]["test_loss_nats"]
    wide = nastk.export(run, tmp_path / "a.pt2", with_preprocessing=True)
    plain = nastk.export(run, tmp_path / "b.pt2")
    assert wide["max_difference"] <= 1e-5 and plain["input"] == "image float32 [B, 3, 24, 16]"
    page = Path(nastk.report(run)["html"]).read_text()
    assert "24x16 px" in page and "--target-resolution 24x16" in page
    again = asking.resume(run, quiet=True)
    assert again["arch_id"] == found["arch_id"]


def test_a_drawn_network_says_height_and_width_of_its_features():
    space = Toy(resolution=(32, 16))
    sizes = [
        layer.size
        for block in blocks_of(space, sample_archs(space, 1, 0)[0])
        for layer in block.layers
    ]
    assert sizes == [(16, 8), (8, 4), (8, 4), 0]


def test_masks_are_rectangles_as_their_images(tmp_path):
    for part, count in (("TR", 8), ("TE", 2)):
        for kind, mode in (("Image", "RGB"), ("Mask", "L")):
            folder = tmp_path / f"DUTS-{part}" / f"DUTS-{part}-{kind}"
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.zeros((40, 60, 3) if mode == "RGB" else (40, 60), np.uint8)
                pixels[:20] = 255  # the upper half
                name = f"{number}.{'jpg' if mode == 'RGB' else 'png'}"
                Image.fromarray(pixels, mode).save(folder / name)
    task = make_task(f"duts:{tmp_path}", (64, 48))
    batch = training_batch(task, "train", seed=0, step=0, batch_size=4)
    assert batch.inputs[0].shape == (4, 3, 64, 48)
    assert (
        batch.targets["mask"][:, 0, :30].min() == 1 and batch.targets["mask"][:, 0, 34:].max() == 0
    )
    made = Toy(resolution=(64, 48), task="saliency", num_classes=1)
    network = made.build(sample_archs(made, 1, 0)[0])
    assert network(batch.inputs[0]).shape == batch.targets["mask"].shape
    found = task.baselines()
    assert set(found) == {"constant", "centre", "colour"}
    assert found["colour"]["mae"] < found["constant"]["mae"]


def test_composed_rectangles_are_the_middle_of_composed_squares(monkeypatch):
    monkeypatch.setattr(composites, "_SIZES", {"weights": 3, "architecture": 2, "test": 2})
    (wide, masks), (square, whole) = (
        make_task("composite", sides).pairs("train", range(5)) for sides in ((48, 64), 64)
    )
    assert np.array_equal(wide, square[:, :, 8:56]) and np.array_equal(masks, whole[:, 8:56])
