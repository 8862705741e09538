"""Bad input: one line that says what to do, exit code 2, and nothing left behind."""

import errno
import gzip
import json
import os
import shutil
import signal
import sys

import asking
import nastk
import numpy as np
import pytest
from nastk.commands import app
from nastk.core import files
from PIL import Image

X, Y = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 4


@pytest.fixture
def mistake(monkeypatch, capsys, tmp_path):
    """Run a command that must fail with one line and leave the folder as it was.

    A mistake that shows when the work has begun comes behind the lines that announce the work.
    """
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments, code=2, announced=0):
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["nastk", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            app.main()
        output = capsys.readouterr()
        assert stop.value.code == code, output.err
        assert len(output.err.splitlines()) == 1 + announced and not output.out, output.err
        assert "pickle=" not in output.err
        assert sorted(tmp_path.rglob("*")) == before
        return output.err.splitlines(keepends=True)[-1]

    yield run
    signal.signal(signal.SIGTERM, handler)


SEARCH = ("search", "--space", "toy", "--flops", "90%", "--steps", 2)

ARRAYS = {
    "labels of 10 digits": ({"y": Y + 10**10}, "expected classes 0, 1, 2... below 100,000"),
    "labels beyond int64": ({"y": Y.astype(np.uint64) + 2**63}, "label 9223372036854775808"),
    "labels below zero": ({"y": Y - 1}, "label -1"),
    "labels of one word": ({"y": np.array(["cat"] * 20)}, "one class alone, 'cat'"),
    "labels between numbers": ({"y": Y + 0.5}, "expected one whole number or text"),
    "labels without a number": ({"y": np.full(20, np.nan)}, "expected one whole number or text"),
    "labels of several classes": ({"y": np.ones((20, 4), int)}, "a single 1 in each row"),
    "labels of the test alone": ({"x_test": X, "y_test": Y + 5}, "the label 5 in its test part"),
    "text in the test alone": ({"x_test": X, "y_test": Y.astype(str)}, "text and numbers"),
    "a test class misspelt": (
        {"y": np.array(["cat", "dog"] * 10), "x_test": X[:2], "y_test": np.array(["Cat", "dog"])},
        "'Cat' in its test part, which no training image has; did you mean 'cat'?",
    ),
    "labels as a table": ({"y": np.zeros((20, 4), int)}, "expected one whole number"),
    "objects": ({"y": np.array([{}] * 20)}, "Python objects"),
    "images with four channels": ({"x": np.zeros((20, 8, 8, 4), np.uint8)}, "[N, H, W, 3]"),
    "flat images": ({"x": np.zeros((20, 784), np.uint8)}, "[N, H, W, 3]"),
    "images of no size": ({"x": X[:, :0]}, "expected [N, H, W]"),
    "complex images": ({"x": X.astype(complex)}, "holds complex128 images"),
    "negative images": ({"x": X - 1.0}, "pixels from -1 to"),
    "images without a number": ({"x": np.full((20, 8, 8), np.nan)}, "pixels from nan"),
    "float images of 16 bits": ({"x": X + 300.0}, "float64 images with pixels up to"),
    "images in two ranges": (
        {"x": X / 255, "x_test": X + 99.0, "y_test": Y},
        "training and test images in two ranges, up to",
    ),
    "images of validation alone": ({"x_val": X}, "x_val alone"),
    "as many classes as images": ({"y": np.arange(20)}, "no class with enough images to cut one"),
    "too few": ({"x": X[:4], "y": Y[:4]}, "too few"),
    "no labels": ({"y": None}, "expected the arrays x and y"),
}


@pytest.mark.parametrize("arrays, words", ARRAYS.values(), ids=ARRAYS)
def test_wrong_arrays(mistake, tmp_path, arrays, words):
    content = {k: v for k, v in ({"x": X, "y": Y} | arrays).items() if v is not None}
    np.savez(tmp_path / "a.npz", **content)
    assert words in mistake(*SEARCH, "--data", "npz:a.npz")


@pytest.mark.parametrize("kind", ["cut", "npy", "text", "damaged", "missing"])
def test_files_that_are_no_npz(mistake, tmp_path, kind):
    file = tmp_path / "a.npz"
    np.savez(file, x=X, y=Y)
    content = file.read_bytes()
    if kind == "npy":
        with open(file, "wb") as opened:
            np.save(opened, X)
    elif kind == "missing":
        file.unlink()
    else:
        middle = content[:200] + b"\xff" * 100 + content[300:]
        file.write_bytes({"cut": content[:500], "text": b"x,y\n1,2\n", "damaged": middle}[kind])
    words = {"missing": "nothing at", "damaged": "damaged"}.get(kind, "is no npz file")
    assert words in mistake(*SEARCH, "--data", "npz:a.npz")


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.mark.parametrize(
    "kind", ["cut", "labels as images", "magic", "header", "no file", "folder"]
)
def test_wrong_idx_files(mistake, tmp_path, kind):
    images, labels = idx_bytes(X), idx_bytes(Y.astype(np.uint8))
    wrong = {
        "cut": gzip.compress(images)[:-20],
        "labels as images": gzip.compress(labels),
        "magic": gzip.compress(b"\x01" + images[1:]),
        "header": gzip.compress(images[:6]),
    }
    for prefix in ("train", "t10k"):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(
            wrong.get(kind, gzip.compress(images))
        )
        if kind != "no file":
            (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
    if kind == "folder":
        (tmp_path / "train-images-idx3-ubyte.gz").unlink()
        (tmp_path / "train-images-idx3-ubyte").mkdir()
    words = {
        "folder": "has no train-images",
        "cut": "damaged",
        "labels as images": "[N, H, W]",
        "magic": "MNIST format",
        "header": "cut short",
        "no file": "has no train-labels",
    }
    assert words[kind] in mistake(*SEARCH, "--data", "idx:.")


@pytest.mark.parametrize(
    "data, words",
    [
        (f"npz:{'a' * 5000}", "cannot look for npz:"),
        (f"imagefolder:{'a' * 5000}", "cannot look for imagefolder:"),
        ("npz:~nobody-of-that-name/a.npz", "cannot follow the path of npz:~nobody"),
        ("arrays:0123456789ab", "give the same data again as data="),
        ("arrays", "unknown data 'arrays'"),
    ],
    ids=["long npz", "long folder", "nobody's home", "no array held", "arrays"],
)
def test_names_that_lead_nowhere(mistake, data, words):
    assert words in mistake(*SEARCH, "--data", data)


def test_files_that_may_not_be_read(mistake, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", "a.npz")

    np.savez(tmp_path / "a.npz", x=X, y=Y)
    monkeypatch.setitem(nastk.tasks.named.FILES, "npz", refuse)
    assert "Permission denied: a.npz" in mistake(*SEARCH, "--data", "npz:a.npz")


@pytest.mark.parametrize(
    "assignment",
    [
        "warmup=abc",
        "warmup=1.5",
        "logits_lr=abc",
        "steps=2.5",
        "steps=true",
        "weights_lr=nan",
        "weights_lr=NaN",
        "weights_lr=-1",
        "temperature_end=0",
        "batch_size=-3",
        "weight_decay=-1",
        "budget_weight=[]",
        "budget_weight=Infinity",
        "mixture=hard",
    ],
)
def test_wrong_settings_of_a_strategy(mistake, assignment):
    arguments = SEARCH[:-2] if "steps" in assignment else SEARCH
    assert assignment.partition("=")[0] in mistake(*arguments, "--set", assignment)


@pytest.mark.parametrize(
    "space, assignment, words",
    [
        ("sandglass", "widht=0.75", "unknown option of sandglass 'widht'; did you mean 'width'?"),
        ("sandglass", "width=wide", "option width of sandglass has the wrong type: it takes a num"),
        (
            "sandglass",
            "kernels=3",
            "option kernels of sandglass has the wrong type: it takes a list",
        ),
        ("sandglass", "kernels=[3,4.5]", "each part a whole number"),
        ("mbconv", "kernels=[]", "one or more of them; got []"),
        ("mbconv", "width=-1", "takes a width above 0 and at most 1,000, got -1"),
        ("t2t", "head_width=0", "wrong value"),
        ("mbconv", "macro=v3", "unknown macro 'v3'"),
        ("toy", "resolution=32", "--target-resolution"),
        ("toy", "num_classes=3", "--target-classes"),
        ("toy", "width", "--space-set takes NAME=VALUE"),
    ],
)
def test_wrong_options_of_a_space(mistake, space, assignment, words):
    arguments = ("--flops", "90%", "--space-set", assignment)
    assert words in mistake("search", "--space", space, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        (*SEARCH, "--seed", -1),
        (*SEARCH, "--workers", -1),
        (*SEARCH[:-1], 0),
        ("search", "--space", "sandglass-micro", "--flops", "0.8M", "--proxy-scale", -1),
        ("search", "--space", "sandglass", "--flops", "300M", "--proxy-scale", -1),
        (*SEARCH, "--proxy-resolution", 0),
        (*SEARCH, "--target-classes", 0),
        ("retrain", "mobilenext-1.0", "--steps", 0),
        ("retrain", "mobilenext-1.0", "--steps", -1),
        ("retrain", "mobilenext-1.0", "--seed", -1),
        ("retrain", "mobilenext-1.0", "--data", "npz:none.npz"),
        ("compare", ".", "--processes", 0),
        (*SEARCH, "--processes", 0),
        (*SEARCH, "--strategy", "local", "--evaluations", 0),
        ("compare", ".", "--steps", 0),
        ("evaluate", ".", "--workers", -1),
        (*SEARCH, "--seed", 99999999999999),
        ("retrain", "mobilenext-1.0", "--seed", 2**32),
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_numbers_that_mean_nothing(mistake, arguments):
    assert any(
        word in mistake(*arguments) for word in ("at least", "above 0", "nothing at", "scale")
    )


@pytest.mark.parametrize("strategy", ["meta_kernel", "random"])
def test_a_range_without_an_arch_is_infeasible(mistake, strategy):
    said = mistake(*SEARCH[:3], "--flops", "50K:50001", "--strategy", strategy, code=3)
    assert "no arch" in said and "widen" in said


def test_the_grammar_of_a_budget_comes_before_the_data(mistake):
    assert "is not a budget" in mistake("search", "--flops", "35x", "--data", "npz:none.npz")


def test_the_range_of_a_budget_is_that_of_the_classes_of_the_data(mistake, tmp_path):
    """Mostly the classifier decides: 1000 classes reach far above what 4 classes can."""
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    options = ("--space", "toy", "--data", "npz:a.npz")
    many = nastk.search_spaces.Toy(num_classes=10)
    smallest, largest = nastk.core.budget.flops_range(many)
    mistake("search", *options, "--flops", largest, code=3)
    with pytest.raises(nastk.core.budget.InfeasibleBudgetError):
        nastk.core.budget.parse_budget(str(smallest - 40), many)
    found = asking.search("toy", str(smallest - 40), data="npz:a.npz", steps=2)
    assert found["flops"] <= smallest - 40


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    asking.search("toy", "90%", strategy="random", out=folder / "run")
    asking.retrain(folder / "run/arch.json", steps=2, out=folder / "only", data="digits")
    return folder


@pytest.mark.parametrize("device", ["cpu:x", "cpu:0", "cuda:x", "gpu"])
def test_devices_that_are_none(mistake, device):
    said = mistake(*SEARCH, "--device", device)
    assert any(word in said for word in ("no device", "no CUDA device", "unknown device"))


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of a finished search and its retraining, whose files a test may damage."""
    for name in ("run", "only"):
        shutil.copytree(trained / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("content, words", [("{}", "misses 'space'"), ("[]", "expected a JSON")])
@pytest.mark.parametrize("command", ["search --resume", "count", "retrain", "compare"])
def test_a_damaged_manifest_is_named(mistake, copied, command, content, words):
    (copied / "run/manifest.json").write_text(content)
    said = mistake(*command.split(), "run")
    assert "run/manifest.json is damaged" in said and words in said


def test_a_manifest_that_misses_an_entry_is_named(mistake, copied):
    manifest = json.loads((copied / "run/manifest.json").read_text())
    del manifest["threads"]
    (copied / "run/manifest.json").write_text(json.dumps(manifest))
    (copied / "run/result.json").unlink()
    assert "manifest.json is damaged: it misses 'threads'" in mistake("search", "--resume", "run")


def test_a_manifest_with_settings_that_no_strategy_has_is_one_line(mistake, copied):
    manifest = json.loads((copied / "run/manifest.json").read_text())
    manifest["strategy_options"]["stepz"] = 3
    (copied / "run/manifest.json").write_text(json.dumps(manifest))
    (copied / "run/result.json").unlink()
    assert "did you mean 'steps'?" in mistake("search", "--resume", "run")


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_damaged_record_of_a_retraining_is_named(mistake, copied, content):
    (copied / "only/retrain.json").write_text(content)
    assert "only/retrain.json is damaged" in mistake("evaluate", "only")


@pytest.mark.parametrize("command", ["count", "retrain", "compare", "export --to a.pt2"])
def test_an_arch_of_another_space_is_no_arch_of_the_run(mistake, copied, command):
    file = copied / "run/arch.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"space": "mbconv"}))
    said = mistake(*command.split(), "run")
    assert "run/arch.json is of space 'mbconv', its run of 'toy'" in said


def test_resuming_a_retraining(mistake, trained):
    assert "holds a retraining" in mistake("search", "--resume", trained / "only")


def test_data_of_more_classes_than_the_network(mistake, trained, tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=np.arange(20), x_test=X, y_test=np.arange(20))
    said = mistake("evaluate", trained / "only", "--data", "npz:a.npz")
    assert "20 classes" in said and "only 10" in said


@pytest.mark.parametrize(
    "change, words",
    [
        ({"options": {"resolution": 28, "depth": 3}}, "unknown option of toy 'depth'"),
        ({"options": {"resolution": "big"}}, "toy takes as resolution a whole number"),
        ({"space": "Mine"}, "none of nastk's"),
        ({"space": "evil.py:Mine"}, "none of nastk's"),
        ({"schema": 9}, "schema 9"),
        ({"choices": {"width": 8}}, "misses choice"),
    ],
)
@pytest.mark.parametrize("command", ["count", "retrain"])
def test_wrong_arch_files(mistake, trained, tmp_path, command, change, words):
    (tmp_path / "evil.py").write_text("raise SystemExit('this code was run')\n")
    content = json.loads((trained / "run/arch.json").read_text()) | change
    (tmp_path / "arch.json").write_text(json.dumps(content))
    assert words in mistake(command, "arch.json")


def test_strict_commands_leave_nothing_behind(mistake, trained, tmp_path, folder_of_images):
    folder_of_images(tmp_path / "images")
    for part in ("train", "val"):
        for i in range(4):
            (tmp_path / f"images/{part}/cat/{i}.png").write_bytes(b"broken")
    options = ("--data", "imagefolder:images", "--strict")
    assert "cannot read image" in mistake(*SEARCH, *options, announced=3)
    black_box = ("--strategy", "local", "--evaluations", 2, "--processes", 1)
    assert "cannot read image" in mistake(*SEARCH, *options, *black_box, announced=3)
    arch = trained / "run/arch.json"
    assert "cannot read image" in mistake(
        "retrain", arch, "--out", "new/deep", "--steps", 2, *options, announced=2
    )
    assert "cannot read image" in mistake(
        "evaluate", trained / "only", *options, "--allow-mismatch"
    )


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_folder_of_the_users_own_files_is_refused_and_left_alone(
    mistake, trained, tmp_path, command, folder_of_images
):
    folder_of_images(tmp_path / "images")
    (tmp_path / "images/train/cat/0.png").write_bytes(b"broken")
    own = tmp_path / "mine"
    (own / "trials/a").mkdir(parents=True)
    for name in ("arch.json", "metrics.jsonl", "spent.json", "skipped.json", "trials/a/notes.txt"):
        (own / name).write_text("mine")
    before = {file: file.read_bytes() for file in own.rglob("*") if file.is_file()}
    start = SEARCH if command == "search" else (command, trained / "run/arch.json", "--steps", 2)
    said = mistake(*start, "--data", "imagefolder:images", "--strict", "--out", "mine")
    assert "mine is no run but holds 'arch.json' and 4 more" in said and "--out" in said
    assert {file: file.read_bytes() for file in own.rglob("*") if file.is_file()} == before
    assert "is a file" in mistake(*start, "--out", "mine/arch.json")


@pytest.mark.slow
@pytest.mark.parametrize("out", ["afile/x", "/proc/nope", "locked/x"])
@pytest.mark.parametrize("command", ["search", "retrain", "compare"])
def test_a_place_that_cannot_be_written_is_refused(mistake, trained, tmp_path, command, out):
    (tmp_path / "afile").write_text("mine")
    if out.startswith("locked"):
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        (tmp_path / "locked").mkdir(mode=0o500)
    arch = trained / "run/arch.json"
    begin = {
        "search": SEARCH,
        "retrain": ("retrain", arch, "--steps", 1),
        "compare": ("compare", arch, "--seeds", 1, "--steps", 1),
    }
    said = mistake(*begin[command], "--out", out)
    assert f"cannot make the folder {out}: " in said and "--out" in said and "Errno" not in said


def test_a_report_cannot_be_written_below_a_file(mistake, copied):
    (copied / "afile").write_text("mine")
    said = mistake("report", "run", "--out", "afile/r.html")
    assert "cannot make the folder afile: afile is a file" in said


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_full_disk_says_where_and_how_to_go_on(
    trained, tmp_path, monkeypatch, capsys, mistake, command
):
    def full(handle):
        if (tmp_path / "new/manifest.json").exists():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    (tmp_path / "new").mkdir()
    begin = SEARCH if command == "search" else (command, trained / "run/arch.json", "--steps", 1)
    arguments = ["nastk", *map(str, begin), "--out", "new"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stop:
        app.main()
    said = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 1 and "no space left on device while writing new" in said
    again = {"search": "nastk search --resume new", "retrain": "give the same command again"}
    assert said.endswith(f"make room, then {again[command]}") and "Errno" not in said


def test_other_troubles_of_the_system_are_words(mistake, copied, monkeypatch):
    def refuse(what, **options):
        raise PermissionError(errno.EACCES, "Permission denied", "run/arch.json")

    monkeypatch.setattr("nastk.workflows.networks.count", refuse)
    assert mistake("count", "run", code=1) == "nastk: run/arch.json: permission denied\n"


@pytest.mark.parametrize(
    "command", ["count", "compare", "retrain", "evaluate", "export --to a.pt2"]
)
def test_a_name_of_nothing_says_where_it_was_looked_for(mistake, command):
    said = mistake(*command.split(), "nowhere")
    assert "unknown network 'nowhere'" in said and "no file or folder of that name" in said
    assert "nastk references" in said


@pytest.mark.parametrize(
    "command, words",
    [
        (
            "compare . --seeds 0",
            "--seeds takes a whole number of at least 1 and at most 1,000, got 0",
        ),
        (f"compare . --seeds {'9' * 30}", "--seeds takes a whole number of at least 1 and at most"),
        (f"compare . --random {'9' * 30}", "--random takes a whole number of at least 0 and at"),
        (
            "compare . --random -1",
            "--random takes a whole number of at least 0 and at most 10,000, got -1",
        ),
        ("search --space mine.py", "say which class of it, as mine.py:CLASS"),
    ],
)
def test_mistakes_are_named_by_their_option(mistake, command, words):
    assert words in mistake(*command.split())


def test_what_a_process_left_that_was_killed_before_its_manifest_is_no_ones(tmp_path):
    for name in (".lock", ".manifest.json.0123456789abcdef.tmp"):
        (tmp_path / name).touch()
    assert asking.search("toy", "90%", strategy="random", out=tmp_path)["run"] == str(tmp_path)


@pytest.mark.slow
def test_skipped_images_are_counted_in_every_result(tmp_path, monkeypatch, capfd, folder_of_images):
    monkeypatch.chdir(tmp_path)
    folder_of_images(tmp_path / "images")
    (tmp_path / "images/train/cat/0.png").write_bytes(b"broken")
    (tmp_path / "images/val/cat/0.png").write_bytes(b"broken")
    huge = Image.new("1", (30_000, 30_000))
    huge.save(tmp_path / "images/train/dog/0.png")
    data = "imagefolder:images"
    found = asking.search("toy", "90%", data=data, steps=3, out="run")
    assert found["num_skipped"] == 2
    trained = asking.retrain("run", steps=3, recipe="demonstration")
    assert trained["num_skipped"] == 3  # the test split is read too
    assert nastk.evaluate("run")["num_skipped"] == 1
    capfd.readouterr()
    from nastk.commands import screen

    screen.print_search(found)
    screen.print_metrics(trained)
    screen.print_metrics(trained | {"num_skipped": 1})
    said = capfd.readouterr().out
    assert "2 images could not be read" in said and "3 images could not be read" in said
    assert "1 image could not be read and was left out (--strict refuses it)" in said


def test_a_resumed_search_counts_what_was_skipped_before(tmp_path, monkeypatch, folder_of_images):
    from nastk.core.loop import Loop

    folder_of_images(tmp_path / "images")
    (tmp_path / "images/train/cat/0.png").write_bytes(b"broken")
    options = {"flops": "90%", "data": f"imagefolder:{tmp_path / 'images'}", "steps": 3}
    monkeypatch.setenv("NASTK_CHECKPOINT_SECONDS", "0")
    original = Loop.save

    def stop_at_the_end(self, step):
        original(self, step)
        if step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "save", stop_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        asking.search("toy", **options, out=tmp_path / "run")
    monkeypatch.undo()
    assert asking.resume(tmp_path / "run")["num_skipped"] == 1


def test_weights_of_other_classes_are_refused(mistake, trained, tmp_path):
    for part in ("train", "val"):
        for folder, names in {"two": ("dark", "light"), "other": ("a_light", "dark")}.items():
            for level, name in enumerate(names):
                place = tmp_path / folder / part / name
                place.mkdir(parents=True)
                for i in range(8):
                    Image.new("L", (30, 30), 90 * level + i).save(place / f"{i}.png")
    arch, data = trained / "run/arch.json", "imagefolder:two"
    asking.retrain(arch, data=data, steps=2, recipe="demonstration", out=tmp_path / "run")
    assert nastk.evaluate(tmp_path / "run")["data"].endswith("two")
    said = mistake("evaluate", "run", "--data", "imagefolder:other")
    assert "has the classes a_light, dark" in said and "was trained on dark, light" in said
    assert "label 0 is 'a_light', was 'dark'" in said


@pytest.mark.slow
def test_a_comparison_counts_unreadable_images_or_refuses_them(mistake, tmp_path, folder_of_images):
    folder_of_images(tmp_path / "images")
    (tmp_path / "images/val/cat/0.png").write_bytes(b"broken")
    data = f"imagefolder:{tmp_path / 'images'}"
    asking.search("toy", "90%", data=data, strategy="random", out=tmp_path / "run")
    options = {"seeds": 1, "random": 0, "steps": 2, "processes": 1, "recipe": "demonstration"}
    result = nastk.compare(tmp_path / "run", **options)
    assert result["num_skipped"] == 1 and result["record"]["data_record"]["num_classes"] == 2
    with pytest.raises(ValueError, match="cannot read image"):
        nastk.compare(tmp_path / "run", **(options | {"steps": 3}), strict=True)


def test_too_few_images(mistake, tmp_path, folder_of_images):
    folder_of_images(tmp_path / "images", per_class=2)
    assert "too few" in mistake(*SEARCH, "--data", "imagefolder:images")


BIG = "9" * 30
UNTRAINED = (*SEARCH[:-2], "--strategy", "local", "--evaluator", "naswot")
SANDGLASS = ("search", "--space", "sandglass", "--flops", "60%")


@pytest.mark.parametrize(
    "arguments",
    [
        (*SEARCH, "--strategy", "evolution", "--evaluations", BIG),
        (*SEARCH, "--strategy", "halving", "--evaluations", BIG),
        (*SEARCH, "--strategy", "single_path", "--evaluations", BIG),
        (*SEARCH, "--strategy", "evolution", "--set", f"population={BIG}"),
        (*SEARCH, "--finalists", BIG),
        (*SEARCH, "--set", f"weights_lr={'9' * 5000}"),
        (*SEARCH, "--set", "level=" + "[" * 100_000),
        (*UNTRAINED, "--evaluator-set", f"num_batches={BIG}"),
        (*SANDGLASS, "--proxy-scale", BIG),
        (*SANDGLASS, "--space-set", "width=1e308"),
        (*SANDGLASS, "--space-set", f"width={BIG}"),
        (*SANDGLASS, "--space-set", f"multipliers=[{'9' * 400}/1]"),
        ("search", "--space", "nasbench201", "--flops", "60%", "--space-set", "channels=100000000"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments))[-60:],
)
def test_numbers_beyond_all_bounds(mistake, arguments):
    said = mistake(*arguments)
    assert "damaged" not in said and len(said) < 300


def test_images_beyond_all_memory(mistake):
    assert "not enough memory" in mistake(*SEARCH, "--proxy-resolution", 60_000, code=1)


@pytest.mark.parametrize("text", ["raise KeyError(3)", "return [] + 1", "raise MemoryError"])
def test_a_space_that_fails_at_its_start_leaves_its_folder_free(tmp_path, text):
    (tmp_path / "mine.py").write_text(
        f"import nastk\nclass Mine(nastk.Space):\n    def network(self, choose): {text}\n"
    )
    with pytest.raises(Exception):  # noqa: B017  whatever it is
        asking.search(f"{tmp_path / 'mine.py'}:Mine", "90%", steps=1, out=tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__"] == [
        "mine.py"
    ]
    asking.search("toy", "90%", steps=1, out=tmp_path / "run")
