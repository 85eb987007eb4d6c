from dataclasses import replace

import numpy as np
import pytest
from case_views import SHAPE, anisotropic_case, flat_case
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnunet_attention.drawing import LABEL_COLOURS
from nnunet_attention.maps import figure as module
from nnunet_attention.maps.figure import write_case_figure


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Writes the picture of a case and returns matplotlib's figure."""
    figures = []

    def keep(figure, path, *options):
        figures.append(figure)
        save(figure, path, *options)

    save = module.save_png
    monkeypatch.setattr(module, "save_png", keep)

    def draw(view, **options):
        write_case_figure(view, tmp_path / "case.png", **options)
        assert [path.name for path in tmp_path.iterdir()] == ["case.png"]
        return figures.pop()

    return draw


def panels(figure):
    """Arrays that are shown in each panel, the overlay behind the image, row by row."""
    return [[shown.get_array() for shown in axes.images] for axes in figure.axes if axes.images]


def texts(figure):
    return {text.get_text() for text in figure.texts}


def tick_labels(figure):
    bars = [axes for axes in figure.axes if axes.get_xticklabels() and not axes.images]
    return [[label.get_text() for label in bar.get_xticklabels()] for bar in bars]


def test_rows_are_the_planes_through_the_foreground_with_the_head_up(draw):
    view = anisotropic_case()
    rows = panels(draw(view))
    # Columns: image, prediction, two maps.
    assert len(rows) == 3 * 4
    np.testing.assert_array_equal(rows[0][0], view.image[1])
    np.testing.assert_array_equal(rows[4][0], view.image[::-1, :, 3])
    np.testing.assert_array_equal(rows[8][0], view.image[::-1, 2, :])


def test_below_the_maps_stands_how_to_read_a_coefficient(draw):
    reading = "A coefficient of 0.5 passes half of the skip connection."
    figure = draw(anisotropic_case(reading=reading))
    assert reading in texts(figure)
    written = next(text for text in figure.texts if text.get_text() == reading)
    lowest_panel = min(axes.get_position().y0 for axes in figure.axes)
    box = written.get_window_extent().transformed(figure.transFigure.inverted())
    assert 0 <= box.x0 < box.x1 <= 1
    assert 0 <= box.y0 < box.y1 < lowest_panel
    assert reading not in texts(draw(anisotropic_case(reading=reading, maps={})))


def test_the_first_verdict_of_each_map_stands_below_the_reading(draw):
    verdicts = {"gate 1": ("gate 1 is idle.", "gate 1 is idle for organ."), "gate 2": ("other",)}
    figure = draw(anisotropic_case(reading="How to read.", verdicts=verdicts))
    heights = {text.get_text(): text.get_position()[1] for text in figure.texts}
    assert heights["gate 1 is idle."] < heights["How to read."]
    assert not {"other", "gate 1 is idle for organ."} & set(heights)


def test_each_map_lies_on_the_image_in_its_own_column(draw):
    view = anisotropic_case()
    rows = panels(draw(view))
    for column, one_map in ((2, view.maps["mean"]), (3, view.maps["gate 1"])):
        for row, cut in ((0, np.s_[1]), (4, np.s_[::-1, :, 3]), (8, np.s_[::-1, 2, :])):
            image, overlay = rows[row + column]
            np.testing.assert_array_equal(image, view.image[cut])
            np.testing.assert_array_equal(overlay, one_map[cut])


def test_the_panels_have_the_shape_of_the_body(draw):
    aspects = [axes.get_aspect() for axes in draw(anisotropic_case()).axes if axes.images]
    assert aspects[::4] == [2, 3 / 2, 3]


def test_a_reference_has_a_column_before_the_prediction(draw):
    view = anisotropic_case()
    reference = np.zeros(SHAPE, dtype=np.uint8)
    reference[0, 1, 4] = 2
    figure = draw(replace(view, reference=reference))
    assert texts(figure) >= {"image", "reference", "prediction", "mean", "gate 1", "case_001"}
    assert texts(figure) >= {"slice 1 of 3", "slice 5 of 5", "slice 2 of 4"}
    np.testing.assert_array_equal(panels(figure)[0][0], view.image[0])
    assert "reference" not in texts(draw(view))


def test_the_legend_names_the_labels_that_the_picture_shows(draw):
    (legend,) = draw(anisotropic_case()).legends
    assert [text.get_text() for text in legend.get_texts()] == ["organ"]


def test_colour_bars_have_the_numbers_of_their_own_map(draw):
    # Percentiles 1 and 99 of 0 to 59 are 0.59 and 58.41.
    ticks = tick_labels(draw(anisotropic_case()))
    assert ticks == [["0.00", "0.25", "0.49"], ["0.01", "0.50", "0.99"]]


def test_full_range_colours_every_map_from_0_to_1(draw):
    figure = draw(anisotropic_case(), full_range=True)
    assert tick_labels(figure) == [["0.00", "0.50", "1.00"]] * 2
    overlays = [axes.images[1] for axes in figure.axes if len(axes.images) > 1]
    assert {overlay.get_clim() for overlay in overlays} == {(0, 1)}


def test_a_constant_map_is_drawn_with_numbers_that_differ(draw):
    constant = np.full(SHAPE, 0.5, dtype=np.float16)
    ticks = tick_labels(draw(anisotropic_case(maps={"gate 1": constant})))
    assert ticks == [["0.4995", "0.5000", "0.5005"]]


def test_two_dimensions_give_one_row(draw):
    view = flat_case()
    figure = draw(view)
    assert len(panels(figure)) == 4
    np.testing.assert_array_equal(panels(figure)[0][0], view.image[0])
    assert "axial" not in texts(figure)


def test_colour_images_keep_their_colours(draw):
    colours = np.arange(60, dtype=np.float32).reshape(1, 4, 5, 3) * 5
    (image,) = panels(draw(flat_case(image=colours)))[0]
    # 59 * 5 is brighter than the brightest.
    np.testing.assert_array_equal(image, np.minimum(colours[0], 255))


def test_without_foreground_the_middle_is_shown(draw):
    view = anisotropic_case(prediction=np.zeros(SHAPE, dtype=np.uint8))
    figure = draw(view)
    np.testing.assert_array_equal(panels(figure)[0][0], view.image[1])
    np.testing.assert_array_equal(panels(figure)[4][0], view.image[::-1, :, 2])
    assert not figure.legends


def test_a_case_without_maps_is_drawn(draw):
    assert "attention coefficient" not in texts(draw(anisotropic_case(maps={})))


def test_many_labels_and_long_names_stay_inside_the_picture(draw):
    prediction = np.zeros(SHAPE, dtype=np.uint8)
    prediction[1] = np.arange(20).reshape(4, 5)
    labels = {f"a rather long name, number {number}": number for number in range(20)}
    figure = draw(anisotropic_case(name="case " * 20, prediction=prediction, labels=labels))
    width, height = figure.canvas.get_width_height()
    drawn = [*figure.texts, *figure.legends]
    boxes = [artist.get_window_extent(figure.canvas.get_renderer()) for artist in drawn]
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 for box in boxes)
    assert all(box.y1 <= height for box in boxes)


@pytest.mark.parametrize("slices", [2, 3, 8, 40])
@pytest.mark.parametrize("maps", [1, 6])
def test_the_names_of_rows_stay_apart_however_thin_the_volume_is(draw, slices, maps):
    shape = (slices, 160, 140)
    some = np.random.default_rng(0).random(shape, dtype=np.float32)
    view = anisotropic_case(
        image=some,
        spacing_mm=(3.0, 1.5, 1.5),
        prediction=np.zeros(shape, dtype=np.uint8),
        maps={f"gate {number}": some.astype(np.float16) for number in range(maps)},
    )
    figure = draw(view)
    renderer = figure.canvas.get_renderer()
    assert texts(figure) >= {"axial", "sagittal", "coronal", f"slice {slices // 2 + 1} of {slices}"}
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_window_extent(renderer) for axes in figure.axes if axes.images]
    for number, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:number] + boxes[number + 1 :])
        assert box.x0 >= 0


def test_the_outline_is_as_high_and_wide_as_the_organ(draw, tmp_path):
    prediction = np.zeros((1, 20, 30), dtype=np.uint8)
    prediction[0, 5:15, 5:25] = 1
    zeros = np.zeros(prediction.shape)
    view = flat_case(spacing_mm=(1.0, 3.0, 1.0), prediction=prediction, image=zeros, maps={})
    draw(view)
    pixels = imread(tmp_path / "case.png")[..., :3]
    outline = np.abs(pixels - to_rgb(LABEL_COLOURS[0])).max(axis=-1) < 0.02
    # Below the legend, which shows the colour too.
    outline[:200] = False
    rows, columns = np.nonzero(outline)
    # 10 rows of 3 mm over 20 columns of 1 mm.
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1.5, rel=0.05)
