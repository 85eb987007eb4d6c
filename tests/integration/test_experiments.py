"""The experiments with nnU-Net's own commands, on images that train in no time."""

import json

import numpy as np
import pytest
import SimpleITK
from nnunet_commands import NnunetFolders

from nnunet_attention.crossval import Folders
from nnunet_attention.experiments.derived import SMALL, choose_derived, derive

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
TRAINER = ("-tr", "AttentionUNetTrainer_short", "-device", "cpu", "-np", "1", "-f", "0")

QUICK = {"schedule": "1,1,1"}


def write_dataset(folders: NnunetFolders, name: str, seed: int) -> None:
    """Five cases of a bright box in noise, shape (12, 20, 24), spacing (3, 2, 1)."""
    generator = np.random.default_rng(seed)
    raw = folders.raw / name
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for number in range(5):
        labels = np.zeros((12, 20, 24), np.uint8)
        corner = generator.integers(2, 6, 3)
        labels[corner[0] :, corner[1] : corner[1] + 8, corner[2] : corner[2] + 10] = 1
        image = generator.normal(0, 1, labels.shape).astype(np.float32) + 3 * labels
        for array, path in (
            (image, raw / "imagesTr" / f"case_{number}_0000.nii.gz"),
            (labels, raw / "labelsTr" / f"case_{number}.nii.gz"),
        ):
            written = SimpleITK.GetImageFromArray(array)
            written.SetSpacing((1.0, 2.0, 3.0))
            SimpleITK.WriteImage(written, str(path))
    (raw / "dataset.json").write_text(
        json.dumps(
            {
                "channel_names": {"0": "MRI"},
                "labels": {"background": 0, "box": 1},
                "numTraining": 5,
                "file_ending": ".nii.gz",
            }
        )
    )


def settings(folder) -> list[str]:
    record = json.loads((folder / "table.json").read_text())
    for result in record["results"]:
        assert 0 <= result["labels"]["box"]["dice"]["mean"] <= 1
        assert result["parameters"] > 1000
    return [result["setting_title"] for result in record["results"]]


def test_nnunet_transfers_between_data_sets_and_trains_on_swapped_splits(tmp_path):
    nnunet = NnunetFolders(tmp_path)
    write_dataset(nnunet, "Dataset811_From", 1)
    write_dataset(nnunet, "Dataset812_To", 2)
    out = tmp_path / "transfer"
    nnunet.run(
        "nnunet-attention", "experiment", "transfer", "-d", 811, 812, *TRAINER, "-o", out,
        **QUICK,
    )  # fmt: skip
    assert settings(out) == ["before fine-tuning", "after fine-tuning", "from scratch"]
    (log,) = (out / "stages").glob("fine-tune*/logs/*fold_0.log")
    assert "Loading pretrained weights from file" in log.read_text()

    # Only what nnU-Net makes of such a data set; the experiment would train five networks more.
    folders = Folders(nnunet.raw, nnunet.preprocessed, nnunet.results)
    derived = choose_derived(folders, "Dataset812_To", "0")
    derive(derived, folders, [("nnUNetTrainer_short", "nnUNetPlans")], "3d_fullres")
    said = nnunet.run(
        "nnUNetv2_train", derived.name, "3d_fullres", SMALL, "-tr", "nnUNetTrainer_short",
        "-device", "cpu", **QUICK,
    )  # fmt: skip
    assert "This split has 1 training and 4 validation cases." in said
    model = nnunet.results / derived.name / "nnUNetTrainer_short__nnUNetPlans__3d_fullres"
    assert (model / "fold_1" / "validation" / "summary.json").is_file()
