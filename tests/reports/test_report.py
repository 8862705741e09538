"""Reports: valid pages for every space, nothing outside needed, nothing of a user's unescaped."""

import html
import json
import math
import re
import shlex
from html.parser import HTMLParser

import asking
import nastk
import pytest
from nastk.commands.app import app
from nastk.core.budget import flops_range
from nastk.core.run import Run
from nastk.reports.document import document
from nastk.reports.story import read_story
from nastk.search_spaces import SPACES
from nastk.workflows.report import report
from typer.main import get_command

VOID = {"img", "meta"}
SHAPES = {"circle", "g", "line", "polygon", "polyline", "rect", "text", "title"}
EVIL = '<script>alert("1")</script>&\'quote'


class Page(HTMLParser):
    """Reads a page and refuses what does not balance."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts, self.pictures, self.bars = [], [], [], [], []
        self.attributes, self.headings, self.svg = [], [], None
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += [(name, *pair) for pair in attributes]
        if name == "svg":
            assert "svg" not in self.open
            is_chart = dict(attributes).get("viewbox", "").startswith("0 0 360 ")
            (self.pictures if is_chart else self.bars).append([])
            self.svg = (self.pictures if is_chart else self.bars)[-1]
        elif "svg" in self.open:
            assert name in SHAPES
            self.svg.append(name)
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.texts.append(data)
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


def read(result):
    """The page of a report, after what must hold for each: balanced, alone, no script.

    Charts alone are its pictures: the bars of choices and of shares are parts of a list or table.
    """
    text = open(result["html"], encoding="utf-8").read()
    found = Page(text)
    assert text.startswith("<!DOCTYPE html>") and found.tags.count("html") == 1
    assert "http:" not in text and "https:" not in text and "href" not in text
    assert "url(" not in text and "default-src 'none'; img-src data:" in html.unescape(text)
    assert not {"a", "link", "script", "iframe", "image", "use", "object"} & set(found.tags)
    assert not [name for _, name, _ in found.attributes if name in ("xmlns", "style")]
    for tag, name, value in found.attributes:
        if name == "src":
            assert tag == "img" and re.fullmatch(r"data:image/(png|jpeg);base64,[\w+/=]+", value)
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert all(picture for picture in found.pictures)
    numbers = {"x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "width", "height"}
    for tag, name, value in found.attributes:
        if tag in SHAPES and name in numbers:
            assert math.isfinite(float(value.removesuffix("%")))
    check_schema(result)
    return found


def check_schema(result):
    """report.json is what was returned, and says of every run the same things."""
    written = json.loads(open(result["json"]).read())
    assert written == {key: result[key] for key in ("kind", "schema", "nastk", "runs")}
    assert written["kind"] == "nastk report" and written["schema"] == 1
    for run in written["runs"]:
        assert run["status"] in ("finished", "unfinished", "retraining")
        assert set(run) == {
            *("run", "status", "notes", "space", "target", "proxy", "strategy"),
            *("strategy_options", "evaluator", "seed", "data", "flops", "budget", "device"),
            *("threads", "versions", "git_commit", "arch", "search", "collapse", "comparison"),
            *("comparison_source", "verdict", "ranking", "retrained", "cost", "data_record"),
            *("recipe", "commands", "missing", "date", "task", "training", "learning_curve"),
            *("by_class", "losses", "band", "budgets", "front"),
        }
        assert set(run["search"]) == {
            *("num_updates", "num_supernets", "num_trials", "best_trial_loss", "loss_at_the_end"),
            *("num_losses_not_finite", "expected_flops", "entropy", "probs", "learned"),
        }


def search(name, folder, **options):
    low, high = flops_range(SPACES[name]())
    if "scale" in SPACES[name]().options:
        options |= {"proxy_resolution": 32, "proxy_scale": 0.1}
    budget = str((low + high) // 2)
    options = {"strategy": "logits"} | options
    return asking.search(name, budget, steps=3, out=folder, data="digits", **options)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "t2t")) for name in SPACES]
)
def test_a_run_of_every_space_is_drawn(name, tmp_path):
    search(name, tmp_path / "a run")
    result = report([tmp_path / "a run"])
    found = read(result)
    assert len(found.pictures) == 4  # arch, loss, FLOPs, entropy
    (run,) = result["runs"]
    assert run["arch"]["flops"] <= run["budget"][1] and f"{run['arch']['flops']:,}" in found.text
    assert all(gap["command"] in found.text for gap in run["missing"])
    # Groups of channels share a strip. Every strip has at least two candidates.
    strips = {re.sub(r"\.\d+$", "", choice) for choice in run["search"]["probs"]}
    assert len(found.bars) == len(strips)
    assert all(bar.count("polygon") >= 2 for bar in found.bars)


@pytest.mark.parametrize("strategy, pictures", [("gumbel", 4), ("single_path", 3)])
def test_runs_of_other_strategies_are_drawn(strategy, pictures, tmp_path):
    search("toy", tmp_path / "run", strategy=strategy)
    result = report([tmp_path / "run"])
    assert len(read(result).pictures) == pictures and result["runs"][0]["notes"] == []


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "toy run"
    search("toy", folder)
    return folder


def rows(*losses):
    kinds = ["found", "most-params", "reference", *["random"] * (len(losses) - 3)]
    return [
        {
            "name": f"{kind}-{number}",
            "kind": kind,
            "flops": 50_000 + 100 * number,
            "params": 700 + number,
            "inside_budget": kind != "reference",
            "seeds": 2,
            "losses_nats": [loss, loss + 0.01],
            "loss_nats": loss,
            "loss_spread_nats": 0.01,
            "top1_percent": 90.0,
            "top1_spread_percent": 1.0,
        }
        for number, (kind, loss) in enumerate(zip(kinds, losses, strict=True))
    ]


def compared(folder, *losses, **more):
    content = {"rows": rows(*losses), "data": "digits", "recipe": "demonstration"}
    content |= {"num_trainings": 8, "cpu_seconds": 80.0, "improvement_percent": 2.5, "rank": 1}
    content |= {"recipe_sha256": 64 * "7", "training_seconds": 0.5, "steps": None}
    (folder / "compare.json").write_text(json.dumps(content | more))


@pytest.fixture
def copy(run, tmp_path):
    import shutil

    return shutil.copytree(run, tmp_path / "copy of a run")


def test_a_comparison_gives_verdict_ranking_pareto_picture_and_hashes(copy):
    compared(copy, 0.2, 0.4, 2.5, 0.5, 0.6, 0.55, 0.45)
    result = report([copy])
    found = read(result)
    (facts,) = result["runs"]
    assert facts["verdict"]["is_worth_it"] is True and facts["verdict"]["sentence"] in found.text
    assert set(facts["ranking"]["taus"]) == {"params", "flops"}
    assert facts["recipe"] == {"name": "demonstration", "sha256": 64 * "7"}
    assert 64 * "7" in found.text and facts["data_record"]["train_sha256"] in found.text
    assert "At the edge, since far above the others: reference-2 (2.50)." in found.text
    (scatter,) = [picture for picture in found.pictures if picture.count("circle") > 7]
    assert scatter.count("circle") == 7 + 4  # networks and legend


def test_a_short_comparison_prices_the_search_in_whole_trainings(copy):
    spent = json.loads((copy / "result.json").read_text())["cpu_seconds"]
    for more, share in (({}, 1), ({"steps": 9, "steps_of_the_recipe": 36}, 0.25)):
        compared(copy, 0.2, 0.4, 2.5, 0.5, **more)
        (facts,) = report([copy])["runs"]
        assert facts["cost"]["in_trainings"] == pytest.approx(spent / (0.5 / share))
        assert facts["verdict"]["trainings"] == facts["cost"]["in_trainings"]
        assert ("25%" in facts["verdict"]["sentence"]) == (share < 1)


def test_several_runs_stand_side_by_side_in_one_page(run, copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compared(copy, 0.2, 0.4, 2.5, 0.5)
    result = report([run, copy])
    found = read(result)
    assert result["html"] == "report.html" and (tmp_path / "report.json").is_file()
    assert [facts["run"] for facts in result["runs"]] == [str(run), str(copy)]
    assert found.text.count("copy of a run") > 5 and len(found.pictures) == 9


def test_an_unfinished_run_gives_a_partial_report_that_says_so(tmp_path, monkeypatch):
    original = Run.log

    def stop(self, **event):
        original(self, **event)
        if event["step"] == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "log", stop)
    with pytest.raises(KeyboardInterrupt):
        search("toy", tmp_path / "run")
    result = report([tmp_path / "run"])
    found = read(result)
    (facts,) = result["runs"]
    assert facts["status"] == "unfinished" and facts["arch"] is None
    assert "has not ended" in found.text and f"--resume {tmp_path / 'run'}" in found.text
    assert len(found.pictures) == 3 and len(found.bars) == 2


def test_a_black_box_run_shows_its_trials(copy):
    trials = [(1.0, 0.9), (1.0, 0.7), (1.0, None), (1.0, 0.8), (0.5, 0.6)]
    events = [
        {"trial": n, "arch": "x", "share": share, "loss": loss, "choices": {}}
        for n, (share, loss) in enumerate(trials)
    ]
    (copy / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    result = report([copy])
    found = read(result)
    (facts,) = result["runs"]
    assert facts["search"]["best_trial_loss"] == 0.7 and facts["cost"]["num_evaluations"] == 5
    (curve,) = [p for p in found.pictures if "circle" in p]
    assert curve.count("circle") == 3 + 1 and "polyline" in curve


def test_a_diverged_search_is_drawn_with_gaps_and_said(copy):
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in [*lines, *lines]]
    events[1]["loss"] = events[2]["loss"] = math.nan
    events[3]["entropy"] = None
    (copy / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    result = report([copy])
    assert "not finite at 2 of 6 steps" in read(result).text


def test_a_retraining_has_a_report_too(tmp_path):
    asking.retrain("mobilenext-0.25", steps=1, data="digits", out=tmp_path / "run")
    result = report([tmp_path / "run"])
    assert result["runs"][0]["status"] == "retraining"
    found = read(result)
    assert "test accuracy (top-1)" in found.text and "Class by class" in found.text


def test_what_users_call_things_is_escaped(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest |= {"data": f"npz:{EVIL}", "git_commit": EVIL, "data_record": {"origin": EVIL}}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    compared(copy, 0.2, 0.4, 2.5, 0.5)
    content = json.loads((copy / "compare.json").read_text())
    content["rows"][2]["name"] = content["data"] = EVIL
    (copy / "compare.json").write_text(json.dumps(content))
    folder = copy.rename(copy.with_name("a <b> & 'c'"))
    found = read(report([folder]))
    assert "b" not in found.tags and found.text.count(EVIL) >= 4


@pytest.mark.parametrize("file", ["compare", "evidence", "result", "arch", "retrain"])
@pytest.mark.parametrize("content", ["{", "[]", '{"rows": 3}', "\x00", '{"rows": [{}]}'])
def test_a_damaged_file_is_a_note_and_no_end(file, content, copy):
    (copy / f"{file}.json").write_text(content)
    result = report([copy])
    (note,) = result["runs"][0]["notes"]
    assert f"{file}.json is damaged" in note and note in read(result).text


@pytest.mark.parametrize("odd", [{"band": [1, None]}, {"band": [1]}, {"band_archs": "many"}])
def test_a_band_that_is_none_is_a_note(odd, copy):
    content = json.loads((copy / "result.json").read_text()) | odd
    (copy / "result.json").write_text(json.dumps(content))
    (note,) = report([copy])["runs"][0]["notes"]
    assert "result.json is damaged: its band" in note


def test_what_an_older_or_torn_file_misses_is_left_out_of_the_page(copy):
    compared(copy, 0.2, 0.4, 2.5, 0.5, 0.6)
    content = json.loads((copy / "compare.json").read_text())
    evidence = content | {
        "level": "quick",
        "steps": 9,
        "verdict": {"sentence": "It was."},
        "ranking": None,
        "inherited_seconds": 0.0,
        "share_percent": None,
    }
    (copy / "evidence.json").write_text(json.dumps(evidence))
    del content["rank"]
    (copy / "compare.json").write_text(json.dumps(content))
    result = report([copy])
    assert not result["runs"][0]["notes"] and result["runs"][0]["verdict"]["is_worth_it"] is None
    text = read(result).text
    assert "It was." in text and "the found arch ranks" not in text


@pytest.mark.parametrize("odd", [{"target": {}, "proxy": {"scale": 2}}, {"target": {"kernels": 1}}])
def test_sizes_that_a_manifest_does_not_say_are_left_out(odd, copy):
    manifest = json.loads((copy / "manifest.json").read_text()) | odd
    (copy / "manifest.json").write_text(json.dumps(manifest))
    compared(copy, 0.2, 0.4, 2.5, 0.5, rows=[])
    command = report([copy])["runs"][0]["commands"][0]
    assert "--target-resolution" not in command


def test_damaged_events_are_a_note_and_a_torn_last_line_of_an_unfinished_run_is_none(copy):
    events = copy / "metrics.jsonl"
    whole = events.read_text()
    events.write_text(whole[:-9])
    assert "1 of its 3 lines" in report([copy])["runs"][0]["notes"][0]
    (copy / "arch.json").unlink()
    (copy / "result.json").unlink()
    assert report([copy])["runs"][0]["notes"] == []
    events.write_text("5\n" + whole)
    read(report([copy]))


def test_wrong_arguments_are_refused_and_nothing_is_written_over(copy, tmp_path):
    with pytest.raises(ValueError, match="is no run folder"):
        report([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="at least one run"):
        report([])
    with pytest.raises(ValueError, match="takes the name of a page"):
        report([copy], out=tmp_path / "report.pdf")
    before = (copy / "arch.json").read_bytes()
    with pytest.raises(ValueError, match=r"arch\.json is no report"):
        report([copy], out=copy / "arch.html")
    assert (copy / "arch.json").read_bytes() == before and not (copy / "arch.html").exists()
    (copy / "manifest.json").write_text('{"space": ')
    with pytest.raises(ValueError, match=r"manifest\.json is damaged"):
        report([copy])


def test_a_space_of_the_users_own_that_has_gone_leaves_a_partial_report(copy, tmp_path):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"space": "gone.py:Mine"}))
    result = report([copy])
    assert "gone.py, which is not there" in result["runs"][0]["notes"][0]
    assert len(read(result).pictures) == 3  # all but the arch


def test_the_same_run_gives_the_same_page(copy):
    first = open(report([copy])["html"]).read()
    assert open(report([copy])["html"]).read() == first


def test_curves_go_to_tensorboard(copy, tmp_path):
    pytest.importorskip("tensorboardX")
    report([copy], tensorboard=tmp_path / "curves")
    (file,) = (tmp_path / "curves" / copy.name).glob("events.out.tfevents.*")
    content = file.read_bytes()
    assert b"expected_flops" in content and b"probs/kernel/1" in content


def test_probabilities_are_logged_about_fifty_times_from_first_to_last(tmp_path):
    options = {"strategy": "logits", "data": "digits", "out": tmp_path / "run"}
    asking.search("toy", "55K", steps=120, **options)
    events = Run.open(tmp_path / "run").events()
    steps = [event["step"] for event in events if "probs" in event]
    assert steps[0] == 0 and steps[-1] == 119 and 40 <= len(steps) <= 52
    for event in events:
        for row in event.get("probs", {}).values():
            assert sum(row) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
def test_the_commands_that_make_a_run_again_say_all_that_was_asked(tmp_path):
    """Parsed by the command line itself, they ask for what the records say."""
    how = {"seed": 4, "device": "cpu", "workers": 2, "strict": True}
    asking.search(
        "sandglass-micro",
        "0.8M",
        data="digits",
        steps=2,
        out=tmp_path / "a run",
        memory="high",
        precision="bfloat16",
        strategy="logits",
        strategy_options={"level": "bilevel", "logits_lr": 0.1},
        **how,
    )
    nastk.compare(tmp_path / "a run", seeds=1, random=1, steps=2, seed=3)
    asking.retrain(tmp_path / "a run", steps=2, hold_out=True, precision="bfloat16", strict=True)
    (run,) = report([tmp_path / "a run"])["runs"]
    again = str(tmp_path / "a run-again")
    search_again, compare_again, retrain_again, report_again = map(parsed, run["commands"])
    options = {"level=bilevel", "logits_lr=0.1"}
    assert set(search_again.pop("set_")) == options and str(search_again["out"]) == again
    wanted = how | {"memory": "high", "precision": "bfloat16", "steps": 2, "data": "digits"}
    assert {key: search_again[key] for key in wanted} == wanted
    wanted = {"what": [again], "seeds": 1, "random": 1, "steps": 2, "seed": 3, "data": "digits"}
    assert {key: compare_again[key] for key in wanted} == wanted
    wanted = {"what": again, "steps": 2, "hold_out": True, "precision": "bfloat16", "strict": True}
    assert {key: retrain_again[key] for key in wanted} == wanted
    assert report_again["runs"] == [again]


def test_options_of_evaluators_are_among_the_commands(tmp_path):
    options = {"strategy": "random", "evaluations": 2, "evaluator": "grad_norm"}
    options |= {"evaluator_options": {"num_batches": 1}, "data": "digits"}
    asking.search("toy", "55K", out=tmp_path / "run", processes=1, **options)
    (run,) = report([tmp_path / "run"])["runs"]
    again = parsed(run["commands"][0])
    assert list(again["evaluator_set"]) == ["num_batches=1"]
    assert {key: again[key] for key in options if key != "evaluator_options"} == {
        key: value for key, value in options.items() if key != "evaluator_options"
    }


def parsed(command):
    """The options of a command line, as the command gets them."""
    nastk_, name, *words = shlex.split(command)
    assert nastk_ == "nastk"
    return get_command(app).commands[name].make_context(name, words).params


def test_skips_by_name_and_dead_operators_are_told(tmp_path):
    """Of random archs of NAS-Bench-201 the first with a dead convolution is looked at."""
    for seed in range(20):
        events = []
        folder = tmp_path / str(seed)
        options = {"strategy": "random", "data": "digits", "seed": seed, "out": folder}
        found = asking.search("nasbench201", "0:200M", report=events.append, **options)
        if found["dead"]:
            break
    said = [event.get("say", "") for event in events]
    (line,) = (line for line in said if "dead in the found network" in line)
    assert line.endswith("--space-set alive=true excludes such archs") and found["dead"][0] in line
    told = document(read_story(folder))["collapse"]
    assert told["dead"] == found["dead"]
    assert any(found["dead"][0] in warning for warning in told["warnings"])
    names = list(nastk.Arch.from_json((folder / "arch.json").read_text()).choices.values())
    assert told["num_skippable"] == 6
    assert told["num_skipped"] == names.count("none") + names.count("skip_connect")
    assert 0.3 < told["share_skipped_random"] < 0.5  # two of five operations
