"""Run folders from somebody else: what they bring along neither runs nor writes elsewhere."""

import json
import shutil

import asking
import nastk
import pytest
from nastk.records import trust
from nastk.workflows.export import export

SPACE = """
from nastk.search_spaces import SPACES
open({ran!r}, "a").write("x")

class Mine(SPACES["toy"]):
    name = "Mine"
"""


@pytest.fixture
def received(tmp_path, monkeypatch):
    """Return a run of a user's space, as somebody receives it, and the file that shows it ran."""
    monkeypatch.chdir(tmp_path)
    ran = tmp_path / "ran.txt"
    (tmp_path / "mine.py").write_text(SPACE.format(ran=str(ran)))
    asking.search("mine.py:Mine", "90%", strategy="random", out="run")
    asking.retrain("run", steps=1)
    shutil.move("run", "received")
    ran.unlink()
    trust._trusted_now.clear()
    return tmp_path / "received", ran


def test_code_of_a_received_run_does_not_run(received):
    run, ran = received
    counted = nastk.count(run, layers=True)
    assert counted["flops"] == sum(layer["flops"] for layer in counted["layers"]) > 0
    told = nastk.report([run])["runs"][0]
    assert told["arch"]["flops"] == counted["flops"] and "--trust" in told["notes"][0]
    for refused in (
        lambda: nastk.count(run, check=True),
        lambda: asking.retrain(run, steps=1),
        lambda: nastk.evaluate(run),
        lambda: export(run, "m.pt2"),
        lambda: nastk.compare([run], seeds=1),
        lambda: nastk.load(run),
    ):
        with pytest.raises(ValueError, match="trust it"):
            refused()
    with pytest.raises(ValueError, match="trust it"):
        asking.resume(run)  # which has ended
    (run / "result.json").unlink()
    with pytest.raises(ValueError, match="trust it"):
        asking.resume(run)
    assert not ran.exists()


def test_trust_is_remembered_for_the_folder_and_the_content(received, command):
    def code_of(*words):
        trust._trusted_now.clear()  # as in a process of its own
        return command("count", run, "--check", *words).returncode

    run, ran = received
    refused = command("count", run, "--check")
    assert refused.returncode == 2 and "--trust" in refused.stderr and not ran.exists()
    assert code_of("--trust") == 0 and ran.exists()
    assert code_of() == 0
    with open(run / "code/mine.py", "a") as file:
        file.write("\n# changed\n")
    assert code_of() == 2


def test_a_run_uses_its_copy_of_the_space(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(SPACE.format(ran=str(tmp_path / "ran.txt")))
    asking.search("mine.py:Mine", "90%", strategy="random", out="run")
    before = nastk.count("run")
    file.write_text(file.read_text().replace('SPACES["toy"]', 'SPACES["sandglass-micro"]'))
    assert nastk.count("run", check=True)["flops"] == before["flops"]
    assert nastk.count("run")["flops"] == before["flops"]
    assert caplog.text.count("has changed since the search") == 1


def test_an_edit_of_what_the_space_imports_is_said(tmp_path, monkeypatch, caplog):
    """Of such files a run has no copy: its networks are others then."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_parts").mkdir()
    (tmp_path / "own_parts/__init__.py").write_text("from .deep import BASE\n")
    (tmp_path / "own_parts/deep.py").write_text("BASE = 'toy'\n")
    (tmp_path / "own_parts/unused.py").write_text("")
    (tmp_path / "mine.py").write_text(
        "import torch\nimport json\nfrom own_parts import BASE\n"
        "from nastk.search_spaces import SPACES\nclass Mine(SPACES[BASE]):\n    name = 'Mine'\n"
    )
    asking.search("mine.py:Mine", "90%", strategy="random", out="run")
    kept = nastk.core.run.Run.open(tmp_path / "run").manifest.code["space"]
    own = ["own_parts/__init__.py", "own_parts/deep.py"]
    assert list(kept.imports) == [str(tmp_path / name) for name in own]
    nastk.count("run")
    assert "has changed" not in caplog.text
    (tmp_path / own[1]).write_text("BASE = 'toy'  # or another\n")
    nastk.count("run")
    nastk.count("run")
    assert caplog.text.count(f"{own[1]} has changed since the search, and") == 1


@pytest.mark.parametrize("name", ["metrics.jsonl", ".lock", "retrain.json", "checkpoints"])
def test_a_run_with_a_link_inside_is_refused(tmp_path, name):
    run = tmp_path / "run"
    asking.search("toy", "90%", strategy="random", out=run)
    (run / name).unlink(missing_ok=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (run / name).symlink_to(victim)
    for refused in (lambda: asking.retrain(run, steps=1), lambda: nastk.report([run])):
        with pytest.raises(ValueError, match=f"link inside, .*{name}"):
            refused()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["/etc/hostname", "../mine.py", "\ud800", "a\0b", "x" * 999])
def test_code_that_is_no_copy_in_the_run_is_refused(received, name):
    run, ran = received
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["code"]["space"]["file"] = name
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is no copy in the run's code/"):
        nastk.trust(run)
    assert not ran.exists()


def test_a_page_replaces_a_link_instead_of_following_it(tmp_path):
    asking.search("toy", "90%", strategy="random", out=tmp_path / "run")
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "page.html").symlink_to(tmp_path / "victim")
    nastk.report([tmp_path / "run"], out=tmp_path / "page.html")
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_mistake_leaves_no_copy_of_a_space_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SPACE.format(ran=str(tmp_path / "ran.txt")))
    with pytest.raises(ValueError, match="no arch"):
        asking.search("mine.py:Mine", "1K", strategy="random", out="run")
    assert not (tmp_path / "run").exists()
    assert json.dumps(asking.search("mine.py:Mine", "90%", strategy="random", out="run")["flops"])
