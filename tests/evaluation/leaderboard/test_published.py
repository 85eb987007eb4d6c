"""Models beside published results of which mean, SD and n are known."""

import io
import json

import numpy as np
import pytest
from leaderboards import TRICKY, frame_of, small_leaderboard, small_settings
from rich.console import Console
from scipy import stats

from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.methods import methods_paragraphs, references
from nnunet_attention.evaluation.leaderboard.outputs import write_leaderboard
from nnunet_attention.evaluation.leaderboard.published import PublishedMean, read_published
from nnunet_attention.evaluation.leaderboard.records import leaderboard_record
from nnunet_attention.evaluation.leaderboard.tables import published_table
from nnunet_attention.evaluation.leaderboard.terminal import print_leaderboard
from nnunet_attention.evaluation.statistics.equivalence import CORRELATIONS

DATASET = ("Dataset001_One", "x")
GENERATOR = np.random.default_rng(2)
OTHERS = GENERATOR.normal(0.7, 0.05, 25)
MINE = OTHERS + GENERATOR.normal(0.01, 0.02, 25)


def paper(**changes) -> PublishedMean:
    described = {"model": "Paper", "dataset": "1", "n": 25}
    described |= {"mean": OTHERS.mean(), "sd": OTHERS.std(ddof=1), **changes}
    return PublishedMean(**described)


def board_beside(*published, **changes):
    frame = frame_of({DATASET: {"mine": list(MINE)}})
    return build_leaderboard(frame, small_settings(published=published, **changes))


def test_at_the_models_correlation_the_probability_is_that_of_the_paired_t_test(monkeypatch):
    truth = float(np.corrcoef(MINE, OTHERS)[0, 1])
    module = "nnunet_attention.evaluation.statistics.equivalence.CORRELATIONS"
    monkeypatch.setattr(module, (truth,))
    (comparison,) = board_beside(paper()).published
    expected = stats.ttest_rel(MINE, OTHERS, alternative="greater").pvalue
    assert comparison.claims.by_correlation == (pytest.approx(expected),)
    assert comparison.difference == pytest.approx((MINE - OTHERS).mean())
    assert comparison.better == "mine"


def test_by_hand_without_any_correlation():
    (comparison,) = board_beside(paper(mean=0.75, sd=0.04)).published
    error = np.sqrt((MINE.var(ddof=1) + 0.04**2) / 25)
    expected = stats.t.cdf((MINE.mean() - 0.75) / error, 24)
    assert comparison.claims.by_correlation[CORRELATIONS.index(0)] == pytest.approx(expected)
    assert comparison.better == "Paper"


def test_data_sets_are_found_by_any_name_and_labels_too():
    published = [
        paper(dataset=name, label=label, n=12, metric=metric)
        for name, label, metric in (
            ("Dataset001_One", "", "dice"), ("One", "tumour", ""), ("001", "mean of labels", ""),
        )
    ]  # fmt: skip
    published[2] = paper(model="Other paper", dataset="001", label="mean of labels", n=12)
    board = small_leaderboard(published=tuple(published))
    places = [(one.published.model, one.published.label, one.model) for one in board.published]
    overall = "mean of labels"
    assert places == [
        *(("Paper", overall, model) for model in "ABC"),
        *(("Other paper", overall, model) for model in "ABC"),
        *(("Paper", "tumour", model) for model in "ABC"),
    ]
    assert {one.published.dataset for one in board.published} == {"Dataset001_One"}
    assert {one.published.metric for one in board.published} == {"dice"}


def test_of_a_metric_where_less_is_better_the_lower_mean_claims():
    frame = frame_of({DATASET: {"mine": [0.1, 0.2, 0.4]}}).assign(metric="volume_difference")
    settings = small_settings(metrics=("volume_difference",), published=(paper(mean=0.5, n=3),))
    (comparison,) = build_leaderboard(frame, settings).published
    assert comparison.better == "mine"


def test_where_n_differs_nothing_is_claimed():
    board = board_beside(paper(n=24))
    (comparison,) = board.published
    assert comparison.claims is None
    assert comparison.difference == pytest.approx((MINE - OTHERS).mean())
    (texts,) = published_table(board, "dice").texts
    dash = "\N{EN DASH}"
    assert texts[-4:] == [dash] * 4
    record = leaderboard_record(board)["published"][0]
    assert record["false_claim_probability_at_correlation"] is None


def test_every_output_tells_it(tmp_path):
    board = board_beside(paper())
    (comparison,) = board.published
    write_leaderboard(board, tmp_path)
    for ending in ("md", "tex", "html"):
        text = (tmp_path / f"leaderboard.{ending}").read_text(encoding="utf-8")
        assert "false claim, r = 0.8" in text
        assert "Paper" in text
    console = Console(width=200, file=io.StringIO())
    print_leaderboard(board, console)
    assert "Beside published results" in console.file.getvalue()
    written = json.loads((tmp_path / "leaderboard.json").read_text())
    (record,) = written["published"]
    assert (record["model"], record["beside"], record["better"]) == ("Paper", "mine", "mine")
    assert (record["dataset"], record["label"]) == DATASET
    assert record["needed_correlation"] == comparison.claims.needed_correlation
    probabilities = record["false_claim_probability_at_correlation"]
    assert probabilities == dict(
        zip(("0", "0.8", "0.95"), comparison.claims.by_correlation, strict=True)
    )
    assert "published" not in written["settings"]
    text = " ".join(methods_paragraphs(board))
    assert "Of Paper only published means" in text
    assert f"[{len(references(board))}]" in text
    assert "2505.04720" in references(board)[-1]


def test_without_published_results_nothing_is_said():
    board = small_leaderboard()
    assert board.published == ()
    assert "published" not in leaderboard_record(board)
    assert "published" not in leaderboard_record(board)["settings"]
    assert not any("2505.04720" in reference for reference in references(board))


@pytest.mark.parametrize(
    ("published", "message"),
    [
        ([paper(dataset="2")], "no data sets 2 are compared here; give one of: Dataset001_One"),
        ([paper(label="liver")], "no label liver; give one of: x"),
        ([paper(metric="iou")], "iou is not compared here; add it to --metrics"),
        ([paper(), paper(label="x")], "dice is given twice"),
        ([paper(model="mine")], "a model of the leaderboard already has this name"),
        ([paper(mean=72.0)], "divide percentages by 100"),
        ([paper(sd=3.4)], "divide percentages by 100"),
    ],
)
def test_what_cannot_stand_beside_a_row_is_refused(published, message):
    with pytest.raises(CommandError, match=message):
        board_beside(*published)


def test_groups_are_refused():
    groups = {f"One_{number:03}": f"p{number // 2}" for number in range(25)}
    with pytest.raises(CommandError, match="over cases, but here the cases are grouped"):
        board_beside(paper(), groups=groups)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "paper.csv"
    path.write_text(
        "model, dataset, label, mean, sd, n, page\nPaper, 4, , .89, .03, 260, 7\n"
        "Other, Hippocampus, Anterior, 0.9, 0.04, 260, 7\n"
    )
    assert read_published(path) == (
        PublishedMean("Paper", "4", 0.89, 0.03, 260),
        PublishedMean("Other", "Hippocampus", 0.9, 0.04, 260, "Anterior"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,dataset,mean,n\nPaper,4,.89,260\n", "no column sd"),
        ("model,dataset,mean,sd,n\n", "no rows below its heading"),
        ("model,dataset,mean,sd,n\nPaper,4,.89,,260\n", "row 2 has no sd"),
        ("model,dataset,mean,sd,n\nPaper,4,.89\n", "row 2 has no sd and no n"),
        ("model,dataset,mean,sd,n\nPaper,4,.89,high,260\n", "sd is high; it must be a number"),
        ("model,dataset,mean,sd,n\nPaper,4,nan,.1,260\n", "mean is nan; it must be a number"),
        ("model,dataset,mean,sd,n\nPaper,4,.89,-.1,260\n", "sd is -.1; it must be 0 or more"),
        ("model,dataset,mean,sd,n\nPaper,4,.89,.1,2.5\n", "n is 2.5; it must be a number of cases"),
        ("model,dataset,mean,sd,n,metric\nPaper,4,.89,.1,2,DSC\n", "no metric DSC; known are"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused(text, message, tmp_path):
    path = tmp_path / "paper.csv"
    path.write_text(text)
    with pytest.raises(CommandError, match=message):
        read_published(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CommandError, match=r"--published .*: there is no such file"):
        read_published(tmp_path / "paper.csv")


def test_numbers_that_round_to_an_end_are_written_so_that_they_say_no_more():
    minus = "\N{MINUS SIGN}"
    alike = paper(mean=MINE.mean() + 1e-6, sd=MINE.std(ddof=1))
    (texts,) = published_table(board_beside(alike), "dice").texts
    assert texts[7] == "0.0000"
    assert texts[-1] == ">0.99"
    (texts,) = published_table(board_beside(paper(mean=0.75)), "dice").texts
    assert texts[7].startswith(f"{minus}0.0")
    (texts,) = published_table(board_beside(paper(mean=0.1)), "dice").texts
    assert texts[-1] == "any"


def test_published_names_are_shown_as_they_are(browser, tmp_path):
    board = board_beside(paper(model=TRICKY))
    write_leaderboard(board, tmp_path)
    page = browser.open(tmp_path / "leaderboard.html")
    assert page.locator("#published tbody td").nth(2).text_content() == TRICKY
    (record,) = json.loads((tmp_path / "leaderboard.json").read_text())["published"]
    assert record["model"] == TRICKY
