"""What the pages say: their links lead somewhere, and commands marked as quick print that.

A block of commands behind `<!-- quick -->` is run, in a folder of its own for every page. Behind
`<!-- quick: numbers vary -->` only words count, as times and what is learned differ between
processors. Blocks behind `<!-- slow -->` are run by the slow suite, after the quick ones that stand
before them. A line `...` stands for any lines, `...` in a line for any words, and
`<!-- file: NAME -->` writes the block below it.
"""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
MARK = re.compile(r"<!-- (?:(quick|slow)(: numbers vary)?|file: (\S+)) -->")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = "```"
# Lines that depend on how fast a machine is, or on what was learned there.
PASSING = re.compile(r"^expected to take|^the ranking explains|\bwarning: | \d+/\d+( |$)")


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No task of a user's own stays open behind a page."""
    monkeypatch.setenv("NASTK_OWN_TASKS", "{}")


@dataclass(frozen=True, kw_only=True)
class Block:
    pace: str | None  # quick or slow, of commands
    has_numbers: bool  # whether the numbers that are printed are to be those of the page
    file: str | None
    lines: list[str]

    def commands(self):
        """Yield the words of each command and the lines that it prints."""
        words, printed = None, []
        for line in self.lines:
            if line.startswith("$ "):
                if words is not None:
                    yield words, printed
                words, printed = shlex.split(line[2:], comments=True), []
            else:
                printed.append(line)
        yield words, printed


def block_below(lines):
    """Return the lines of the first block of code, indented or fenced, among some lines."""
    lines = list(lines)
    while not lines[0].strip():
        lines.pop(0)
    if lines[0].startswith(FENCE):
        return lines[1 : lines.index(FENCE, 1)]
    end = next((n for n, line in enumerate(lines) if line[:4].strip()), len(lines))
    return "\n".join(line[4:] for line in lines[:end]).rstrip().split("\n")


def blocks_of(page):
    """Return the marked blocks of a page."""
    lines = page.read_text().split("\n")
    marks = [(n, MARK.fullmatch(line.strip())) for n, line in enumerate(lines)]
    found = [(n, mark) for n, mark in marks if mark]
    return [
        Block(
            pace=mark[1],
            has_numbers=mark[2] is None,
            file=mark[3],
            lines=block_below(lines[n + 1 :]),
        )
        for n, mark in found
    ]


def pages_with(pace):
    """Return the pages that have commands of a pace."""
    return [page for page in PAGES if any(block.pace == pace for block in blocks_of(page))]


def stable(lines, *, numbers):
    """Return lines without what differs between terminals, and without numbers if so wanted."""
    result = []
    for line in lines:
        if not numbers:
            if PASSING.search(line):
                continue
            line = re.sub(r"\b[0-9a-f]{8,10}\b|[+-]?\d[\d,.]*(e[+-]\d+)?|(low|high)\b", "#", line)
        line = re.sub(r"[━─┃│┏┓┗┛┡┩╇┳└┘┴┻]+", "|", line)
        if words := " ".join(line.split()):
            result.append(words)
    return result


def assert_alike(said, printed):
    """See that the lines of a page are those printed, `...` standing for any."""
    lines = (re.escape(line).replace(r"\.\.\.", ".*") + "\n" for line in said)
    pattern = "".join("(?:.*\n)*?" if line == ".*\n" else line for line in lines)
    text = "".join(line + "\n" for line in printed)
    assert re.fullmatch(pattern, text), f"the page says\n{chr(10).join(said)}\nprinted\n{text}"


def anchors(page):
    """Return what links into a page may name: its headings, as they are spelled in an address."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_exist(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_every_page_is_in_both_indices():
    for index in (ROOT / "README.md", ROOT / "docs" / "README.md"):
        linked = {
            (index.parent / link.partition("#")[0]).resolve()
            for link in LINK.findall(index.read_text())
        }
        pages = {page for page in (ROOT / "docs").iterdir() if page.suffix in (".md", ".py")}
        assert pages - linked - {ROOT / "docs" / "README.md"} == set(), index


@pytest.mark.parametrize("page, example", [("own-task.md", "own_task.py")])
def test_pages_show_what_examples_say(page, example):
    lines = (ROOT / "docs" / page).read_text().split("\n")
    shown = block_below(lines[lines.index("```python") :])
    assert "\n".join(shown) in (ROOT / "examples" / example).read_text()


def test_readme_stays_short():
    assert 120 <= len((ROOT / "README.md").read_text().splitlines()) <= 150


def run_blocks(page, paces, command, folder):
    """Run the commands of a page that have one of some paces, and compare what they print."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    for block in blocks_of(page):
        if block.file:
            (folder / block.file).write_text("\n".join(block.lines) + "\n")
        if block.pace not in paces:
            continue
        for (program, *words), said in block.commands():
            assert program == "nastk", words
            done = command(*words, cwd=folder)
            # Notes of torch and of the progress may stand between the lines; both streams count.
            printed = (done.stderr + done.stdout).split("\n")
            alike = (stable(lines, numbers=block.has_numbers) for lines in (said, printed))
            assert_alike(*alike)


@pytest.mark.parametrize("page", pages_with("quick"), ids=lambda page: page.name)
def test_quick_commands_print_what_the_page_says(page, command, tmp_path):
    run_blocks(page, ("quick",), command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("slow"), ids=lambda page: page.name)
def test_slow_commands_print_what_the_page_says(page, command, tmp_path):
    run_blocks(page, ("quick", "slow"), command, tmp_path)


@pytest.mark.slow
def test_one_search_finds_and_trains_a_network(capsys):
    lines = (ROOT / "docs" / "one_search.py").read_text().splitlines()
    assert len(lines) <= 60
    runpy.run_path(str(ROOT / "docs" / "one_search.py"), run_name="__main__")
    found, metrics = capsys.readouterr().out.splitlines()
    assert int(re.search(r"'flops': (\d+)", found)[1]) <= 800_000
    assert float(re.search(r"'test_top1_percent': ([\d.]+)", metrics)[1]) > 30  # guessing: 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, said",
    [
        ("own_space.py", r"Found\(arch \w+, [\d,]+ FLOPs, .*Conv2d\("),
        ("from_python.py", r"top-1 (9\d|100)\.\d %\n.*network\.pt2"),
    ],
    ids=["own_space", "from_python"],
)
def test_examples_run_as_they_are(name, said, tmp_path):
    told = subprocess.run(
        [sys.executable, ROOT / "examples" / name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(said, told.stdout, re.DOTALL), told.stdout
