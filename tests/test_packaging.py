"""What a packager and a new user rely on."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = ["core", "ops", "search_spaces", "evaluators", "nasbench", "benchmarks"]
OUTSIDE = {"tests", "examples", "build", ".venv"}


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"nastk"}
    for init in ROOT.rglob("__init__.py"):
        folder = init.parent.relative_to(ROOT)
        if folder.parts and folder.parts[0] not in OUTSIDE and not folder.parts[0].startswith("."):
            found.add("nastk." + ".".join(folder.parts))
    assert set(listed) == found


def test_tables_and_references_travel_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    for folder in ("nasbench", "ops/kernels"):
        patterns = settings["package-data"]["nastk." + folder.replace("/", ".")]
        data = [f for f in (ROOT / folder).iterdir() if f.name.endswith((".toml", ".gz"))]
        assert data and all(any(f.match(pattern) for pattern in patterns) for f in data)


def imported_folders(path):
    """Top folders that a file imports relatively."""
    folders = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(folders[: len(folders) - node.level + 1])
            target = base + (node.module.split(".") if node.module else [])
            names = target or [alias.name for alias in node.names]
            yield names[0]


def test_imports_inside_the_package_are_relative():
    """Ruff's ban of names resolves relative imports where the checkout is called nastk."""
    packages = [*FLOORS, "strategies"]
    inside = [path for folder in packages for path in (ROOT / folder).rglob("*.py")]
    for path in [*inside, *ROOT.glob("*.py")]:
        if path.name in ("micro.py", "curves.py"):  # programs that use nastk as a user would
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            assert not any(name.split(".")[0] == "nastk" for name in names), path


def test_imports_go_down_the_floors_only():
    allowed = {floor: set(FLOORS[: i + 1]) for i, floor in enumerate(FLOORS)}
    allowed["strategies"] = {"core", "ops", "strategies"}
    allowed["benchmarks"].add("strategies")
    for floor, below in allowed.items():
        for path in (ROOT / floor).rglob("*.py"):
            assert set(imported_folders(path)) <= below, path


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys, time\nfrom nastk.cli import app\nfrom typer.testing import CliRunner\n"
        "result = CliRunner().invoke(app, ['--help'])\nassert result.exit_code == 0, result\n"
        "names = {'torch', 'scipy', 'sklearn', 'networkx', 'ray', 'nni', 'optuna', 'numpy'}\n"
        "heavy = names & set(sys.modules)\n"
        "assert not heavy, heavy\nprint(time.process_time())"
    )
    runs = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, check=True, text=True
            ).stdout
        )
        for _ in range(3)
    ]
    assert min(runs) < 0.6


def test_importing_nastk_imports_no_optional_package():
    optional = {"triton", "ray", "optuna", "nni"}
    code = f"import nastk, sys; nastk.search; assert not {optional} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
