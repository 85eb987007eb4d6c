"""Draws a made-up abdominal CT data set in the Medical Segmentation Decathlon's format.

Every case is drawn in body coordinates: u to the patient's left, v to the back, w to the head, each
from -1 to 1 across the trunk. Organs are implicit functions that are below 1 inside, so that one
smooth random displacement of the coordinates makes every body different.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunet_attention.msd.task_writing import TaskCase, write_task_folder

TASK_NAME = "Task90_AbdomenPhantom"
SHAPE = (10, 32, 40)
SPACING_MM = (5.0, 2.0, 2.0)
LABELS = {"0": "background", "1": "liver", "2": "spleen", "3": "kidneys", "4": "pancreas"}

_LIVER, _SPLEEN, _KIDNEYS, _PANCREAS = 1, 2, 3, 4
# Cases are drawn finer by these factors (z, y, x) and averaged down, so that voxels at the borders
# mix tissues as in a CT.
_SUPERSAMPLING = (3, 2, 2)
# How far the volume extends from the middle, in the body coordinates w, v, u.
_FIELD_OF_VIEW = (0.8, 0.83, 0.84)
# Hounsfield units, with contrast agent. The pancreas is brighter than in a patient: the blurred rim
# of a brighter organ looks like a darker organ, and learning to tell them apart takes longer than a
# demo lasts.
_AIR_HU, _FAT_HU, _MUSCLE_HU, _BONE_HU, _MARROW_HU = -1000.0, -100.0, 50.0, 420.0, 190.0
_NOISE_HU = 11.0

# Body coordinates or radii.
_Triple = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class PhantomCase:
    """One made-up CT.

    Attributes:
        image_hu: Hounsfield units, int16, shape (z, y, x).
        labels: Organ numbers of `LABELS`, uint8, of the same shape.
    """

    image_hu: np.ndarray
    labels: np.ndarray


def phantom_cases(number: int) -> tuple[str, ...]:
    """Return the names of the given number of cases, numbered from 1."""
    return tuple(f"phantom_{one:03d}" for one in range(1, number + 1))


def write_phantom_task(folder: Path, cases: int, seed: int) -> Path:
    """Write a data set in the layout that the Medical Segmentation Decathlon distributes.

    Args:
        folder: Folder in which the task folder `Task90_AbdomenPhantom` is created.
        cases: How many cases to draw, all with labels.
        seed: Random seed; equal seeds give equal files.

    Returns:
        The task folder, with dataset.json, imagesTr and labelsTr.
    """
    task_folder = folder / TASK_NAME
    write_task_folder(
        task_folder,
        description="Made-up abdominal CT with liver, spleen, kidneys and pancreas",
        modality="CT",
        labels=LABELS,
        spacing_mm=SPACING_MM,
        training=_task_cases(cases, seed),
    )
    return task_folder


def _task_cases(cases: int, seed: int) -> Iterator[TaskCase]:
    for number, name in enumerate(phantom_cases(cases), 1):
        # Seeded so that a case depends on its number, not on how many others there are.
        generator = np.random.default_rng([seed, number])
        case = draw_case(generator)
        origin_mm = np.round(generator.uniform(-60, 60, 3), 1)
        yield TaskCase(name, case.image_hu, case.labels, origin_mm.tolist())


def draw_case(generator: np.random.Generator) -> PhantomCase:
    """Draw one body with its organs, blur and noise."""
    slices, rows, columns = (n * s for n, s in zip(SHAPE, _SUPERSAMPLING, strict=True))
    canvas = _Canvas((slices, rows, columns), generator)
    _draw_body(canvas, generator)
    _draw_stomach_and_bowel(canvas, generator)
    _draw_vessels(canvas, generator)
    _draw_liver(canvas, generator)
    _draw_spleen(canvas, generator)
    _draw_kidneys(canvas, generator)
    _draw_pancreas(canvas, generator)

    blurred = ndimage.gaussian_filter(canvas.hounsfield, (0.5, 0.9, 0.9))
    image = _block_mean(blurred) + _ct_noise(generator)
    # The label that fills most of a voxel; index 0 is the background.
    coverage = np.stack([_block_mean(canvas.labels == int(label)) for label in LABELS])
    return PhantomCase(
        image_hu=np.clip(np.round(image), -1024, 2000).astype(np.int16),
        labels=coverage.argmax(axis=0).astype(np.uint8),
    )


class _Canvas:
    """The finely sampled volume on which the organs are painted, one after another."""

    def __init__(self, shape: tuple[int, int, int], generator: np.random.Generator):
        w, v, u = np.meshgrid(
            *(
                np.linspace(-extent, extent, n, dtype=np.float32)
                for extent, n in zip(_FIELD_OF_VIEW, shape, strict=True)
            ),
            indexing="ij",
            sparse=True,
        )
        bend = [0.033 * _smooth_field(shape, generator) for _ in range(3)]
        self.u, self.v, self.w = u + bend[0], v + bend[1], w + bend[2]
        self.hounsfield = np.full(shape, _AIR_HU, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self._texture = _smooth_field(shape, generator, knots=9)

    def paint(
        self, inside: np.ndarray, hounsfield: float, label: int = 0, texture_hu: float = 4.0
    ) -> None:
        self.hounsfield[inside] = hounsfield + texture_hu * self._texture[inside]
        self.labels[inside] = label

    def ellipsoid(self, centre: _Triple, radii: _Triple) -> np.ndarray:
        """Return values below 1 inside an ellipsoid; centre and radii are in the order u, v, w."""
        return (
            ((self.u - centre[0]) / radii[0]) ** 2
            + ((self.v - centre[1]) / radii[1]) ** 2
            + ((self.w - centre[2]) / radii[2]) ** 2
        )

    def column(self, centre: _Triple, radii: _Triple) -> np.ndarray:
        """Return values as `ellipsoid` does, for a column that is infinite along w."""
        return ((self.u - centre[0]) / radii[0]) ** 2 + ((self.v - centre[1]) / radii[1]) ** 2


def _draw_body(canvas: _Canvas, generator: np.random.Generator) -> None:
    width, depth = generator.uniform(0.8, 0.85), generator.uniform(0.77, 0.82)
    fat = generator.uniform(0.03, 0.06)
    canvas.paint(canvas.column((0, 0), (width, depth)) < 1, _FAT_HU)
    canvas.paint(canvas.column((0, 0), (width - fat, depth - fat)) < 1, _MUSCLE_HU)
    canvas.paint(canvas.column((0, -0.03), (width - fat - 0.07, depth - fat - 0.08)) < 1, _FAT_HU)
    for side in (-1, 1):
        canvas.paint(canvas.column((side * 0.27, 0.64), (0.2, 0.17)) < 1, _MUSCLE_HU)
    # Ribs slope downwards to the front, so a slice shows them as short arcs in the body wall.
    ring = canvas.column((0, 0), (width - fat - 0.06, depth - fat - 0.06))
    angle = np.arctan2(canvas.v, canvas.u)
    slope = np.sin(6 * (np.abs(angle - 0.4) + 1.1 * canvas.w) + generator.uniform(0, 6))
    canvas.paint((np.abs(ring - 1) < 0.065) & (slope > 0.75) & (canvas.v < 0.6), _BONE_HU)
    # Vertebrae with discs between them, the canal and the spinous process.
    body = canvas.column((0, 0.5), (0.2, 0.17))
    disc = np.cos(np.pi * (2.1 * canvas.w + generator.uniform(0, 2))) > 0.86
    canvas.paint(body < 1, _BONE_HU)
    canvas.paint(body < 0.72, _MARROW_HU, texture_hu=20)
    canvas.paint((body < 1) & disc, 95.0)
    canvas.paint(canvas.column((0, 0.76), (0.06, 0.16)) < 1, _BONE_HU - 100)
    canvas.paint(canvas.column((0, 0.7), (0.13, 0.09)) < 1, _BONE_HU - 60)
    canvas.paint(canvas.column((0, 0.69), (0.07, 0.06)) < 1, 30.0)


def _draw_stomach_and_bowel(canvas: _Canvas, generator: np.random.Generator) -> None:
    for _ in range(9):
        centre = generator.uniform((-0.5, -0.55, -1.0), (0.6, 0.0, -0.25))
        radius = generator.uniform(0.11, 0.17)
        loop = canvas.ellipsoid(centre, (radius * 1.15, radius, radius * 1.6))
        canvas.paint(loop < 1, generator.uniform(15, 35))
        canvas.paint(loop < 0.55, generator.uniform(0, 20))
        if generator.random() < 0.3:
            canvas.paint((loop < 0.5) & (canvas.v < centre[1] - 0.02), -600.0)
    centre = np.array((0.36, -0.3, 0.4)) + generator.normal(0, 0.03, 3)
    stomach = canvas.ellipsoid(centre, generator.uniform((0.24, 0.2, 0.5), (0.32, 0.27, 0.62)))
    canvas.paint(stomach < 1, 30.0)
    canvas.paint(stomach < 0.72, 8.0)
    # Gas gathers in front, as the patient is supine.
    canvas.paint((stomach < 0.68) & (canvas.v < centre[1] - 0.1), -850.0)


def _draw_vessels(canvas: _Canvas, generator: np.random.Generator) -> None:
    bright = generator.uniform(250, 290)
    canvas.paint(canvas.column((0.07, 0.25), (0.075, 0.085)) < 1, bright)
    canvas.paint(canvas.column((-0.15, 0.26), (0.095, 0.075)) < 1, 60.0)


def _draw_liver(canvas: _Canvas, generator: np.random.Generator) -> None:
    size = generator.uniform(0.9, 1.08)
    shift = generator.normal(0, 0.025, 3)
    right = canvas.ellipsoid(
        np.array((-0.44, -0.06, 0.28)) + shift, np.array((0.35, 0.48, 0.74)) * size
    )
    left = canvas.ellipsoid(
        np.array((-0.06, -0.42, 0.45)) + shift, np.array((0.42, 0.2, 0.45)) * size
    )
    hounsfield = generator.normal(60, 4)
    liver = (np.minimum(right, left) < 1) & _inside_the_wall(canvas)
    canvas.paint(liver, hounsfield, _LIVER)
    # Hepatic veins are labelled as liver.
    for _ in range(4):
        start = generator.uniform((-0.6, -0.3, 0.1), (-0.2, 0.2, 0.6))
        end = generator.uniform((-0.3, 0.1, 0.5), (-0.12, 0.25, 0.9))
        vein = _tube(canvas, np.linspace(start, end, 6), np.full(6, 0.035)) < 1
        canvas.paint(vein & liver, hounsfield + 15, _LIVER)
    gallbladder = canvas.ellipsoid(
        generator.normal((-0.34, -0.38, -0.32), 0.03), (0.1, 0.12, generator.uniform(0.2, 0.32))
    )
    canvas.paint(gallbladder < 1, 12.0)


def _draw_spleen(canvas: _Canvas, generator: np.random.Generator) -> None:
    size = generator.uniform(0.95, 1.15)
    centre = np.array((0.55, 0.24, 0.36)) + generator.normal(0, 0.025, 3)
    outer = canvas.ellipsoid(centre, np.array((0.37, 0.5, 0.76)) * size)
    hollow = canvas.ellipsoid(centre - (0.3, 0.07, 0.0), np.array((0.2, 0.28, 0.6)) * size)
    spleen = (outer < 1) & (hollow > 1) & _inside_the_wall(canvas)
    canvas.paint(spleen, generator.normal(108, 5), _SPLEEN)


def _draw_kidneys(canvas: _Canvas, generator: np.random.Generator) -> None:
    cortex_hu = generator.normal(155, 6)
    for side, height in ((-1, -0.42), (1, -0.3)):
        size = generator.uniform(0.88, 1.12)
        centre = np.array((side * 0.46, 0.38, height)) + generator.normal(0, 0.025, 3)
        kidney = canvas.ellipsoid(centre, np.array((0.23, 0.265, 0.58)) * size)
        # The sinus opens towards the spine and is filled with fat.
        sinus = canvas.ellipsoid(
            centre - (side * 0.12, 0.05, 0.0), np.array((0.11, 0.07, 0.18)) * size
        )
        canvas.paint((kidney < 1) & (sinus > 1), cortex_hu, _KIDNEYS)
        canvas.paint((kidney < 0.5) & (sinus > 1), cortex_hu - 25, _KIDNEYS)
        canvas.paint((kidney < 1) & (sinus < 1), -60.0)


def _draw_pancreas(canvas: _Canvas, generator: np.random.Generator) -> None:
    """Draw a bent tube from the head, low on the right, to the tail at the spleen."""
    size = generator.uniform(0.75, 1.15)
    knots = np.array(
        ((-0.27, 0.03, -0.42), (-0.2, -0.04, -0.22), (0.0, -0.1, -0.06), (0.22, 0.0, 0.06),
         (0.4, 0.16, 0.18))
    )  # fmt: skip
    knots = knots + generator.normal(0, (0.025, 0.035, 0.05), knots.shape)
    # The tail ends at a random point of the curve, so that organs differ in length.
    end = generator.uniform(0.75, 1.0) * (len(knots) - 1)
    positions = np.linspace(0, end, 14)
    centreline = np.stack(
        [ndimage.map_coordinates(knots[:, i], positions[None], order=3) for i in range(3)], axis=1
    )
    radii = size * np.interp(positions, range(len(knots)), (0.21, 0.19, 0.15, 0.165, 0.13))
    pancreas = (_tube(canvas, centreline, radii) < 1) & np.isin(canvas.labels, (0, _PANCREAS))
    canvas.paint(pancreas, generator.normal(210, 8), _PANCREAS, texture_hu=8)


def _inside_the_wall(canvas: _Canvas) -> np.ndarray:
    return canvas.column((0, -0.02), (0.74, 0.71)) < 1


def _tube(canvas: _Canvas, centreline: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return values below 1 near the centreline, shape (points, 3) in the order u, v, w.

    The volume is flat: the same length along w is about half as many millimetres as along u and v.
    """
    nearest = np.full(canvas.hounsfield.shape, np.inf, dtype=np.float32)
    for point, radius in zip(centreline, radii, strict=True):
        np.minimum(nearest, canvas.ellipsoid(point, (radius, radius, 1.9 * radius)), out=nearest)
    return nearest


def _smooth_field(
    shape: tuple[int, int, int], generator: np.random.Generator, knots: int = 4
) -> np.ndarray:
    """Return smooth noise of about unit variance."""
    field = generator.normal(size=(knots, knots, knots)).astype(np.float32)
    for axis, n in enumerate(shape):
        # Interpolate one axis at a time with a matrix, which is far faster than `ndimage.zoom`.
        weights = ndimage.zoom(np.eye(knots), (n / knots, 1), mode="nearest", grid_mode=True)
        weights = weights.astype(np.float32)
        field = np.moveaxis(np.tensordot(weights, field, axes=(1, axis)), 0, axis)
    return field


def _ct_noise(generator: np.random.Generator) -> np.ndarray:
    """Return noise of `_NOISE_HU`, slightly smoothed within slices as by CT reconstruction."""
    noise = ndimage.gaussian_filter(generator.normal(size=SHAPE), (0, 0.5, 0.5))
    return _NOISE_HU * noise / noise.std()


def _block_mean(fine: np.ndarray) -> np.ndarray:
    blocks = [part for n, s in zip(SHAPE, _SUPERSAMPLING, strict=True) for part in (n, s)]
    return fine.reshape(blocks).mean(axis=(1, 3, 5))
