"""What a user reads first, and how fast a hopeless request is refused."""

import itertools
import os
import re
import resource
import subprocess
import sys

import pytest

NASTK = [sys.executable, "-m", "nastk"]


def run(*arguments, **options):
    return subprocess.run([*NASTK, *arguments], capture_output=True, text=True, **options)


def test_the_help_of_search_teaches_with_two_examples():
    done = run("search", "--help", env=os.environ | {"COLUMNS": "120"})
    lines = [line.strip(" │") for line in done.stdout.splitlines()]
    examples = [line for line in lines if line.startswith("nastk search --space ")]
    assert examples == [
        "nastk search --space sandglass --flops 357M",
        "nastk search --space mbconv --flops 60% --data imagefolder:/data/birds --steps 20000",
    ]
    for option in ("--space", "--flops", "--data", "--steps"):
        assert any(option in line and line not in examples for line in lines)


@pytest.mark.parametrize("words", [["search"], ["bench", "strategies"], []], ids=" ".join)
def test_the_prose_of_help_is_as_wide_as_the_screen(words):
    """A line breaks only where the next word would not have fitted."""
    lines = run(*words, "--help", env=os.environ | {"COLUMNS": "70"}).stdout.splitlines()
    prose = lines[: next(number for number, line in enumerate(lines) if line.startswith("╭"))]
    pairs = [
        (line.rstrip(), after.split()[0])
        for line, after in itertools.pairwise(prose)
        if line[1:2].strip() and after[1:2].strip()
    ]
    assert len(pairs) >= 1 and all(len(f"{line} {word}") > 69 for line, word in pairs)


def test_the_help_of_search_names_every_strategy_and_evaluator():
    from nastk.evaluators import EVALUATORS
    from nastk.strategies import STRATEGIES

    said = run("search", "--help", env=os.environ | {"COLUMNS": "120"}).stdout
    assert [name for name in (*STRATEGIES, *EVALUATORS) if name not in said] == []


def test_the_help_of_search_names_all_embedded_data():
    from nastk.tasks.named import EMBEDDED

    said = run("search", "--help", env=os.environ | {"COLUMNS": "120"}).stdout
    names = set(re.findall(r"[\w-]+", said))
    assert set(EMBEDDED) <= names


def test_the_help_of_retrain_leads_to_every_recipe(command):
    from nastk.training.recipes import RECIPES

    assert "nastk recipes" in run("retrain", "--help", env=os.environ | {"COLUMNS": "200"}).stdout
    said = command("recipes").stdout.splitlines()
    assert [name for name in RECIPES if name not in said] == []


def cpu_seconds_of(function):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = function()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
@pytest.mark.parametrize("budget", ["100M", "2G"])
def test_a_budget_out_of_reach_is_refused_soon_after_torch_is_imported(budget, tmp_path):
    """At most 3.5 times as many CPU seconds as torch takes by itself, on any processor."""
    command = ("search", "--space", "sandglass", "--flops", budget)
    alone = [sys.executable, "-c", "import torch"]
    ratios = []
    for _ in range(5):  # in turn, the least counts: neighbours make CPU seconds longer
        _, torch_seconds = cpu_seconds_of(lambda: subprocess.run(alone, check=True))
        done, spent = cpu_seconds_of(lambda: run(*command, cwd=tmp_path))
        assert done.returncode == 3 and "185,218,944 to 510,290,432" in done.stderr
        assert not list(tmp_path.iterdir())
        ratios.append(spent / torch_seconds)
        if ratios[-1] < 3.5:
            break
    assert 1 < min(ratios) < 3.5


def test_the_version_is_that_of_the_package():
    import nastk

    assert run("--version").stdout == f"nastk {nastk.__version__}\n"


@pytest.mark.parametrize(
    "given, found",
    [
        ({}, "1000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
    ],
)
def test_waiting_threads_hardly_spin_unless_the_user_says_so(given, found):
    names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {k: v for k, v in os.environ.items() if k not in names} | given
    probe = """
import os, sys
from nastk.commands.app import main
sys.argv = ["nastk", "--version"]
try:
    main()
finally:
    print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == f"{found} False"


def test_what_fails_because_of_a_stop_counts_as_stopped():
    probe = """
import os, signal
from nastk.commands import app

def interrupted(**options):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        os.close(-1)

app.app = interrupted
app.main()
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr.startswith("stopped; "), done.stderr
