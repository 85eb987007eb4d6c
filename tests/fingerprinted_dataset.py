"""A data set of which nnU-Net knows the fingerprint; its images are empty files."""

import json
from pathlib import Path

NAME = "Dataset901_Fingerprint"
DATASET_JSON = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 10,
    "file_ending": ".nii.gz",
    # Else the planner would open an image to choose the reader.
    "overwrite_image_reader_writer": "SimpleITKIO",
}


def write_fingerprinted_dataset(root: Path, monkeypatch, shape, spacing) -> Path:
    """Makes nnU-Net's three folders and sets their variables.

    Args:
        root: an empty folder.
        monkeypatch: pytest's.
        shape: of all images, (z, y, x).
        spacing: in mm, (z, y, x).

    Returns:
        the data set's folder in nnUNet_preprocessed.
    """
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(root / name))
        (root / name).mkdir()
    raw, preprocessed = root / "nnUNet_raw" / NAME, root / "nnUNet_preprocessed" / NAME
    cases = DATASET_JSON["numTraining"]
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for case in range(cases):
        (raw / "imagesTr" / f"case_{case}_0000.nii.gz").touch()
        (raw / "labelsTr" / f"case_{case}.nii.gz").touch()
    (raw / "dataset.json").write_text(json.dumps(DATASET_JSON))
    preprocessed.mkdir()
    intensities = ("max", "mean", "median", "min", "percentile_00_5", "percentile_99_5", "std")
    fingerprint = {
        "foreground_intensity_properties_per_channel": {"0": dict.fromkeys(intensities, 1.0)},
        "median_relative_size_after_cropping": 1.0,
        "shapes_after_crop": [list(shape)] * cases,
        "spacings": [list(spacing)] * cases,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    return preprocessed
