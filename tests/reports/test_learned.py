"""What a search by mixtures has learned, on the page and in report.json."""

import json
import shutil

import asking
import numpy as np
import pytest
from nastk.core.run import Run
from nastk.records.results import read_learned
from nastk.reports.effects import candidate_effects
from nastk.reports.learned import names_that_matter
from nastk.search_spaces import Toy
from nastk.strategies.reading import read_ranking
from nastk.workflows.report import report

from .test_report import Page, read


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A short search by mixtures."""
    folder = tmp_path_factory.mktemp("learned") / "run"
    options = {"data": "digits", "strategy_options": {"supernets": 2}, "quiet": True}
    asking.search("toy", "55K", steps=12, out=folder, **options)
    return folder


@pytest.fixture
def copy(mixed, tmp_path):
    return shutil.copytree(mixed, tmp_path / "run")


def lanes(page):
    """What the lines of candidates say to those who cannot see them."""
    said = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    return [text for text in said if "±" in text]


def test_the_page_says_what_was_learned_of_every_candidate(copy):
    result = report([copy])
    page, (facts,) = read(result), result["runs"]
    learned, recorded = facts["search"]["learned"], json.loads((copy / "ranking.json").read_text())
    assert recorded["sentence"][1:] in page.text and facts["notes"] == []
    assert "What each candidate adds to the score" in page.headings
    said = lanes(page)
    names = ["width, 8", "width, 16", "kernel, 3", "kernel, 5"]
    assert [text.partition(":")[0] for text in said] == names
    taken = {f"{name}, {value}" for name, value in facts["arch"]["choices"].items()}
    assert {text.partition(":")[0] for text in said if text.endswith("taken")} == taken
    effects = [e for row in recorded["choices"].values() for e in row["effects"]]
    assert [text.split(": ")[1].split(" ±")[0] for text in said] == [f"{e:+.2g}" for e in effects]
    assert learned["choices"]["width"]["candidates"] == ["8", "16"]
    warned = [text[1:].rstrip(".") for text in facts["collapse"]["warnings"]]
    assert set(text[1:] for text in recorded["warnings"]) <= set(warned)


def test_scores_of_tested_archs_are_those_of_the_ranking(copy):
    (facts,) = report([copy])["runs"]
    learned, run = facts["search"]["learned"], Run.open(copy)
    ranking = read_ranking(Toy(), run.events(), run.manifest.seed)
    mine = [event for event in run.events() if "tested" in event]
    losses = {}
    for event in mine:
        losses.setdefault(event["tested"], []).append(event["inherited_loss"])
    rows = {event["tested"]: event["indices"] for event in mine}
    indices = dict(zip(Toy().choices(), np.array(list(rows.values())).T, strict=True))
    tested = learned["tested"]
    assert tested["scores"] == pytest.approx(ranking.score(indices), abs=1e-3)
    assert tested["losses"] == pytest.approx([np.mean(known) for known in losses.values()])
    found = {name: np.array([i]) for name, i in Toy().indices(run.arch).items()}
    assert learned["found_score"] == pytest.approx(ranking.score(found)[0], abs=1e-3)


def test_each_supernet_has_its_line_and_all_updates_are_counted(copy):
    result = report([copy])
    page, (facts,) = read(result), result["runs"]
    assert facts["search"]["num_supernets"] == 2 and facts["search"]["num_updates"] == 24
    assert "supernet 2" in page.text and "guessing 2.30" in page.text
    (losses,) = [p for p in page.pictures if p.count("polyline") == 2]
    assert losses.count("circle") == 2  # the legend


def test_an_unfinished_search_shows_its_losses_alone(copy):
    for name in ("ranking", "arch", "result"):
        (copy / f"{name}.json").unlink()
    result = report([copy])
    assert result["runs"][0]["search"]["learned"] is None
    page = read(result)
    assert len(page.pictures) == 1 and lanes(page) == []


def test_a_ranking_of_another_space_is_a_note(copy):
    file = copy / "ranking.json"
    content = json.loads(file.read_text())
    content["choices"]["depth"] = content["choices"].pop("width")
    file.write_text(json.dumps(content))
    result = report([copy])
    (note,) = result["runs"][0]["notes"]
    assert "ranking.json is damaged: it is of another space, see choice 'depth'" in note
    assert note in read(result).text and result["runs"][0]["search"]["learned"] is None
    content["choices"]["depth"]["errors"] = [0.1]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'depth' has 2 effects and 1 errors"):
        read_learned(file, None)
    content["choices"]["depth"]["errors"] = [0.1, -0.1]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"damaged: its choices\.depth\.errors"):
        read_learned(file, None)


def test_a_ranking_without_its_space_names_candidates_by_number(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"space": "gone.py:Mine"}))
    result = report([copy])
    page = read(result)
    assert [text.partition(":")[0] for text in lanes(page)][:2] == [
        "width, candidate 1",
        "width, candidate 2",
    ]
    kept = json.loads((copy / "ranking.json").read_text())["tested_scores"]
    assert result["runs"][0]["search"]["learned"]["tested"]["scores"] == kept


def row(*effects, error=0.1, taken="a"):
    names = ["a", "b", "c"][: len(effects)]
    return {
        "candidates": names,
        "effects": list(effects),
        "errors": [error] * len(effects),
        "taken": taken,
    }


def test_groups_are_averaged_and_what_matters_less_is_folded_away():
    groups = {"net.kernel.1": row(0.0, 1.0), "net.kernel.2": row(0.0, 3.0, taken="b")}
    page = Page(str(candidate_effects(groups)))
    assert "net.kernel (mean of 2), b: +2 ± 0.1, taken" in lanes(page)
    assert "net.kernel (mean of 2) (best b, worst a)" in page.text
    many = {f"choice{n}": row(0.0, 0.01 * n) for n in range(30)}
    page = Page(str(candidate_effects(many)))
    assert "The other 6 choices" in page.text and len(lanes(page)) == 60
    assert page.texts.index("choice5") > page.texts.index("choice29")


def test_candidates_that_differ_by_less_than_their_error_do_not_stand_out():
    page = Page(str(candidate_effects({"kernel": row(-0.1, 0.1)})))
    assert "No choice stands out" in page.text
    assert candidate_effects({}) is None
    assert names_that_matter([("a", 0.0, 0.0)]) == []


def test_effects_of_any_size_are_drawn_inside_of_the_row():
    for huge in (1e308, 0.0, 1e-300):
        page = Page(str(candidate_effects({"kernel": row(huge, -huge, error=huge)})))
        places = [v for _, name, v in page.attributes if name in ("cx", "x1", "x2", "x")]
        assert all(0 <= float(place.removesuffix("%")) <= 100 for place in places)


def test_effects_go_to_tensorboard(copy, tmp_path):
    pytest.importorskip("tensorboardX")
    report([copy], tensorboard=tmp_path / "curves")
    (file,) = (tmp_path / "curves" / copy.name).glob("events.out.tfevents.*")
    assert b"effects/kernel/1" in file.read_bytes()
