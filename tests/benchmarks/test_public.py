"""Public tables as judges, on tables whose accuracies are made up."""

import gzip
import json
from itertools import product

import numpy as np
import pytest
from nastk.benchmarks.judge import Judge, tau_all
from nastk.benchmarks.public_rows import rules
from nastk.benchmarks.public_table import open_nasbench201, open_nasbench_macro
from nastk.benchmarks.public_text import as_text
from nastk.benchmarks.told import told_rows
from nastk.benchmarks.untrained import PROXIES, Untrained, ceiling
from nastk.core.loop import silent
from nastk.search_spaces import NasBench201, NasBenchMacro
from nastk.search_spaces.nasbench201 import OPERATIONS, format_arch

KEYS = ["".join(digits) for digits in product("012", repeat=8)]


def counts_of(space, keys):
    rows = np.array([list(map(int, key)) for key in keys])
    indices = dict(zip(space.num_candidates, rows.T, strict=True))
    return {name: getattr(space.cost, name).evaluate(indices) for name in ("flops", "params")}


def macro_accuracy(key):
    return 50 + sum(2.0 * int(digit) for digit in key) + int(key, 3) * 1e-4


@pytest.fixture(scope="module")
def macro_content():
    counts = counts_of(NasBenchMacro(), KEYS)
    return {
        key: {
            "test_acc": [macro_accuracy(key) - 1, macro_accuracy(key) + 1],
            "flops": int(counts["flops"][row]),
            "params": int(counts["params"][row]),
        }
        for row, key in enumerate(KEYS)
    }


def macro_file(path, content):
    shuffled = sorted(content, key=lambda key: key[::-1])
    text = json.dumps({key: content[key] for key in shuffled})
    path.write_bytes(gzip.compress(text.encode(), compresslevel=1))
    return path


@pytest.fixture(scope="module")
def table(macro_content, tmp_path_factory):
    return open_nasbench_macro(macro_file(tmp_path_factory.mktemp("t") / "m.gz", macro_content))


def test_archs_are_numbered_as_their_accuracies_are(table):
    for key in ("00000000", "01200210", "22222222"):
        arch = table.space.parse(key)
        position = table.position(arch)
        assert table.accuracy[position] == pytest.approx(macro_accuracy(key))
        assert table.told[position].mean() == pytest.approx(macro_accuracy(key))
        chosen = {name: int(column[position]) for name, column in table.indices.items()}
        assert table.space.arch_at(chosen) == arch


def test_a_count_that_differs_is_refused_with_its_key(macro_content, tmp_path):
    wrong = macro_content["01020000"] | {"params": macro_content["01020000"]["params"] + 1}
    path = macro_file(tmp_path / "m.json.gz", macro_content | {"01020000": wrong})
    with pytest.raises(ValueError, match=r"arch 01020000 .* params, and nasbench-macro counts"):
        open_nasbench_macro(path)


def test_a_table_that_lacks_archs_is_refused_with_the_first_of_them(macro_content, tmp_path):
    kept = {k: v for k, v in macro_content.items() if k not in ("00000012", "22222222")}
    path = macro_file(tmp_path / "m.json.gz", kept)
    with pytest.raises(ValueError, match=r"lacks 2 of the 6,561 archs .* 00000012 first"):
        open_nasbench_macro(path)


def test_the_best_arch_under_a_budget_loses_nothing_and_is_worse_than_none(table):
    judge = Judge(table, "40%")
    inside = np.flatnonzero(judge.under_A)
    best = inside[np.argmax(table.accuracy[inside])]
    figures = judge.figures(best)
    mean, deviation = judge.band
    assert figures["lost"] == 0 and figures["accuracy"] == judge.best
    assert figures["percentile"] > 99
    assert figures["deviations"] == pytest.approx((judge.best - mean) / deviation)
    assert judge.taus(table.accuracy) == {"tau_under": 1.0, "tau_band": 1.0}
    assert tau_all(table, -table.accuracy) == -1.0


def test_the_expectation_of_the_best_of_random_archs_is_that_of_many_draws(table):
    judge = Judge(table, "50%")
    rows = {row.name: row.to_json() for row in rules(table, [judge])}
    band = table.accuracy[judge.band_A]
    drawn = np.random.default_rng(0).choice(band, (20_000, 5)).max(1)
    told = rows["best of 5 random archs by their real accuracy"]["budgets"]["50%"]["accuracy"]
    assert told == pytest.approx(drawn.mean(), abs=5 * drawn.std() / len(drawn) ** 0.5)
    assert rows["random arch of the band"]["budgets"]["50%"]["deviations"] == pytest.approx(0)


def test_rules_take_the_mean_over_archs_that_are_alike(table):
    judge = Judge(table, "60%")
    rows = {row.name: row.to_json() for row in rules(table, [judge])}
    params = table.space.cost.params.evaluate(table.indices)
    most = judge.band_A & (params == params[judge.band_A].max())
    told = rows["most params of the band"]["budgets"]["60%"]
    assert told["accuracy"] == pytest.approx(table.accuracy[most].mean())
    assert told["lost"] == pytest.approx(judge.best - told["accuracy"])


def test_nasbench201_is_judged_by_test_and_tells_validation(tmp_path):
    space = NasBench201()
    names = list(space.num_candidates)
    lines = ["cellstr,cifar10-test,cifar10-val,cifar100-test"]
    cells = list(product(range(len(OPERATIONS)), repeat=6))
    for row in cells[::-1]:
        nodes = iter(row)
        cell = "+".join(
            "|" + "".join(f"{OPERATIONS[next(nodes)]}~{source}|" for source in range(node))
            for node in (1, 2, 3)
        )
        lines.append(f"{cell},{60 + row[0]},{50 + row[5]},1")
    path = tmp_path / "n.csv"
    path.write_text("\n".join(lines))
    found = open_nasbench201(path)
    row = (3, 0, 1, 2, 4, 1)
    arch = space.arch_at(dict(zip(names, row, strict=True)))
    position = found.position(arch)
    assert format_arch(arch).startswith("|nor_conv_3x3~0|+|none~0|skip_connect~1|")
    assert found.accuracy[position] == 63 and found.told[position].tolist() == [51]
    assert any("12 epochs" in note for note in found.notes)
    judge = Judge(found, None)
    assert judge.name == "none" and judge.under_A.all() and judge.band_A.all()
    path.write_text("\n".join([*lines[:7], *lines[8:]]))
    with pytest.raises(ValueError, match=r"lacks 1 of the 15,625 archs .* \|avg_pool_3x3~0\|"):
        open_nasbench201(path)


def test_an_additive_table_is_found_out_by_its_additive_fit(table):
    judges = [Judge(table, "40%"), Judge(table, "80%")]
    told = ceiling(table, judges).to_json()
    assert told["tau_all"] == pytest.approx(1) and told["lost"] == pytest.approx(0, abs=1e-6)


def test_a_proxy_goes_on_with_what_it_has_not_measured(table, tmp_path, monkeypatch):
    judge, asked = Judge(table, "40%"), []

    def real_accuracy(self, name, seed, indices):
        if len(asked) == 25 and not allowed:
            raise KeyboardInterrupt
        asked.append((seed, tuple(indices.values())))
        return macro_accuracy("".join(map(str, indices.values())))

    allowed = []
    monkeypatch.setattr(Untrained, "_score", real_accuracy)
    measured = Untrained(table=table, data="digits-photo", archs=40, folder=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        measured.row("naswot", 2, [judge], silent)
    allowed.append(True)
    row = measured.row("naswot", 2, [judge], silent).to_json()
    assert len(asked) == 25 + 20 + 40 and asked[25:30] == asked[20:25]
    assert row["kind"] == "proxy" and row["searches"] == 2 and row["cpu_seconds"] > 0
    assert row["tau_all"] > 0.8 and row["budgets"]["40%"]["deviations"] > 0.9
    assert measured.row("naswot", 2, [judge], silent).to_json() == row and len(asked) == 85


def test_every_proxy_scores_an_untrained_arch_of_the_space(table, tmp_path):
    measured = Untrained(table=table, data="digits-photo", archs=2, folder=tmp_path)
    arch = table.space.indices(table.space.parse("01201201"))
    scores = {name: measured._score(name, 0, arch) for name in PROXIES}
    assert set(scores) == {"grad_norm", "jacob_cov", "naswot", "snip", "synflow", "zico"}
    assert all(np.isfinite(score) for score in scores.values()), scores


def test_searches_that_are_told_results_are_judged_by_them_and_kept(table, tmp_path):
    judges = [Judge(table, "40%"), Judge(table, "60%")]
    rows = [row.to_json() for row in told_rows("local", judges, 2, tmp_path, silent)]
    assert [row["trainings"] for row in rows] == [20, 50, 100]
    random = next(rules(table, judges)).to_json()
    assert 0 <= rows[2]["lost"] < random["lost"]
    kept = sorted(tmp_path.iterdir())
    again = told_rows("local", judges, 2, tmp_path, lambda event: None)
    assert [row.to_json() for row in again] == rows and sorted(tmp_path.iterdir()) == kept
    kept[0].write_text('{"archs": [6561, 1]}')
    with pytest.raises(ValueError, match="damaged: it names an arch that the table does not have"):
        told_rows("local", judges, 2, tmp_path, silent)


def test_text_has_one_line_a_row_and_no_minus_zero(table):
    judges = [Judge(table, "40%"), Judge(table, "80%")]
    content = {
        "table": "nasbench-macro",
        "notes": table.notes,
        "budgets": {judge.name: judge.describe() for judge in judges},
        "rows": [row.to_json() for row in rules(table, judges)],
    }
    settings = {"data": "digits-photo", "steps": None}
    text = as_text({"machine": {"cpu": "a"}, "settings": settings, "tables": [content]})
    assert text.count("| random arch of the band |") == 3  # it has no score, and so no tau
    assert text.count("| most params of the band |") == 5 and "-0.00" not in text
