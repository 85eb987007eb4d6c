"""An ablation's files say what was found, and the page needs nothing else."""

import io
import json
import math

import pandas as pd
import pytest
from ablations import LOSS, curve_table, made_up_ablation, rows_of, table_of
from rich.console import Console

from nnunet_attention.evaluation.ablation.building import build_ablation
from nnunet_attention.evaluation.ablation.outputs import print_ablation, write_ablation


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    write_ablation(made_up_ablation(), folder)
    return folder


def test_all_files_are_there(written):
    endings = ("csv", "html", "json", "md", "tex")
    wanted = {"curves.csv", *(f"ablation.{ending}" for ending in endings)}
    assert {path.name for path in written.iterdir()} == wanted


def test_the_record_holds_effects_verdicts_and_curves(written):
    record = json.loads((written / "ablation.json").read_text())
    assert record["format"] == 1
    assert record["model"]["weights"] == [1, 2]
    effect = record["effects"][0]
    assert (effect["gates"], effect["replacement"], effect["n"]) == ("0", "mean", 12)
    assert effect["mean_difference"] == pytest.approx(-0.0555)
    assert effect["beyond_random"]["mean_difference"] == pytest.approx(-0.0555 / 2)
    kinds = {verdict["gates"]: verdict["verdict"] for verdict in record["verdicts"]}
    assert kinds == {"0": "matters", "1": "idle"}
    assert {area["other"] for area in record["areas"]} == {"random", "cam"}
    assert record["violations"][0]["worse"] == 6
    assert "Deletion" in record["methods"][-1]


def test_the_csv_file_holds_single_cases(written):
    rows = pd.read_csv(written / "ablation.csv", dtype={"gates": str})
    assert len(rows) == 6 * 12
    assert rows.equals(
        pd.read_csv(io.StringIO((written / "ablation.csv").read_text()), dtype={"gates": str})
    )
    assert len(pd.read_csv(written / "curves.csv")) == 6 * 2 * 3 * 3


def test_tables_for_papers_say_what_matters(written):
    text = (written / "ablation.md").read_text()
    assert "- gate 0 matters by \N{MINUS SIGN}0.056 Dice" in text
    assert "| 1 | organ | idle | mean |" in text
    assert "nothing can be significant" not in text
    tex = (written / "ablation.tex").read_text()
    assert tex.count("\\begin{table}") == tex.count("\\end{table}") == 4
    assert "%" in tex


def test_the_terminal_ends_with_the_verdicts(capsys):
    print_ablation(made_up_ablation(), Console(width=200))
    shown = capsys.readouterr().out
    assert "gate 0 matters by" in shown.splitlines()[-2]
    assert "beyond random gates" in shown


def test_groups_are_counted_in_words(tmp_path):
    groups = {f"case_{number:02d}": f"p{number // 2}" for number in range(12)}
    groups.update({f"c{number}": f"p{number}" for number in range(6)})
    write_ablation(made_up_ablation(groups), tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    assert "12 cases in 6 groups" in text
    # 3 replacements, each against none and against random gates, 4 areas and violations of a gate:
    # 11 * 2 / 2^6.
    assert "With 6 groups and 11 tests nothing can be significant" in text
    assert "is 0.34." in text
    # n, left out, and the first mean.
    assert "| 0 | organ | mean | 6 | 0 | 0.800 |" in text


def test_what_vanishes_is_shown_in_tables_and_null_in_the_record(tmp_path):
    rows = rows_of({("0", "mean"): [-0.01] * 4, ("0", "zero"): [math.nan] * 4})
    for row in (rows[3], *rows[4:]):
        row["value"] = row["difference"] = math.nan
    write_ablation(build_ablation(table_of(rows), ("dice",), {}), tmp_path)
    text = (tmp_path / "ablation.md").read_text()
    assert "| 0 | organ | mean | 3 | 1 | 0.800 |" in text
    assert "| 0 | organ | zero | 0 | 4 |" in text
    effects = json.loads((tmp_path / "ablation.json").read_text())["effects"]
    assert [one["left_out"] for one in effects] == [1, 4]
    assert effects[1]["mean_difference"] is None


def test_curves_without_a_defined_case_do_not_end_the_command(tmp_path):
    curves = curve_table()
    curves["value"] = math.nan
    ablation = build_ablation(table_of(rows_of({("0", "mean"): LOSS})), ("dice",), {}, curves)
    write_ablation(ablation, tmp_path)
    print_ablation(ablation, Console(width=200))
    assert json.loads((tmp_path / "ablation.json").read_text())["areas"] == []


def test_the_tolerance_is_told_where_it_was_used(tmp_path):
    rows = [dict(row, metric="nsd") for row in rows_of({("0", "mean"): LOSS})]
    write_ablation(
        build_ablation(table_of(rows), ("nsd",), {}, tolerance_mm={"organ": 1.5}), tmp_path
    )
    assert "Dice in mm: organ 1.5." in (tmp_path / "ablation.md").read_text()


@pytest.mark.slow
def test_the_page_stands_alone(written, browser):
    page = browser.open(written / "ablation.html")
    assert "gate 0 matters by" in page.inner_text(".findings")
    assert "/models/<one>" in page.inner_text(".subtitle")
    assert page.locator("svg").count() == 2
    assert page.locator("#effects tbody tr").count() == 3
