import base64
from dataclasses import replace

import numpy as np
import pytest
from browser import PHONE
from case_views import SHAPE, anisotropic_case, flat_case
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from nnunet_attention.drawing import LABEL_COLOURS
from nnunet_attention.errors import CommandError
from nnunet_attention.maps import page as module
from nnunet_attention.maps.page import write_case_page


class CasePage:
    """A page in the browser, as a person uses it."""

    def __init__(self, page):
        self.page = page
        page.wait_for_selector("body[data-state=ready]")

    def settle(self):
        # What a control changes is drawn in the next frame.
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def check(self, selector, checked=True):
        self.page.locator(selector).set_checked(checked)
        self.settle()

    def slide(self, name, value):
        self.page.locator(f"#{name}").fill(str(value))
        self.settle()

    def point(self, row, column, rows, columns):
        """Moves the mouse to the middle of a voxel of the slice."""
        box = self.page.locator("#slice").bounding_box()
        x = box["x"] + (column + 0.5) / columns * box["width"]
        y = box["y"] + (row + 0.5) / rows * box["height"]
        self.page.mouse.move(x, y)
        self.settle()

    def pixels(self):
        """What the canvas shows, (height, width, 3)."""
        width, height, text = self.page.evaluate(
            """() => {
                const {width, height} = document.querySelector("#slice");
                // A copy: the browser warns of many readings of what it draws.
                const copy = new OffscreenCanvas(width, height).getContext("2d");
                copy.drawImage(document.querySelector("#slice"), 0, 0);
                const {data} = copy.getImageData(0, 0, width, height);
                const bytes = new Uint8Array(data.buffer);
                let text = "";
                for (let at = 0; at < bytes.length; at += 8192) {
                    text += String.fromCharCode(...bytes.subarray(at, at + 8192));
                }
                return [width, height, btoa(text)];
            }"""
        )
        pixels = np.frombuffer(base64.b64decode(text), dtype=np.uint8).astype(int)
        return pixels.reshape(height, width, 4)[..., :3]

    def colours(self, rows, columns):
        """Colours in the middles of the voxels of the slice, (rows, columns, 3)."""
        pixels = self.pixels()
        height, width, _ = pixels.shape
        down = ((np.arange(rows) + 0.5) / rows * height).astype(int)
        across = ((np.arange(columns) + 0.5) / columns * width).astype(int)
        return pixels[np.ix_(down, across)]

    def pixel(self, row, column, rows, columns):
        return self.colours(rows, columns)[row, column]

    def slice(self, rows, columns):
        """Red of every voxel of the slice."""
        return self.colours(rows, columns)[..., 0]

    def text(self, selector):
        return self.page.locator(selector).inner_text()

    def fact(self, name):
        """One of the values under the cursor."""
        return self.text(f'#readout span[data-name="{name}"]').removeprefix(name).strip()


@pytest.fixture
def opened(browser, tmp_path):
    def opened(view, **options):
        write_case_page(view, tmp_path / "case.html")
        assert [path.name for path in tmp_path.iterdir()] == ["case.html"]
        return CasePage(browser.open(tmp_path / "case.html", **options))

    return opened


@pytest.fixture
def bare(opened):
    """The anisotropic case without map and outlines: the image alone."""
    page = opened(anisotropic_case())
    page.press("0", "p")
    return page


def greys(values):
    # Percentiles 0.5 and 99.5 of 0 to 59.
    low, high = 0.295, 58.705
    return np.clip((np.asarray(values) - low) / (high - low), 0, 1) * 255


def test_the_page_opens_at_the_foreground_with_the_first_map(opened):
    page = opened(anisotropic_case())
    assert page.text("h1") == "case_001"
    assert page.text("#what") == "3 x 4 x 5 voxels of 3 x 2 x 1 mm (z, y, x)"
    assert page.text("#slice-name") == "axial, slice 2 of 3"
    assert page.text("#scale-name") == "mean, coefficient"
    assert page.page.title() == "case_001: attention maps"


def test_every_plane_shows_its_slice_with_the_head_up(bare):
    image = anisotropic_case().image
    np.testing.assert_allclose(bare.slice(4, 5), greys(image[1]), atol=2)
    bare.press("s")
    np.testing.assert_allclose(bare.slice(3, 4), greys(image[::-1, :, 3]), atol=2)
    bare.check("input[name=plane][value='2']")
    np.testing.assert_allclose(bare.slice(3, 5), greys(image[::-1, 2, :]), atol=2)
    assert bare.text("#slice-name") == "coronal, slice 3 of 4"


def test_every_plane_has_the_shape_of_the_body(bare):
    # Widths over heights in mm: 5 over 8, 8 over 9, 5 over 9.
    for key, ratio in (("a", 5 / 8), ("s", 8 / 9), ("c", 5 / 9)):
        bare.press(key)
        box = bare.page.locator("#slice").bounding_box()
        assert box["width"] / box["height"] == pytest.approx(ratio, rel=0.01)


def test_wheel_keys_and_slider_scroll_the_slices(bare):
    image = anisotropic_case().image
    bare.point(0, 0, 4, 5)
    bare.page.mouse.wheel(0, 120)
    bare.page.wait_for_function("document.querySelector('#index').value === '2'")
    np.testing.assert_allclose(bare.slice(4, 5), greys(image[2]), atol=2)
    bare.press("ArrowDown", "ArrowLeft")
    np.testing.assert_allclose(bare.slice(4, 5), greys(image[0]), atol=2)
    # There are no slices beyond.
    bare.press("ArrowDown")
    assert bare.text("#slice-name") == "axial, slice 1 of 3"
    bare.slide("index", 1)
    np.testing.assert_allclose(bare.slice(4, 5), greys(image[1]), atol=2)
    bare.press("End")
    assert bare.text("#slice-name") == "axial, slice 3 of 3"


def test_maps_switch_and_mix_with_the_image_by_their_opacity(opened):
    view = anisotropic_case()
    page = opened(view)
    page.press("p")
    for key, name in (("1", "mean"), ("2", "gate 1")):
        page.press(key)
        coefficients = view.maps[name].astype(float)
        low, high = np.percentile(coefficients, (1, 99))
        share = np.clip((coefficients[1, 3, 0] - low) / (high - low), 0, 1)
        colour = np.array(colormaps["inferno"](share)[:3]) * 255
        grey = greys(view.image[1, 3, 0])
        for percent in (100, 25):
            page.slide("opacity", percent)
            mixed = grey + (colour - grey) * percent / 100
            np.testing.assert_allclose(page.pixel(3, 0, 4, 5), mixed, atol=4)
    page.check("input[name=map][value='-1']")
    np.testing.assert_allclose(page.pixel(3, 0, 4, 5), grey, atol=2)


def test_colours_can_begin_at_0_and_end_at_1(opened):
    page = opened(anisotropic_case())
    assert [page.text(f"#{end}") for end in ("low", "middle", "high")] == ["0.00", "0.25", "0.49"]
    page.check("#full-range")
    assert [page.text(f"#{end}") for end in ("low", "middle", "high")] == ["0.00", "0.50", "1.00"]


def test_values_under_the_cursor_are_those_of_the_arrays(opened):
    generator = np.random.default_rng(0)
    shape = (6, 7, 8)
    image = generator.normal(0, 100, shape).astype(np.float32)
    maps = {name: generator.random(shape).astype(np.float16) for name in ("mean", "gate 1")}
    prediction = generator.integers(0, 3, shape)
    reference = generator.integers(0, 3, shape)
    changes = {"image": image, "maps": maps, "prediction": prediction, "reference": reference}
    page = opened(anisotropic_case(**changes))
    names = ("none", "organ", "lesion")
    for key, rows, columns, voxel in (
        ("a", 7, 8, lambda row, column, index: (index, row, column)),
        ("s", 6, 7, lambda row, column, index: (5 - row, column, index)),
        ("c", 6, 8, lambda row, column, index: (5 - row, index, column)),
    ):
        page.press(key, "Home", "ArrowUp", "ArrowUp")
        for row, column in ((0, 0), (5, 2), (1, 6)):
            page.point(row, column, rows, columns)
            z, y, x = voxel(row, column, 2)
            assert page.fact("voxel") == f"z {z} y {y} x {x}"
            assert page.fact("prediction") == names[prediction[z, y, x]]
            assert page.fact("reference") == names[reference[z, y, x]]
            intensity = float(page.fact("intensity"))
            assert abs(intensity - image[z, y, x]) < np.ptp(image) / 255
            assert abs(float(page.fact("coefficient")) - maps["mean"][z, y, x]) < 1 / 255
            beside = page.page.locator("#maps output").all_inner_texts()
            assert abs(float(beside[1]) - maps["gate 1"][z, y, x]) < 1 / 255


def test_the_point_moves_by_keys(bare):
    bare.press("Shift+ArrowUp", "Shift+ArrowLeft")
    # From the middle, y 2 and x 2.
    assert bare.fact("voxel") == "z 1 y 1 x 1"
    bare.press("s", "Shift+ArrowUp")
    # A row towards the head in the slice through the foreground.
    assert bare.fact("voxel") == "z 2 y 1 x 3"


def test_outlines_appear_and_disappear(opened):
    prediction = np.zeros((1, 20, 30), dtype=np.uint8)
    prediction[0, 5:15, 5:25] = 1
    reference = np.zeros((1, 20, 30), dtype=np.uint8)
    reference[0, 2:18, 2:28] = 2
    dark = np.zeros(prediction.shape)
    changes = {"image": dark, "prediction": prediction, "reference": reference, "maps": {}}
    page = opened(flat_case(spacing_mm=(1.0, 1.0, 1.0), **changes))

    def drawn(colour):
        """How many pixels have a colour, and the rows and columns of voxels between them."""
        pixels = page.pixels()
        near = np.abs(pixels - np.array(to_rgb(colour)) * 255).max(axis=-1) < 20
        ends = [np.flatnonzero(near.any(axis=axis))[[0, -1]] for axis in (1, 0) if near.any()]
        return near.sum(), [end / pixels.shape[0] * 20 for end in ends]

    sky_blue, orange = LABEL_COLOURS[:2]
    solid, (rows, columns) = drawn(sky_blue)
    np.testing.assert_allclose([*rows, *columns], [5, 15, 5, 25], atol=0.1)
    dashed, (rows, columns) = drawn(orange)
    np.testing.assert_allclose([*rows, *columns], [2, 18, 2, 28], atol=0.3)
    # Circumferences of 60 and 84; the dashes cover 7 parts of 12.
    assert dashed / solid == pytest.approx(84 / 60 * 7 / 12, rel=0.1)
    page.check("#reference", False)
    assert drawn(orange)[0] == 0
    page.check("input[name=label][value=organ]", False)
    assert drawn(sky_blue)[0] == 0
    page.check("input[name=label][value=organ]")
    assert drawn(sky_blue)[0] == solid
    page.press("p", "r")
    assert drawn(sky_blue)[0] == 0
    assert drawn(orange)[0] == dashed


def test_level_and_width_change_the_image(bare):
    bare.slide("width", 20)
    bare.slide("level", 30)
    np.testing.assert_allclose(bare.slice(4, 5)[1:3, 2], [7 / 20 * 255, 12 / 20 * 255], atol=3)
    assert bare.page.locator("#window").input_value() == "-1"
    bare.page.locator("#window").select_option("all values")
    bare.settle()
    np.testing.assert_allclose(bare.pixel(0, 0, 4, 5)[0], 20 / 59 * 255, atol=2)


def test_dragging_changes_the_window_and_a_double_click_resets_it(bare):
    bare.point(2, 1, 4, 5)
    bare.page.mouse.down()
    bare.point(2, 3, 4, 5)
    bare.page.mouse.up()
    assert float(bare.page.locator("#width").input_value()) == pytest.approx(59, abs=0.1)
    bare.page.locator("#slice").dblclick()
    bare.settle()
    assert float(bare.page.locator("#width").input_value()) == pytest.approx(58.41, abs=0.06)


def test_ct_has_its_usual_windows(opened):
    page = opened(anisotropic_case(image=anisotropic_case().image * 40 - 1000))
    options = page.page.locator("#window option").all_inner_texts()
    assert options == ["soft tissue", "lung", "bone", "brain", "all values", "set by hand"]
    page.page.locator("#window").select_option("bone")
    page.settle()
    assert float(page.page.locator("#level").input_value()) == pytest.approx(400, abs=2)


def test_two_dimensions_have_one_plane_and_no_slices(opened):
    page = opened(flat_case())
    assert not page.page.locator("#plane-box").is_visible()
    assert not page.page.locator("#index").is_visible()
    assert page.text("#what") == "4 x 5 pixels"
    page.point(3, 1, 4, 5)
    assert page.fact("voxel") == "y 3 x 1"
    assert float(page.fact("intensity")) == 36


def test_colour_images_keep_their_colours(opened):
    image = np.arange(60, dtype=np.float32).reshape(1, 4, 5, 3) * 4
    page = opened(flat_case(image=image))
    page.press("0", "p")
    np.testing.assert_allclose(page.pixel(2, 3, 4, 5), image[0, 2, 3], atol=2)
    page.point(2, 3, 4, 5)
    assert page.fact("intensity") == "156 160 164"
    page.page.locator("#window").select_option("bright")
    page.settle()
    # The brightest is 59 * 4.
    np.testing.assert_allclose(page.pixel(2, 3, 4, 5), image[0, 2, 3] * 255 / 236, atol=2)


def test_without_reference_foreground_and_maps_the_page_still_works(opened):
    page = opened(anisotropic_case(prediction=np.zeros(SHAPE, dtype=np.uint8), maps={}))
    assert page.text("#slice-name") == "axial, slice 2 of 3"
    assert not page.page.locator("#reference").is_visible()
    assert not page.page.locator("#map-box").is_visible()
    page.point(0, 0, 4, 5)
    assert page.fact("prediction") == "none"


def test_a_constant_map_has_a_scale(opened):
    page = opened(anisotropic_case(maps={"gate 1": np.full(SHAPE, 0.5)}))
    assert page.text("#low") == "0.4995"
    assert page.text("#high") == "0.5005"
    page.point(0, 0, 4, 5)
    assert page.fact("coefficient") == "0.500"


def test_regions_are_named_together(opened):
    page = opened(anisotropic_case(labels={"background": 0, "whole": [1, 2], "core": [1]}))
    page.point(2, 3, 4, 5)
    assert page.fact("prediction") == "whole, core"


def test_names_are_shown_and_never_executed(opened):
    name = "</script><img src=x onerror=alert(1)>&amp;$data"
    view = anisotropic_case(name=name, labels={"background": 0, name: 1})
    page = opened(replace(view, maps={name: view.maps["mean"]}))
    assert page.text("h1") == name
    assert name in page.page.locator("#labels").inner_text()
    assert name in page.page.locator("#maps").inner_text()
    assert page.page.locator("img").count() == 0


def test_all_verdicts_of_the_maps_are_listed(opened):
    verdicts = {"gate 1": ("gate 1 <is> idle.", "for organ"), "gate 2": ("other",)}
    page = opened(anisotropic_case(verdicts=verdicts))
    assert page.text("#verdicts").split("\n") == ["gate 1 <is> idle.", "for organ"]


def test_the_page_says_how_to_read_a_coefficient(opened):
    page = opened(anisotropic_case(reading="0.5 passes <b>half</b>."))
    assert page.text("#reading") == "0.5 passes <b>half</b>."
    without_maps = opened(anisotropic_case(reading="0.5 passes half.", maps={}))
    assert without_maps.text("#reading") == ""


def test_large_volumes_are_embedded_coarser_and_the_page_says_so(opened, monkeypatch):
    monkeypatch.setattr(module, "MOST_VOXELS", 6)
    monkeypatch.setattr(module, "MOST_MAP_VOXELS", 3)
    view = anisotropic_case()
    page = opened(view)
    assert page.page.evaluate("view.image.data.length") <= 6
    assert page.page.evaluate("view.maps[0].data.length") <= 3
    factors = page.page.evaluate("view.image.factors")
    map_factors = page.page.evaluate("view.maps[0].factors")
    assert " x ".join(map(str, factors)) in page.text("#note")
    assert " x ".join(map(str, map_factors)) in page.text("#note")
    assert page.text("#what").endswith("shown coarser")

    def mean(volume, voxel, sizes):
        starts = [index // size * size for index, size in zip(voxel, sizes, strict=True)]
        return volume[tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))].mean()

    page.point(3, 4, 4, 5)
    assert float(page.fact("intensity")) == pytest.approx(
        mean(view.image, (1, 3, 4), factors), abs=0.51
    )
    coefficient = mean(view.maps["mean"].astype(float), (1, 3, 4), map_factors)
    assert float(page.fact("coefficient")) == pytest.approx(coefficient, abs=1 / 255)


def test_a_page_with_too_many_labels_is_not_written(tmp_path):
    labels = np.arange(260).reshape(1, 13, 20)
    view = flat_case(image=labels.astype(float), prediction=labels, maps={})
    with pytest.raises(CommandError, match="260 different labels"):
        write_case_page(view, tmp_path / "case.html")
    assert not list(tmp_path.iterdir())


def test_a_phone_shows_image_slices_and_values_without_scrolling(opened):
    page = opened(anisotropic_case(), size=PHONE, touch=True)
    assert page.page.evaluate("document.documentElement.scrollWidth") == 390
    for selector in ("#slice", "#index", "#bar", "#readout"):
        box = page.page.locator(selector).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
    box = page.page.locator("#slice").bounding_box()
    page.page.touchscreen.tap(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.9)
    page.settle()
    assert page.fact("voxel") == "z 1 y 3 x 2"


def test_every_control_has_a_name_for_screen_readers(opened):
    page = opened(anisotropic_case(reference=anisotropic_case().prediction))
    nameless = page.page.evaluate(
        """() => [...document.querySelectorAll("input, select, canvas")].filter((one) =>
            !one.ariaLabel && ![...(one.labels ?? [])].some((label) => label.textContent.trim())
        ).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    assert page.page.locator("#slice").get_attribute("aria-label") == (
        "axial slice 2 of 3, attention map mean"
    )
