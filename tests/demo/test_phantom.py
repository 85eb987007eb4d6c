import json

import numpy as np
import pytest
import SimpleITK

from nnunet_attention.demo.phantom import LABELS, SPACING_MM, draw_case, write_phantom_task
from nnunet_attention.msd.task_folder import read_msd_task

PANCREAS = 4


@pytest.fixture(scope="module")
def cases():
    return [draw_case(np.random.default_rng([0, number])) for number in range(1, 13)]


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    return write_phantom_task(tmp_path_factory.mktemp("phantom"), cases=2, seed=3)


def volumes(cases) -> np.ndarray:
    """Voxels by case and label."""
    return np.array([np.bincount(case.labels.ravel(), minlength=len(LABELS)) for case in cases])


def test_equal_seeds_draw_equal_cases():
    first, second = (draw_case(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.image_hu, second.image_hu)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_other_seeds_draw_other_anatomy(cases):
    assert (cases[0].labels != cases[1].labels).mean() > 0.02


def test_every_case_shows_every_organ(cases):
    assert (volumes(cases) > 0).all()


def test_the_pancreas_is_the_smallest_organ_of_every_case(cases):
    organs = volumes(cases)[:, 1:]
    assert (organs.argmin(axis=1) == PANCREAS - 1).all()


def test_the_pancreas_varies_more_than_the_liver(cases):
    variation = volumes(cases).std(axis=0) / volumes(cases).mean(axis=0)
    assert variation[PANCREAS] > 0.15
    assert variation[PANCREAS] > variation[1]


def test_organs_have_the_hounsfield_units_of_tissue(cases):
    image = np.stack([case.image_hu for case in cases])
    labels = np.stack([case.labels for case in cases])
    liver, spleen, kidneys, pancreas = (image[labels == label].mean() for label in range(1, 5))
    assert 30 < liver < spleen < kidneys < pancreas < 250
    # The corners are air.
    assert image[:, :, 0, 0].mean() < -900


def test_noise_hides_part_of_the_contrast(cases):
    inside_liver = np.concatenate([case.image_hu[case.labels == 1] for case in cases])
    assert 8 < inside_liver.std() < 60


def test_files_have_thick_slices_and_one_geometry(task_folder):
    image = SimpleITK.ReadImage(str(task_folder / "imagesTr" / "phantom_001.nii.gz"))
    labels = SimpleITK.ReadImage(str(task_folder / "labelsTr" / "phantom_001.nii.gz"))
    assert image.GetSpacing() == SPACING_MM[::-1]
    assert SPACING_MM[0] >= 2 * SPACING_MM[1]
    assert labels.GetSize() == image.GetSize()
    assert labels.GetOrigin() == image.GetOrigin() != (0, 0, 0)


def test_the_task_folder_is_one_of_the_decathlons_kind(task_folder):
    task = read_msd_task(task_folder)
    assert task.number == 90
    assert task.cases == ("phantom_001", "phantom_002")
    assert list(task.organs.values()) == ["liver", "spleen", "kidneys", "pancreas"]
    assert task.is_ct
    assert json.loads((task_folder / "dataset.json").read_text())["numTraining"] == 2


def test_more_cases_leave_the_first_as_they_were(task_folder, tmp_path):
    longer = write_phantom_task(tmp_path, cases=3, seed=3)
    first, again = (
        SimpleITK.GetArrayFromImage(
            SimpleITK.ReadImage(str(folder / "imagesTr/phantom_001.nii.gz"))
        )
        for folder in (task_folder, longer)
    )
    np.testing.assert_array_equal(first, again)
