"""The page: complete, self-contained, and alive in a browser."""

import json
import re

import numpy as np
import pytest
from browser import DESKTOP, PHONE
from leaderboards import TRICKY, frame_of, small_leaderboard, small_settings

from nnunet_attention.evaluation.leaderboard.building import build_leaderboard
from nnunet_attention.evaluation.leaderboard.published import PublishedMean
from nnunet_attention.evaluation.leaderboard.report import report_page
from nnunet_attention.evaluation.leaderboard.report.data import page_data

SVGS = {
    "stability": "circle",
    "critical-all": "path",
    "critical-one": "path",
    "forest": "path",
    "violins": "polygon",
    "scatter": "path.case",
}


@pytest.fixture(scope="module")
def board():
    return small_leaderboard()


@pytest.fixture
def opened(board, browser, tmp_path):
    """The page on a desktop."""
    path = tmp_path / "leaderboard.html"
    path.write_text(report_page(board), encoding="utf-8")
    return browser.open(path, DESKTOP)


def shown_rows(page) -> list[list[str]]:
    return page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')].filter(row => !row.hidden)"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )


def test_the_page_asks_for_nothing_else(board):
    text = report_page(board)
    assert not re.search(r"""(src|href)=["'](?!data:|https://(doi|www\.jstor|jmlr)\.org)""", text)
    assert not re.search(r"@import|url\((?!data:)", text)


def test_the_data_hold_each_case_once_and_undefined_as_null():
    nan = float("nan")
    frame = frame_of({("Dataset001_One", "x"): {"A": [0.5, nan, 0.71239], "B": [0.4, 0.6, 0.8]}})
    data = page_data(build_leaderboard(frame, small_settings()))
    assert data["datasets"] == [{"name": "One", "cases": ["One_000", "One_002"]}]
    assert data["rows"][0]["values"] == [[0.5, 0.7124], [0.4, 0.8]]
    json.dumps(data, allow_nan=False)


def test_all_figures_are_drawn(opened):
    for figure, part in SVGS.items():
        assert opened.locator(f"#{figure} svg {part}").count() > 1, figure


def test_a_click_on_a_heading_sorts_and_another_turns(opened):
    opened.locator("#table th.mean button").click()
    means = [float(row[4].split()[0]) for row in shown_rows(opened)]
    assert means == sorted(means)
    opened.locator("#table th.mean button").click()
    means = [float(row[4].split()[0]) for row in shown_rows(opened)]
    assert means == sorted(means, reverse=True)
    assert opened.locator("#table th.mean").get_attribute("aria-sort") == "descending"


def test_filters_leave_the_rows_that_fit(opened):
    # Three models on: mean, liver, tumour; spleen.
    assert len(shown_rows(opened)) == 12
    opened.locator("#search").fill("tumour C")
    assert [row[:3] for row in shown_rows(opened)] == [["One", "tumour", "C"]]
    opened.locator("#search").fill("")
    opened.locator("#labels").uncheck()
    assert {row[1] for row in shown_rows(opened)} == {"mean of labels", "spleen"}
    assert opened.locator("#shown").text_content() == "6 rows"


def test_hovering_a_case_names_it(opened):
    opened.locator("#scatter").scroll_into_view_if_needed()
    point = opened.locator("#scatter .case").nth(3)
    name = point.get_attribute("data-case")
    box = point.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tip = opened.locator("#tip")
    assert tip.is_visible()
    assert tip.text_content().splitlines()[0] == name
    opened.mouse.move(2, 2)
    assert not tip.is_visible()


def test_hovering_a_difference_tells_its_numbers(opened, board):
    opened.locator("#forest").scroll_into_view_if_needed()
    opened.locator("#forest rect.row").first.hover()
    told = opened.locator("#tip").text_content()
    assert "One, mean of labels (n = 12)" in told
    difference = board.rows[0].pairs[0].comparison.mean_difference
    assert f"+{difference:.3f}" in told


def test_another_data_set_and_model_change_the_figures(opened):
    opened.locator("#dataset").select_option(label="Two")
    opened.locator("#second").select_option(label="C")
    caption = opened.locator("#scatter-text").text_content()
    assert "Two, spleen, 9 cases. A better in 9" in caption
    assert "Cases of Two" in opened.locator("#critical-one-text").text_content()
    assert opened.locator("#worst-head th").all_text_contents() == [
        "Case",
        "A",
        "C",
        "difference",
    ]


def test_the_worst_cases_come_worst_first(opened, board):
    opened.locator("#dataset").select_option(label="Two")
    (row,) = (row for row in board.rows if row.dataset == "Dataset002_Two")
    worst = row.cases[int(np.argmin(row.values[0]))]
    first = opened.locator("#worst-body tr").first
    assert first.locator("td").first.text_content() == f"{worst}spleen"


def test_the_same_model_twice_is_said_and_harmless(opened):
    opened.locator("#second").select_option(label="A")
    assert "two different models" in opened.locator("#forest-text").text_content()


@pytest.mark.parametrize("models", [("A",), ("A", "B"), tuple(f"Model{n}" for n in range(9))])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_any_number_of_models_fits_the_screen(models, size, browser, tmp_path):
    path = tmp_path / "leaderboard.html"
    path.write_text(report_page(small_leaderboard(models)), encoding="utf-8")
    page = browser.open(path, size, touch=size == PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert page.locator("#violins polygon").count() == 3 * len(models)


LONG_NAMES = (
    "nnUNetTrainer",
    "AttentionUNetTrainer_250epochs",
    "AttentionUNetTrainerFullResolution nnUNetResEncUNetLPlans",
    "WideUNetTrainer_250epochs nnUNetResEncUNetLPlans",
    "a" * 60,
)


@pytest.fixture(scope="module")
def long_names_page(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "leaderboard.html"
    path.write_text(report_page(small_leaderboard(LONG_NAMES)), encoding="utf-8")
    return path


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_long_names_fit_the_screen(size, long_names_page, browser):
    page = browser.open(long_names_page, size, touch=size == PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]


def test_long_names_leave_no_table_to_be_scrolled_sideways(long_names_page, browser):
    page = browser.open(long_names_page, DESKTOP)
    page.locator("#differences summary").click()
    wide = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth)"
        ".map(one => one.textContent.trim().slice(0, 60))"
    )
    assert page.locator(".scroll").count() > 4
    assert wide == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_critical_differences_show_names_whole_and_nothing_lies_on_them(
    size, long_names_page, browser
):
    page = browser.open(long_names_page, size, touch=size == PHONE)
    drawn = page.evaluate(
        """() => {
          const svg = document.querySelector('#critical-one svg');
          const box = (node) => {
            const { x, y, width, height } = node.getBBox();
            return [x, y, x + width, y + height];
          };
          return {
            size: [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height],
            names: [...svg.querySelectorAll('.name')].map((one) => one.textContent),
            texts: [...svg.querySelectorAll('text')].map(box),
            lines: [...svg.querySelectorAll('path[fill=none]')].map((one) =>
              one.getAttribute('d').match(/[-\\d.]+/g).map(Number)),
          };
        }"""
    )
    shown = {re.sub(r"[\d.]+$", "", name.replace(" ", "")) for name in drawn["names"]}
    assert shown == {name.replace(" ", "") for name in LONG_NAMES}
    assert sorted(float(name[-4:]) for name in drawn["names"]) == [1, 2, 3, 4, 5]
    # Each goes down from the axis, and then to its name.
    strokes = [
        stroke
        for x, top, bottom, end in drawn["lines"]
        for stroke in ((x, top, x, bottom), (min(x, end), bottom, max(x, end), bottom))
    ]
    assert len(strokes) == 2 * len(LONG_NAMES)
    texts = drawn["texts"]
    width, height = drawn["size"]
    for number, text in enumerate(texts):
        assert text[0] >= 0
        assert text[2] <= width
        assert text[3] <= height
        others = [*texts[:number], *texts[number + 1 :], *strokes]
        assert not [one for one in others if overlap(text, one)], text


def overlap(one, other) -> bool:
    """Of boxes from left and top to right and bottom."""
    return (
        max(one[0], other[0]) < min(one[2], other[2]) + 1e-6
        and max(one[1], other[1]) < min(one[3], other[3]) + 1e-6
    )


def axis_of(page, figure: str) -> list[float]:
    """The numbers beside a figure, from below."""
    texts = page.locator(f"#{figure} svg text.faint").all_text_contents()
    return sorted(float(text) for text in texts if re.fullmatch(r"[\d.]+", text))


@pytest.mark.parametrize("figure", ["violins", "scatter"])
@pytest.mark.parametrize(
    ("low", "high", "lowest", "highest"),
    [(0.8, 0.9, (0.78, 0.82), (0.88, 0.92)), (0.1, 0.9, (0, 0), (1, 1))],
)
def test_axes_begin_and_end_near_the_values(figure, low, high, lowest, highest, browser, tmp_path):
    values = np.linspace(low, high, 12).tolist()
    dice = {("Dataset001_One", "x"): {"A": values, "B": values[::-1]}}
    path = tmp_path / "leaderboard.html"
    board = build_leaderboard(frame_of(dice), small_settings())
    path.write_text(report_page(board), encoding="utf-8")
    numbers = axis_of(browser.open(path, DESKTOP), figure)
    assert lowest[0] <= numbers[0] <= lowest[1]
    assert highest[0] <= numbers[-1] <= highest[1]


def test_a_phone_shows_a_row_whole(board, browser, tmp_path):
    path = tmp_path / "leaderboard.html"
    path.write_text(report_page(board), encoding="utf-8")
    page = browser.open(path, PHONE, touch=True)
    mean = page.locator("#table tbody td.mean").first.bounding_box()
    assert mean["x"] >= 0
    assert mean["x"] + mean["width"] <= PHONE[0]
    page.locator("#table th.mean button").tap()
    means = [float(row[4].split()[0]) for row in shown_rows(page)]
    assert means == sorted(means)


def test_names_are_text_and_never_markup(browser, tmp_path):
    evil = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>$title"
    frame = frame_of(
        {
            (f"Dataset001_{TRICKY}", evil): {evil: [0.5, 0.6, 0.7], TRICKY: [0.4, 0.6, 0.9]},
            (f"Dataset001_{TRICKY}", "x"): {evil: [0.5, 0.6, 0.7], TRICKY: [0.4, 0.6, 0.9]},
        }
    )
    path = tmp_path / "leaderboard.html"
    path.write_text(
        report_page(build_leaderboard(frame, small_settings(), missing=(evil,))), encoding="utf-8"
    )
    page = browser.open(path)
    assert page.title() == f"Leaderboard: {evil}, {TRICKY}"
    assert page.locator("img").count() == 0
    assert page.locator("#models").text_content() == f"{evil} against {TRICKY}"
    assert evil in [row[1] for row in shown_rows(page)]
    assert page.locator(".warning li").text_content() == evil


def test_distances_have_axes_that_fit_them(browser, tmp_path):
    frame = frame_of({("Dataset001_One", "x"): {"A": [1.5, 60.0, 7.25], "B": [2.5, 30.0, 8.0]}})
    frame["metric"] = "hd95_mm"
    path = tmp_path / "leaderboard.html"
    board = build_leaderboard(frame, small_settings(metrics=("hd95_mm",)))
    path.write_text(report_page(board), encoding="utf-8")
    page = browser.open(path)
    assert "60" in page.locator("#violins text").all_text_contents()
    assert "A better in 2" in page.locator("#scatter-text").text_content()


# A4 between margins of 14 mm, in CSS pixels.
PAPER = (688, 1017)


def test_on_paper_no_table_is_cut_off_and_letters_keep_their_size(browser, tmp_path):
    path = tmp_path / "leaderboard.html"
    names = (*LONG_NAMES[:2], "C")
    published = tuple(
        PublishedMean("A paper's model", dataset, 0.6, 0.1, n)
        for dataset, n in (("One", 12), ("Two", 9))
    )
    settings = {"margin": 0.01, "published": published}
    path.write_text(report_page(small_leaderboard(names, **settings)), encoding="utf-8")
    page = browser.open(path, PAPER)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.scrollWidth") == PAPER[0]
    cut_off = page.evaluate(
        "[...document.querySelectorAll('table')].filter(table =>"
        " table.getBoundingClientRect().right > innerWidth + 1)"
        ".map(table => table.textContent.trim().slice(0, 60))"
    )
    assert cut_off == []
    scales = page.evaluate(
        "[...document.querySelectorAll('.plot svg')].filter(svg => svg.clientWidth)"
        ".map(svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
    )
    assert len(scales) == 6
    assert all(0.8 < scale < 1.25 for scale in scales), scales


def test_significance_is_seen_without_colours(browser, tmp_path):
    dice = {
        ("Dataset001_One", "x"): {"A": np.linspace(0.6, 0.8, 12), "B": np.linspace(0.5, 0.7, 12)},
        ("Dataset002_Two", "x"): {"A": [0.5, 0.6, 0.7], "B": [0.6, 0.5, 0.75]},
    }
    board = build_leaderboard(frame_of(dice), small_settings(marks=True, margin=0.01))
    path = tmp_path / "leaderboard.html"
    path.write_text(report_page(board), encoding="utf-8")
    page = browser.open(path)
    fills = page.evaluate(
        "[...document.querySelectorAll('#forest path')].map(mark => mark.getAttribute('fill'))"
    )
    assert [fill == "#fff" for fill in fills] == [False, True]
    assert page.locator("#forest line.margin-end").count() == 2
    page.locator("#forest rect.row").last.hover()
    pair = board.rows[1].pairs[0]
    told = page.locator("#tip").text_content()
    assert f"false claim: {pair.assessment.false_claim_probability:.3f}" in told


def test_without_a_comparison_over_data_sets_no_room_is_left_for_it(browser, tmp_path):
    path = tmp_path / "leaderboard.html"
    dice = {("Dataset001_One", "x"): {"A": [0.5, 0.6, 0.7], "B": [0.6, 0.5, 0.75]}}
    path.write_text(
        report_page(build_leaderboard(frame_of(dice), small_settings())), encoding="utf-8"
    )
    page = browser.open(path)
    assert page.locator("#critical-all").is_hidden()
    assert page.locator("#critical-one").bounding_box()["width"] > DESKTOP[0] / 2
