"""Draws the picture of a case: image, labels, and each attention map as an overlay."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nnunet_attention.drawing import (
    COEFFICIENT_COLOURS,
    FAINT_TEXT,
    TEXT,
    LabelStyle,
    draw_labels,
    draw_legend,
    label_styles,
    new_figure,
    save_png,
)
from nnunet_attention.maps.case_view import CaseView
from nnunet_attention.maps.limits import grey_limits, map_limits
from nnunet_attention.maps.planes import Plane, planes_of, shown_foreground

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OVERLAY_OPACITY = 0.55
# Inches. The picture is about as large as a slide, unless its panels would then be too small.
_WIDTH, _HEIGHT = 15.0, 9.5
# The lowest panel is as high as the two lines of a row's name.
_NARROWEST_PANEL, _WIDEST_PANEL, _LOWEST_PANEL = 1.6, 4.0, 0.4
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.55, 0.2, 0.95, 0.5
_GAP, _COLOUR_BAR = 0.08, 0.1
_NAME_DEPTH, _LEGEND_ROW, _READING_ROW = 0.32, 0.27, 0.24
_NAME_POINTS, _LEGEND_POINTS = 15, 11
# Font sizes of a row's name and of its slice number.
_ROW_POINTS = (12, 9)
_DOTS_PER_INCH = 200


def write_case_figure(view: CaseView, path: Path, full_range: bool = False) -> None:
    """Draw the slices with the most foreground, and write them as a PNG.

    Args:
        view: the case to show.
        path: where the PNG goes.
        full_range: whether a map's colours span 0 to 1, not its 1st to 99th percentile.
    """
    planes = planes_of(view)
    foreground = shown_foreground(view)
    indices = [plane.fullest_index(foreground) for plane in planes]
    labels = {"reference": view.reference, "prediction": view.prediction}
    label_slices = {
        title: [plane.cut(volume, index) for plane, index in zip(planes, indices, strict=True)]
        for title, volume in labels.items()
        if volume is not None
    }
    styles = _styles_that_occur(label_styles(view.labels), chain(*label_slices.values()))
    titles = ("image", *label_slices, *view.maps)
    first_map = 1 + len(label_slices)
    greys = None if view.image.ndim == 4 else grey_limits(view.image)
    row_names = [
        (plane.name, f"slice {index + 1} of {view.image.shape[plane.axis]}")
        for plane, index in zip(planes, indices, strict=True)
    ]
    sheet = _Sheet(view, planes, titles, styles, row_names if len(planes) > 1 else [])
    for row, (plane, index) in enumerate(zip(planes, indices, strict=True)):
        for panel in sheet.panels[row]:
            _draw_image(panel, plane.cut(view.image, index), greys)
    for column, slices in enumerate(label_slices.values(), 1):
        for row, plane_slice in enumerate(slices):
            draw_labels(sheet.panels[row][column], plane_slice, styles)
    for column, attention_map in enumerate(view.maps.values(), first_map):
        limits = (0.0, 1.0) if full_range else map_limits(attention_map)
        for row, (plane, index) in enumerate(zip(planes, indices, strict=True)):
            _draw_map(sheet.panels[row][column], plane.cut(attention_map, index), limits)
        sheet.draw_colour_bar(column, limits)
    if view.maps:
        sheet.name_colour_bars(first_map - 1)
    save_png(sheet.figure, path, _DOTS_PER_INCH)


def _styles_that_occur(styles: list[LabelStyle], slices: Iterable[np.ndarray]) -> list[LabelStyle]:
    values = {value for plane_slice in slices for value in np.unique(plane_slice).tolist()}
    return [style for style in styles if values.intersection(style.values)]


def _captions(view: CaseView) -> list[str]:
    """Return how a coefficient is read, and the first of each map's verdicts."""
    if not view.maps:
        return []
    verdicts = [view.verdicts[name][0] for name in view.maps if view.verdicts.get(name)]
    return [*view.reading.splitlines(), *verdicts]


class _Sheet:
    """A figure with a row for each plane; all panels have the same scale of inches per mm."""

    def __init__(
        self,
        view: CaseView,
        planes: tuple[Plane, ...],
        titles: tuple[str, ...],
        styles: list[LabelStyle],
        row_names: list[tuple[str, str]],
    ):
        size_mm = [n * mm for n, mm in zip(view.image.shape[:3], view.spacing_mm, strict=True)]
        panels_mm = [plane.of_rows_and_columns(size_mm) for plane in planes]
        longest = max(
            (
                _text_inches(text, points)
                for names in row_names
                for text, points in zip(names, _ROW_POINTS, strict=True)
            ),
            default=0.0,
        )
        self._left = _LEFT
        self._fit_panels(panels_mm, len(titles))
        # Names are written vertically, unless a row of a thin volume is too low for that.
        self._names_lie = min(self._rows) < longest
        if self._names_lie:
            self._left = longest + 2 * _GAP
            self._fit_panels(panels_mm, len(titles))
        self._width = self._left + len(titles) * (self._column + _GAP) - _GAP + _RIGHT
        self._usable = self._width - self._left - _RIGHT
        beside_name = self._usable - _text_inches(view.name, _NAME_POINTS) - _GAP
        legend = _legend_inches(styles)
        # The legend stands beside the name of the case or, if there is no room, below the panels.
        self._legend_columns = 0
        if legend * len(styles) > beside_name:
            self._legend_columns = max(1, int(self._usable // legend))
        legend_rows = math.ceil(len(styles) / (self._legend_columns or math.inf))
        captions = _captions(view)
        self._reading_depth = _READING_ROW * len(captions)
        self._bottom = _BOTTOM + legend_rows * _LEGEND_ROW + self._reading_depth
        panels = sum(self._rows) + _GAP * (len(planes) - 1)
        self._height = _TOP + panels + self._bottom
        self.figure = new_figure(self._width, self._height)
        self.panels = [
            [
                self._axes(self._x(column), self._y(row), self._column, self._rows[row])
                for column in range(len(titles))
            ]
            for row in range(len(planes))
        ]
        for row, plane in enumerate(planes):
            rows_mm, columns_mm = plane.of_rows_and_columns(view.spacing_mm)
            for panel in self.panels[row]:
                panel.set_axis_off()
                # Images that are drawn later keep this aspect.
                panel.set_aspect(rows_mm / columns_mm)
        for row, names in enumerate(row_names):
            self._name_row(row, names)
        self._write_titles(view.name, titles)
        if styles:
            self._draw_legend(styles)
        for row, caption in enumerate(reversed(captions)):
            self._write(
                *(self._left, 0.15 + row * _READING_ROW, caption, FAINT_TEXT),
                fontsize=_fitting_points(caption, self._usable, 9),
            )

    def draw_colour_bar(self, column: int, limits: tuple[float, float]) -> None:
        """Draw the scale of a column's map below it, with numbers at both ends and between."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        low, high = limits
        scale = ScalarMappable(Normalize(low, high), COEFFICIENT_COLOURS)
        inset = 0.04 * self._column
        axes = self._axes(
            self._x(column) + inset, self._bottom - 0.22, self._column - 2 * inset, _COLOUR_BAR
        )
        bar = self.figure.colorbar(scale, cax=axes, orientation="horizontal")
        bar.outline.set_visible(False)
        # Two significant digits of the range distinguish its ends, however close they are.
        decimals = max(2, 1 - math.floor(round(math.log10(high - low), 3)))
        ticks = (low, (low + high) / 2, high)
        bar.set_ticks(ticks, labels=[f"{tick:.{decimals}f}" for tick in ticks])
        axes.tick_params(colors=TEXT, labelsize=9, length=2)
        sides: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")
        for label, side in zip(axes.get_xticklabels(), sides, strict=True):
            label.set_horizontalalignment(side)

    def name_colour_bars(self, column: int) -> None:
        """Write what the colour bars measure in the column to the left of the first one."""
        self._write(
            *(self._x(column) + self._column, self._bottom - 0.17, "attention coefficient"),
            FAINT_TEXT,
            fontsize=9,
            ha="right",
        )

    def _fit_panels(self, panels_mm: list[tuple[float, float]], columns: int) -> None:
        widest_mm = max(width for _, width in panels_mm)
        fitting = (_WIDTH - self._left - _RIGHT) / columns - _GAP
        inches_per_mm = min(
            min(max(fitting, _NARROWEST_PANEL), _WIDEST_PANEL) / widest_mm,
            (_HEIGHT - _TOP - _BOTTOM) / sum(height for height, _ in panels_mm),
        )
        self._column = max(widest_mm * inches_per_mm, _NARROWEST_PANEL)
        self._rows = [max(height * inches_per_mm, _LOWEST_PANEL) for height, _ in panels_mm]

    def _name_row(self, row: int, names: tuple[str, str]) -> None:
        """Write the plane's name and the slice's number to the left of its panels."""
        middle = self._y(row) + self._rows[row] / 2
        for name, points, colour, x, above in zip(
            names, _ROW_POINTS, (TEXT, FAINT_TEXT), (0.2, 0.4), (0.1, -0.1), strict=True
        ):
            options: dict[str, Any]
            if self._names_lie:
                place, options = (self._left - _GAP, middle + above), {"ha": "right"}
            else:
                place, options = (x, middle), {"rotation": "vertical", "ha": "center"}
            self._write(*place, name, colour, fontsize=points, **options)

    def _write_titles(self, name: str, titles: tuple[str, ...]) -> None:
        self._write(
            *(self._left, self._height - _NAME_DEPTH, name, TEXT),
            fontsize=_fitting_points(name, self._usable, _NAME_POINTS),
            weight="bold",
        )
        for column, title in enumerate(titles):
            self._write(
                self._x(column) + self._column / 2,
                self._height - _TOP + 0.17,
                title,
                TEXT if column else FAINT_TEXT,
                fontsize=_fitting_points(title, self._column, 12),
                ha="center",
            )

    def _draw_legend(self, styles: list[LabelStyle]) -> None:
        below = bool(self._legend_columns)
        x, y = self._width - _RIGHT, self._height - _NAME_DEPTH
        if below:
            x, y = self._left, 0.1 + self._reading_depth
        draw_legend(
            self.figure,
            styles,
            self._legend_columns or len(styles),
            loc="lower left" if below else "center right",
            bbox_to_anchor=(x / self._width, y / self._height),
            fontsize=_LEGEND_POINTS,
            borderaxespad=0,
            borderpad=0,
        )

    def _write(self, x: float, y: float, text: str, colour: str, **options) -> None:
        self.figure.text(
            *(x / self._width, y / self._height, text),
            color=colour,
            va="center",
            # A dollar sign in a name must not begin a formula.
            parse_math=False,
            **options,
        )

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        return self.figure.add_axes(
            (
                left / self._width,
                bottom / self._height,
                width / self._width,
                height / self._height,
            )
        )

    def _x(self, column: int) -> float:
        return self._left + column * (self._column + _GAP)

    def _y(self, row: int) -> float:
        return self._height - _TOP - sum(self._rows[: row + 1]) - row * _GAP


def _text_inches(text: str, points: float) -> float:
    # The mean width of a letter relative to its height, allowing for bold type and capitals.
    return 0.68 * points / 72 * len(text)


def _fitting_points(text: str, inches: float, points: float) -> float:
    return min(points, points * inches / _text_inches(text or " ", points))


def _legend_inches(styles: list[LabelStyle]) -> float:
    """Return a legend column's width; matplotlib's patch and margins take 5 letter heights."""
    names = [_text_inches(style.name, _LEGEND_POINTS) for style in styles]
    return max(names) + 5 * _LEGEND_POINTS / 72 if names else 0.0


def _draw_image(panel: Axes, image: np.ndarray, greys: tuple[float, float] | None) -> None:
    if greys is None:
        panel.imshow(
            np.clip(image, 0, 255).astype(np.uint8),
            interpolation="bicubic",
            aspect=panel.get_aspect(),
        )
        return
    panel.imshow(
        image.astype(np.float32),
        cmap="gray",
        vmin=greys[0],
        vmax=greys[1],
        interpolation="bicubic",
        aspect=panel.get_aspect(),
    )


def _draw_map(panel: Axes, attention_map: np.ndarray, limits: tuple[float, float]) -> None:
    panel.imshow(
        attention_map.astype(np.float32),
        cmap=COEFFICIENT_COLOURS,
        vmin=limits[0],
        vmax=limits[1],
        alpha=OVERLAY_OPACITY,
        interpolation="bilinear",
        aspect=panel.get_aspect(),
    )
