import contextlib
import dataclasses
import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from nastk.commands import app
from nastk.tasks import named
from nastk.tasks.images.digits import digits_photo
from PIL import Image

torch.set_num_threads(1)
# Programs started in the background of a script ignore Ctrl-C, and so would what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory):
    """Keep what is trusted in tests out of the user's own list."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _one_process():
    """Train in this process where a test does not say how many: a new one imports torch first."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="session")
def command():
    """Run a command line in this process, as main() does for a user.

    What only a process of its own can show (signals, imports, what C code prints) starts one.
    """

    def run(*words, cwd="."):
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["nastk", *map(str, words)])
            with contextlib.chdir(cwd), contextlib.redirect_stdout(out):
                with contextlib.redirect_stderr(err), pytest.raises(SystemExit) as stop:
                    app.main()
        code = stop.value.code or 0
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def folder_of_images():
    """Write a folder of random images of cats and dogs in the ImageNet layout."""

    def write(path, per_class=8):
        generator = np.random.default_rng(0)
        for part in ("train", "val"):
            for name in ("cat", "dog"):
                folder = path / part / name
                folder.mkdir(parents=True)
                for i in range(per_class):
                    pixels = generator.integers(0, 255, (40, 50, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")

    return write


@pytest.fixture
def sealed_test_split(monkeypatch):
    """Let every reading of the test part of digits-photo fail, and return those that were tried."""
    tried = []

    def refuse(side):
        tried.append(side)
        raise AssertionError("the test split was read")

    def sealed():
        return dataclasses.replace(digits_photo(), test=refuse)

    monkeypatch.setitem(named.EMBEDDED, "digits-photo", sealed)
    with pytest.raises(AssertionError, match="test split was read"):
        named.make_task("digits-photo", 28).ordered("test", 0, 1)
    assert tried.pop() == 28 and not tried
    return tried
