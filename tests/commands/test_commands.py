"""The commands as users type them: results, JSON, and one line for every mistake."""

import json
import shutil
import subprocess
import sys

import asking
import numpy as np
import pytest
import torch


def process(*words):
    """Run a command in a process of its own, where libraries print and warn as for users."""
    whole = [sys.executable, "-m", "nastk", *map(str, words)]
    return subprocess.run(whole, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands") / "run"
    options = ["--flops", "0.8M", "--steps", 5, "--out", folder, "--json"]
    done = process("search", "--space", "sandglass-micro", *options)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == {
        "run",
        "arch_id",
        "flops",
        "params",
        "activations",
        "budget_flops",
        "budgets",
        "evaluations",
        "all_evaluated",
        "band",
        "bands",
        "band_archs",
        "band_is_exact",
        "entropy",
        "num_skipped",
        "dead",
        "seconds",
        "cpu_seconds",
        "peak_memory_bytes",
    }
    return folder


@pytest.mark.slow
def test_retrain_evaluate_and_export_follow_a_search(run, tmp_path, command):
    trained = json.loads(command("retrain", run, "--steps", 5, "--json").stdout)
    assert {"test_top1_percent", "test_loss_nats"} <= set(trained["metrics"])
    tested = json.loads(command("evaluate", run, "--json").stdout)
    assert tested["metrics"]["test_loss_nats"] == pytest.approx(
        trained["metrics"]["test_loss_nats"]
    )
    inherited = command("retrain", run, "--inherit", "--steps", 2, "--json")
    assert "inherit" in json.loads(inherited.stdout)["weights"]
    for ending in ("pt2", "onnx"):
        target = tmp_path / f"model.{ending}"
        done = process("export", run, "--to", target, "--json")
        assert json.loads(done.stdout)["max_difference"] <= 1e-5 and target.exists()
        assert done.stderr == ""
    code = (
        "import sys; sys.modules['nastk'] = None\nimport torch\n"
        f"m = torch.export.load(r'{tmp_path / 'model.pt2'}').module()\n"
        "assert m(torch.zeros(3, 3, 28, 28)).shape == (3, 10)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_count_agrees_with_fvcore_and_search(run, command):
    counted = json.loads(command("count", run, "--check", "--per-layer", "--json").stdout)
    assert {"name", "params", "flops", "activations", "resolution", "num_classes"} <= set(counted)
    assert counted["flops"] == counted["fvcore_flops"] <= 800_000
    assert sum(layer["flops"] for layer in counted["layers"]) == counted["flops"]


def test_load_returns_a_plain_module(run):
    import nastk as library

    assert library.load(run, weights="none")(torch.zeros(2, 3, 28, 28)).shape == (2, 10)
    network = library.load("mobilenext-1.0")
    assert sum(p.numel() for p in network.parameters()) == 3535416


def test_a_finished_run_resumes_to_its_result(run, command):
    done = command("search", "--resume", run, "--json", "--processes", 1)
    assert done.returncode == 0 and json.loads(done.stdout)["run"] == str(run)


def test_a_finished_run_that_was_moved_resumes_to_its_result(run, tmp_path, monkeypatch, capfd):
    from nastk.commands import screen
    from nastk.workflows import search

    shutil.copytree(run, tmp_path / "moved")
    result = json.loads((run / "result.json").read_text()) | {"run": "where/it/was"}
    (tmp_path / "moved/result.json").write_text(json.dumps(result))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    screen.print_search(search.resume("../moved"))
    said = capfd.readouterr().out
    assert "results in ../moved" in said and result["arch_id"] in said


@pytest.mark.parametrize("place", ["flags", "config"])
def test_resuming_refuses_options_that_it_would_not_use(run, tmp_path, place, command):
    given = {"space": "sandglass", "flops": "100M", "seed": 0, "proxy-scale": 0.5, "processes": 1}
    if place == "flags":
        options = [text for key, value in given.items() for text in (f"--{key}", value)]
    else:
        config = tmp_path / "options.toml"
        config.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in given.items()))
        options = ["--config", config]
    done = command("search", "--resume", run, *options)
    assert done.returncode == 2 and not done.stdout and len(done.stderr.splitlines()) == 1
    assert "leave out --space, --seed, --proxy-scale" in done.stderr


def test_flags_override_the_config_file(tmp_path, command):
    config = tmp_path / "options.toml"
    config.write_text('space = "toy"\nflops = "55K"\nsteps = 2\nseed = 5\n')
    done = command("search", "--config", config, "--seed", 6, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["space"] == "toy" and manifest["seed"] == 6
    config.write_text('spaec = "toy"\n')
    assert "did you mean 'space'" in command("search", "--config", config).stderr


def test_options_of_the_strategy_are_set_by_name(tmp_path, command):
    arguments = ["--space", "toy", "--flops", "55K", "--steps", 2, "--out", tmp_path / "run"]
    settings = ["--set", "level=bilevel", "--set", "warmup=0.5"]
    done = command("search", *arguments, "--strategy", "logits", *settings, "--json")
    assert done.returncode == 0, done.stderr
    options = json.loads((tmp_path / "run/manifest.json").read_text())["strategy_options"]
    assert options == {"level": "bilevel", "warmup": 0.5, "steps": 2}
    assert "NAME=VALUE" in command("search", *arguments, "--set", "level").stderr


def test_every_command_takes_a_config_file(tmp_path, command):
    config = tmp_path / "options.toml"
    config.write_text("classes = 10\nper-layer = true\n")
    done = command("count", "mobilenext-1.0", "--config", config, "--json")
    counted = json.loads(done.stdout)
    assert counted["params"] == 2267226 and counted["layers"]
    for name in ("search", "retrain", "evaluate", "count", "spaces", "export"):
        assert "--config" in command(name, "--help").stdout, name


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["--space", "sandglas", "--flops", "1M"], 2, "did you mean 'sandglass'"),
        (["--flops", "35x"], 2, "is not a budget"),
        (["--flops", "100M"], 3, "185,218,944 to 510,290,432"),
        (["--flops", "2G"], 3, "185,218,944 to 510,290,432"),
        (["--flops", "300M", "--data", "imagefolder:/nope"], 2, "no folder /nope/train"),
        (["--flops", "300M", "--data", "digit"], 2, "did you mean 'digits'"),
        (["--flops", "300M", "--strategy", "rnd"], 2, "unknown strategy"),
        (["--resume", "/nope"], 2, "no run folder"),
        (["--flops", "300M", "--device", "tpu"], 2, "unknown device"),
        (["--flops", "300M", "--steps", "0"], 2, "at least 1 and at most"),
        (
            ["--space", "my.py:Mine", "--flops", "1M"],
            2,
            "my.py; a space of your own is given as FILE.py:CLASS",
        ),
        (["--flop", "300M"], 2, "--flops"),
        (["--steps", "many"], 2, "--steps"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(tmp_path, arguments, code, words, command):
    done = command("search", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_image_folder_replaces_corrupt_images_or_refuses_them(tmp_path, folder_of_images):
    from nastk.tasks.named import make_task

    folder_of_images(tmp_path, per_class=6)
    (tmp_path / "train/cat/0.png").write_bytes(b"broken")
    task = make_task(f"imagefolder:{tmp_path}", 28)
    x, labels = task.batch("train", seed=0, step=0, batch_size=12)
    assert x.shape == (12, 3, 28, 28) and len(labels) == 12 and task.num_skipped == 1
    assert len({image.numpy().tobytes() for image in x}) == 12  # cropped anew where seen twice
    again, _ = make_task(f"imagefolder:{tmp_path}", 28, workers=2).batch(
        "train", seed=0, step=0, batch_size=12
    )
    assert torch.equal(x, again)
    strict = make_task(f"imagefolder:{tmp_path}", 28, strict=True)
    with pytest.raises(ValueError, match="cannot read image"):
        strict.batch("train", seed=0, step=0, batch_size=12)


@pytest.mark.parametrize("data, copies", [("digits", 1), ("digits-photo", 3)])
def test_embedded_splits_share_no_digit(data, copies, monkeypatch):
    import sklearn.datasets
    from nastk.tasks.named import make_task

    images, _ = sklearn.datasets.load_digits(return_X_y=True)
    numbered = (images, np.arange(len(images)))  # a label now says which digit an image shows
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **_: numbered)
    task = make_task(data, 28)
    shown = {s: task.ordered(s, 0, task.size(s))[1] for s in ("weights", "architecture", "test")}
    assert [len(digits) for digits in shown.values()] == [900 * copies, 300 * copies, 597 * copies]
    digits, counts = torch.cat(list(shown.values())).unique(return_counts=True)
    assert len(digits) == 1797 and set(counts.tolist()) == {copies}
    assert sum(len(part.unique()) for part in shown.values()) == 1797


def test_files_of_the_user_are_read(tmp_path):
    import gzip

    from nastk.tasks.named import make_task

    x = np.arange(20 * 28 * 28, dtype=np.uint8).reshape(20, 28, 28)
    y = np.arange(20) % 4
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert make_task(f"npz:{tmp_path / 'a.npz'}", 28).size("train") == 16
    for prefix in ("train", "t10k"):
        for kind, array in (("images-idx3", x), ("labels-idx1", y.astype(np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            with gzip.open(tmp_path / f"{prefix}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
    task = make_task(f"idx:{tmp_path}", 28)
    assert task.num_classes == 4 and task.size("test") == 20
    for n in (*range(1, 6), 0):
        name = f"data_batch_{n}.bin" if n else "test_batch.bin"
        (tmp_path / name).write_bytes(bytes([3]) + bytes(3072))
    assert make_task(f"cifar10:{tmp_path}", 32).size("train") == 5
    (tmp_path / "data_batch_1").touch()
    with pytest.raises(ValueError, match="pickles"):
        make_task(f"cifar10:{tmp_path}", 32)


def test_a_space_of_ones_own_is_searched_from_its_file(tmp_path, command):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom torch import nn\nfrom nastk import Space\n"
        "from nastk.ops import conv2d, depthwise_conv2d, linear\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(Space):\n"
        "    resolution: int = 28\n    num_classes: int = 10\n"
        "    def network(self, choose):\n"
        "        return nn.Sequential(conv2d(3, 8, 3, stride=2),\n"
        "            depthwise_conv2d(8, choose('kernel', (3, 5))), nn.AdaptiveAvgPool2d(1),\n"
        "            nn.Flatten(), linear(8, self.num_classes))\n"
    )
    done = command(
        "search",
        "--space",
        "mine.py:Mine",
        "--flops",
        "90%",
        "--steps",
        2,
        "--out",
        "r",
        "--json",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(command("count", "r", "--json", cwd=tmp_path).stdout)["flops"] > 0


@pytest.mark.slow
def test_searches_without_a_folder_never_share_one(tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    results = [asking.search("toy", "55K", strategy="random", seed=4) for _ in range(3)]
    names = ["runs/toy-random-4", "runs/toy-random-4-2", "runs/toy-random-4-3"]
    assert [result["run"] for result in results] == names
    archs = [(tmp_path / name / "arch.json").read_bytes() for name in names]
    assert len(set(archs)) == 1
    asking.search("toy", "55K", strategy="random", seed=5)
    assert (tmp_path / "runs/toy-random-5").is_dir()
