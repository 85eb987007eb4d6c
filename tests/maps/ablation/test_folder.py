"""Which files belong to a case; what is done with them is tested with the command."""

from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK

from nnunet_attention.maps.ablation.folder import FolderAblation, _cases


@pytest.fixture
def asked(tmp_path):
    images, references = tmp_path / "images", tmp_path / "references"
    for case in ("scan1", "scan[1]", "scans", "scan[!1]"):
        for folder, name in ((images, f"{case}_0000"), (references, case)):
            folder.mkdir(exist_ok=True)
            image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
            SimpleITK.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return FolderAblation(
        images=images, references=references, output=tmp_path / "out", model_folder=tmp_path
    )


def test_each_case_has_its_own_images_whatever_characters_are_in_its_name(asked):
    predictor = SimpleNamespace(
        dataset_json={"file_ending": ".nii.gz"},
        image_channels=1,
        reader="SimpleITKIO",
        check_previous_stage=lambda folder: None,
    )
    found = {case.name: [path.name for path in case.images] for case in _cases(asked, predictor)}
    assert found == {
        case: [f"{case}_0000.nii.gz"] for case in ("scan1", "scan[!1]", "scan[1]", "scans")
    }
