"""Draws images with organs that can be told apart only by their surroundings.

Every organ is an ellipsoid of one intensity and texture, with tissue around it, and around that a
shell, from `_INNER` to `_OUTER` times the organ's axes: darker than tissue where the organ is the
target, brighter by as much where it is a distractor. Seen through a window that shows the organ and
its border, both are the same. Which of the placed organs is the target is drawn at random, so that
neither place nor size tells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunet_attention.msd.task_writing import TaskCase, write_task_folder

LABELS = {"0": "background", "1": "target"}
SPACING_MM = (2.0, 1.0, 1.0)
# To be raised with every change of what is drawn from the same recipe and seed: results of images
# that were drawn differently must not be mixed.
DRAWING = 2
_INNER, _OUTER = 1.35, 1.75
# Axes of an ellipsoid, in voxels, for a mean radius of 1: slices are twice as thick.
_FLATNESS = np.array((0.5, 1.0, 1.0))
_ORGAN, _TISSUE = 100.0, 0.0
# Of the cases for training and validation, and of those that the training never sees.
_NAMES = ("distractors", "shifted")


@dataclass(frozen=True)
class Recipe:
    """What the images of a data set have in common.

    Attributes:
        foreground: share of the voxels that belong to the target, 0.001 to 0.05.
        distractors: number of organs in every image that are not the target.
        contrast: how much darker a target's shell is than tissue, and brighter a distractor's;
            organs are 100 brighter than tissue.
        noise: standard deviation.
        shape: z, y, x.
    """

    foreground: float = 0.01
    distractors: int = 3
    contrast: float = 40.0
    noise: float = 20.0
    shape: tuple[int, int, int] = (16, 48, 48)

    def __post_init__(self):
        if not 0.001 <= self.foreground <= 0.05:
            raise ValueError(f"foreground is {self.foreground}; wanted a share of .001 to .05")
        if self.distractors < 0 or self.contrast < 0 or self.noise < 0:
            raise ValueError("distractors, contrast and noise must not be negative")
        if len(self.shape) != 3 or min(self.shape) < 8:
            raise ValueError(f"shape is {self.shape}; wanted three numbers of at least 8")

    @property
    def radius(self) -> float:
        """The mean radius of the organs, in voxels of a slice."""
        volume = self.foreground * float(np.prod(self.shape))
        return float((volume / (4 / 3 * np.pi * _FLATNESS.prod())) ** (1 / 3))


@dataclass(frozen=True)
class Organ:
    """An organ's place in an image.

    Attributes:
        centre: z, y, x, in voxels.
        radius: in voxels of a slice.
        is_target: whether it is the one to be segmented.
    """

    centre: np.ndarray
    radius: float
    is_target: bool


@dataclass(frozen=True)
class Drawn:
    """One image with what it shows.

    Attributes:
        image: float32, (z, y, x).
        labels: uint8, (z, y, x), 1 for the target.
        distractors: bool, (z, y, x), the organs that are not the target.
    """

    image: np.ndarray
    labels: np.ndarray
    distractors: np.ndarray


def draw(recipe: Recipe, generator: np.random.Generator) -> Drawn:
    """Draw one image.

    Raises:
        ValueError: if there is no room for the organs and their shells.
    """
    image = np.full(recipe.shape, _TISSUE, dtype=np.float64)
    organs = np.zeros(recipe.shape, dtype=bool)
    labels = np.zeros(recipe.shape, dtype=np.uint8)
    grid = np.indices(recipe.shape, dtype=np.float64)
    organs_placed = place_organs(recipe, generator)
    # Drawn in any order: where two shells overlap, either may lie on top.
    for number in generator.permutation(len(organs_placed)):
        organ = organs_placed[number]
        axes = organ.radius * _FLATNESS * generator.uniform(0.9, 1.1, 3)
        distance = sum(((grid[axis] - organ.centre[axis]) / axes[axis]) ** 2 for axis in range(3))
        shell = (distance >= _INNER**2) & (distance < _OUTER**2)
        image[shell] = _TISSUE + recipe.contrast * (-1 if organ.is_target else 1)
        organs |= distance < 1
        labels[(distance < 1) & organ.is_target] = 1
    image[organs] = _ORGAN
    image = ndimage.gaussian_filter(image, 0.7 * _FLATNESS)
    image += recipe.noise * generator.normal(size=recipe.shape)
    return Drawn(image.astype(np.float32), labels, organs & (labels == 0))


def draw_case(recipe: Recipe, seed: int, case: str) -> Drawn:
    """Draw a case of a data set again, given the data set's seed and the case's name."""
    name, _, place = case.rpartition("_")
    return draw(recipe, np.random.default_rng([seed, _NAMES.index(name), int(place)]))


def place_organs(recipe: Recipe, generator: np.random.Generator) -> list[Organ]:
    """Find room for the organs of an image; no organ reaches into another's shell.

    Raises:
        ValueError: if there is no room for them.
    """
    size = np.array(recipe.shape)
    number = 1 + recipe.distractors
    for _ in range(200):
        places: list[tuple[np.ndarray, float]] = []
        for _ in range(200 * number):
            radius = recipe.radius * generator.uniform(0.85, 1.15)
            margin = np.minimum(1.1 * radius * _FLATNESS, (size - 1) / 2)
            centre = generator.uniform(margin, size - 1 - margin)
            if all(
                np.linalg.norm((centre - other) / _FLATNESS)
                > 1.1 * (_OUTER * max(radius, other_radius) + min(radius, other_radius))
                for other, other_radius in places
            ):
                places.append((centre, radius))
            if len(places) == number:
                # Only now: an organ that is placed later finds less room, so that it is farther
                # from the middle and smaller.
                target = generator.integers(number)
                return [Organ(*place, n == target) for n, place in enumerate(places)]
    raise ValueError(
        f"{number} organs with a mean radius of {recipe.radius:.1f} voxels and their shells do not "
        f"fit into {recipe.shape} voxels; make the image larger, or the foreground or the number "
        "of distractors smaller"
    )


def write_distractors_task(
    folder: Path,
    recipe: Recipe,
    cases: int,
    seed: int,
    *,
    number: int = 91,
    test_cases: int = 0,
    test_contrast: float | None = None,
    test_noise: float | None = None,
) -> Path:
    """Write a data set as the Decathlon distributes them.

    Args:
        folder: the folder in which the task folder is made.
        recipe: the recipe of the training cases.
        cases: the number of training cases, all with labels.
        seed: equal seeds give equal images; a case does not depend on how many others there are.
        number: the number of the task.
        test_cases: the number of images that the training never sees, in imagesTs and labelsTs.
        test_contrast: their contrast; None for the recipe's.
        test_noise: their noise; None for the recipe's.

    Returns:
        The task folder.
    """
    task_folder = folder / f"Task{number:02d}_Distractors"
    shifted = replace(
        recipe,
        contrast=recipe.contrast if test_contrast is None else test_contrast,
        noise=recipe.noise if test_noise is None else test_noise,
    )
    write_task_folder(
        task_folder,
        description=f"Made-up organs that only their surroundings tell apart: {recipe}",
        modality="MRI",
        labels=LABELS,
        spacing_mm=SPACING_MM,
        training=_cases(recipe, _NAMES[0], cases, seed),
        test=_cases(shifted, _NAMES[1], test_cases, seed),
    )
    return task_folder


def _cases(recipe: Recipe, name: str, number: int, seed: int) -> Iterator[TaskCase]:
    for place in range(1, number + 1):
        case = f"{name}_{place:03d}"
        drawn = draw_case(recipe, seed, case)
        yield TaskCase(case, drawn.image, drawn.labels)
