"""A data set with two images a patient, made of real ones: the even and the odd slices of each."""

import json
from pathlib import Path

import SimpleITK


def write_two_images_a_patient(source: Path, target: Path, patients: int) -> list[str]:
    """Write an nnU-Net raw data set of the first patients of an MSD task; returns its cases.

    They are called patient001_frame01, patient001_frame02 and so on. Every other slice is left out
    along the axis z, so that both images of a patient show all of the organ.
    """
    described = json.loads((source / "dataset.json").read_text())
    pairs = sorted(described["training"], key=lambda pair: pair["image"])[:patients]
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True)
    cases = []
    for number, pair in enumerate(pairs, 1):
        image, label = (
            SimpleITK.ReadImage(str(source / pair[kind])) for kind in ("image", "label")
        )
        for frame in (1, 2):
            case = f"patient{number:03d}_frame{frame:02d}"
            cases.append(case)
            for whole, name in ((image, f"imagesTr/{case}_0000"), (label, f"labelsTr/{case}")):
                half = whole[:, :, frame - 1 :: 2]
                SimpleITK.WriteImage(half, str(target / f"{name}.nii.gz"))
    content = {
        "channel_names": {"0": "MRI"},
        "labels": {name: int(label) for label, name in described["labels"].items()},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (target / "dataset.json").write_text(json.dumps(content))
    return cases
