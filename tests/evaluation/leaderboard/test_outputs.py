"""The files of a leaderboard: complete, readable by others, and never half there."""

import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from leaderboards import TRICKY, frame_of, small_leaderboard, small_settings
from repository import DOCS
from rich.console import Console
from shared_data import ROOT, needs

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard import outputs
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.costs import Cost
from nnunet_attention.evaluation.leaderboard.latex import latex
from nnunet_attention.evaluation.leaderboard.markdown import markdown
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.tables import (
    consensus_table,
    cost_table,
    main_table,
    p_text,
    percent,
    signed,
    undefined_table,
)
from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard
from nnunet_attention.nnunet.known_splits import KnownSplit

NAMES = {f"leaderboard.{ending}" for ending in ("json", "csv", "md", "tex", "html")}
NAN = float("nan")
REFERENCE = ROOT / "msd_cv_reference"


@pytest.fixture(scope="module")
def board():
    return small_leaderboard()


def tricky_board():
    dice = {("Dataset001_One", TRICKY): {TRICKY: [0.5, 0.625, 0.75], "B": [0.5, 0.5, 0.5]}}
    return build_leaderboard(frame_of(dice), small_settings())


def test_all_files_are_written_into_a_new_folder(board, tmp_path):
    paths = write_leaderboard(board, tmp_path / "new" / "folder")
    assert {path.name for path in paths} == NAMES
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == NAMES


def test_a_failure_leaves_what_was_there(board, tmp_path, monkeypatch):
    (tmp_path / "leaderboard.json").write_text("old")

    def fail(board):
        raise RuntimeError("broken")

    monkeypatch.setitem(outputs.WRITERS, "html", fail)
    with pytest.raises(RuntimeError, match="broken"):
        write_leaderboard(board, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.json"]
    assert (tmp_path / "leaderboard.json").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_named(board, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        write_leaderboard(board, tmp_path / "file" / "folder")


def test_the_same_table_and_seed_give_the_same_bytes(tmp_path):
    for folder in ("one", "other"):
        write_leaderboard(small_leaderboard(), tmp_path / folder)
    for name in NAMES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_json_holds_the_numbers_of_the_leaderboard(board, tmp_path):
    write_leaderboard(board, tmp_path)
    record = json.loads((tmp_path / "leaderboard.json").read_text())
    row = record["rows"][0]
    summary = board.rows[0].entries["A"].summary
    assert row["models"]["A"]["mean"] == summary.mean
    assert row["models"]["A"]["n"] == 12
    assert row["comparisons"][0]["adjusted_p_value"] == board.rows[0].pairs[0].adjusted_p_value
    assert record["settings"]["seed"] == 0
    assert set(record["versions"]) >= {"nnunet-attention", "scipy"}


def test_csv_holds_every_case_and_what_counted(tmp_path):
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, NAN, 0.7], "B": [0.4, 0.6, 0.8]}})
    write_leaderboard(build_leaderboard(frame, small_settings()), tmp_path)
    read = pd.read_csv(tmp_path / "leaderboard.csv")
    assert list(read.columns) == [*frame.columns, "used"]
    pd.testing.assert_frame_equal(read[frame.columns], frame, check_dtype=False)
    # Case 1 counts for neither model.
    np.testing.assert_array_equal(read["used"], [0.5, NAN, 0.7, 0.4, NAN, 0.8])


def test_the_main_table_by_hand():
    dice = {("Dataset001_One", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]}}
    grid = main_table(build_leaderboard(frame_of(dice), small_settings()), "dice")
    assert grid.heading == ("data set", "label", "n", "A", "B")
    ((dataset, label, n, *means),) = grid.rows
    assert (dataset.text, label.text, n.text) == ("One", "x", "2")
    # SD of two values 0.2 apart: 0.2 / sqrt(2).
    assert [(cell.text, cell.spread, cell.bold) for cell in means] == [
        ("0.600", "0.141", True),
        ("0.500", "0.141", False),
    ]


def test_undefined_values_are_counted_by_kind():
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, NAN, 0.0], "B": [0.4, NAN, 0.6]}})
    frame.loc[2, "prediction_voxels"] = 0
    rows = undefined_table(build_leaderboard(frame, small_settings()), "dice").texts
    assert rows == [["One", "x", "2 of 3", "1/0/1, 1 left out", "1/0/0, 1 left out"]]
    board = build_leaderboard(frame, small_settings(policy="empty-correct-is-one"))
    rows = undefined_table(board, "dice").texts
    assert rows == [["One", "x", "3 of 3", "1/0/1, 1 set", "1/0/0, 1 set"]]


def test_costs_stand_in_columns_where_they_are_known():
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]}})
    costs = {
        ("Dataset001_One", "3d_fullres", "A"): Cost(31_195_594, 12.345),
        ("Dataset001_One", "3d_fullres", "B"): Cost(training_hours=1.0),
    }
    board = build_leaderboard(frame, small_settings(), costs)
    grid = cost_table(board)
    assert grid.heading == ("data set", "model", "parameters (millions)", "training (h a fold)")
    assert grid.texts == [["One", "A", "31.20", "12.3"], ["One", "B", "\N{EN DASH}", "1.0"]]
    assert cost_table(small_leaderboard()).texts == []


def test_short_trainings_are_told_in_minutes():
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]}})
    costs = {
        ("Dataset001_One", "3d_fullres", "A"): Cost(training_hours=0.0125),
        ("Dataset001_One", "3d_fullres", "B"): Cost(training_hours=2.0),
    }
    board = build_leaderboard(frame, small_settings(), costs)
    grid = cost_table(board)
    assert grid.heading == ("data set", "model", "training (min a fold)")
    # 0.0125 h are 45 s.
    assert grid.texts == [["One", "A", "0.8"], ["One", "B", "120.0"]]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.004, "<1 %"), (0.5, "50 %"), (0.996, ">99 %"), (1, "100 %")],
)
def test_percents(share, text):
    assert percent(share) == text


def test_texts_of_numbers():
    assert p_text(0.0009) == "<0.001"
    assert p_text(0.0421) == "0.042"
    assert signed(-0.0004, "dice") == "0.000"
    assert signed(-0.5, "hd95_mm") == "\N{MINUS SIGN}0.50"
    assert signed(0.5, "dice") == "+0.500"


def test_markdown_shows_names_as_they_are():
    markdown_it = pytest.importorskip("markdown_it")
    html = markdown_it.MarkdownIt().enable("table").render(markdown(tricky_board()))
    text = re.sub(r"<[^>]+>", "", html)
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, character)
    assert TRICKY in text
    assert html.count("<table>") == 4


def test_markdown_tables_have_as_many_cells_in_each_row(board):
    for table in re.findall(r"(?:^\|.*\n)+", markdown(board), flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_latex_has_booktabs_bold_marks_and_escaped_names():
    text = latex(tricky_board())
    for part in ("\\toprule", "\\midrule", "\\bottomrule", "$\\mathbf{0.625} \\pm 0.125$"):
        assert part in text
    escaped = (
        r"a\_b \& \textless{}i\textgreater{}50\%\textless{}/i\textgreater{} \#1 \textbar{} "
        r"\$x\textasciicircum{}2\$ \textasciitilde{}\{\textbackslash{}\}*"
    )
    assert escaped in text
    assert "^{**" in latex(small_leaderboard(marks=True))


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.parametrize("make", [small_leaderboard, tricky_board])
def test_latex_compiles(make, tmp_path):
    (tmp_path / "leaderboard.tex").write_text(latex(make()), encoding="utf-8")
    (tmp_path / "paper.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n"
        "\\input{leaderboard.tex}\n\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_terminal_shows_means_ranks_and_undefined_values(board):
    console = Console(file=io.StringIO(), width=140)
    print_leaderboard(board, console)
    shown = console.file.getvalue()
    assert "Ranks over 2 data sets" in shown
    assert "mean of labels" in shown
    assert "\N{PLUS-MINUS SIGN}" in shown


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_narrow_terminal_breaks_no_number(count, width):
    names = ("nnUNetTrainer", "AttentionUNetTrainer_250epochs", "WideUNetTrainer nnUNetResEncL")
    board = small_leaderboard((*names, "D", "E")[:count])
    console = Console(file=io.StringIO(), width=width)
    print_leaderboard(board, console)
    shown = console.file.getvalue()
    for row in main_table(board, "dice").rows:
        for cell in row[3:]:
            assert f"{cell.text} \N{PLUS-MINUS SIGN} {cell.spread}{cell.mark}" in shown
    for row in consensus_table(board, "dice").texts:
        for text in row[1:]:
            assert text in shown
    assert max(map(len, shown.splitlines())) <= width


def test_a_terminal_too_narrow_for_all_models_side_by_side_has_a_line_for_each():
    board = small_leaderboard(("A", "B", "C", "D", "E"))
    console = Console(file=io.StringIO(), width=80)
    print_leaderboard(board, console)
    table = console.file.getvalue().partition("Mean and SD")[0]
    assert len(re.findall(r"│ [A-E] +│", table)) == 4 * 5
    assert table.count("spleen") == 1


def test_names_with_brackets_are_no_markup_in_the_terminal():
    frame = frame_of({("Dataset001_One", "[bold]x[/]"): {"[red]A": [0.5, 0.7], "B": [0.4, 0.6]}})
    console = Console(file=io.StringIO(), width=140)
    print_leaderboard(build_leaderboard(frame, small_settings()), console)
    assert "[bold]x[/]" in console.file.getvalue()
    assert "[red]A" in console.file.getvalue()


def test_the_methods_say_which_test_correction_policy_and_numbers(board):
    text = " ".join(methods_paragraphs(board))
    for part in (
        "A, B and C on 2 data sets: One (n = 12), Two (n = 9)",
        "2 folds",
        "'nnunet'",
        "Dice: 0 set and 0 left out of 99 values",
        "two-sided Wilcoxon signed-rank test",
        "Holm's method",
        "all pairs of models and data sets (6 tests)",
        "(99 resamples)",
        "50 bootstrap resamples",
        "random seed 0",
        "scipy",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (None, "once, in a cross-validation with a split that is not known here (2 folds)."),
        (
            KnownSplit(2, True),
            "once, by the model that was not trained on it, in a cross-validation with nnU-Net's "
            "own split [8] (2 folds).",
        ),
        (
            KnownSplit(3, False),
            "once, by the model that was not trained on it, in a cross-validation with a split of "
            "the project's own (folds 0 and 1 of 3).",
        ),
    ],
)
def test_the_methods_name_a_split_only_where_it_is_known(split, words):
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]}})
    splits = {} if split is None else {"Dataset001_One": split}
    text = methods_paragraphs(build_leaderboard(frame, small_settings(), splits=splits))[0]
    assert f"Each case was segmented {words} The case is the unit of all statistics." in text
    assert "patient" not in text


def test_the_methods_name_each_data_sets_own_split():
    frame = frame_of(
        {
            (f"Dataset00{number}_{name}", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]}
            for number, name in enumerate(("One", "Two", "Three"), 1)
        }
    )
    splits = {name: KnownSplit(2, True) for name in ("Dataset001_One", "Dataset003_Three")}
    text = methods_paragraphs(build_leaderboard(frame, small_settings(), splits=splits))[0]
    assert (
        "Each case was segmented once: on One and Three by the model that was not trained on it, "
        "in a cross-validation with nnU-Net's own split [8] (2 folds); on Two in a "
        "cross-validation with a split that is not known here (2 folds). The case" in text
    )


def test_the_methods_say_that_fold_all_tests_on_what_it_was_trained_on():
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, 0.7], "B": [0.4, 0.6]}})
    text = methods_paragraphs(build_leaderboard(frame.assign(fold="all"), small_settings()))[0]
    assert "by a model that was trained on all cases, this one included" in text
    assert "not trained" not in text


def test_one_model_alone_has_no_comparisons():
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, 0.7]}})
    board = build_leaderboard(frame, small_settings())
    assert leaderboard_record(board)["rows"][0]["comparisons"] == []
    for text in (markdown(board), latex(board), " ".join(methods_paragraphs(board))):
        assert "Holm's method" not in text


@needs(REFERENCE)
def test_the_python_example_of_the_documentation_runs(tmp_path, monkeypatch):
    page = DOCS / "leaderboard.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {"folder": REFERENCE / "PlainConvUNet"})
    assert {path.name for path in (tmp_path / "leaderboard").iterdir()} == NAMES
