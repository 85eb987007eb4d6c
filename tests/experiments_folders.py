"""nnU-Net's three folders with planned data sets, written by hand for experiments."""

import json
from pathlib import Path

from nnunet_attention.crossval import CrossvalPlan
from nnunet_attention.nnunet.folders import Folders

TARGET, SOURCE = "Dataset902_Target", "Dataset901_Tiny"
CASES = [f"case_{number}" for number in range(5)]
CONFIGURATION = "3d_fullres"
MODELS = (("nnUNetTrainer", "nnUNetPlans"), ("AttentionUNetTrainer", "nnUNetPlans"))


def write(path: Path, content) -> Path:
    """Writes JSON, or text as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def description(**changes) -> dict:
    """A dataset.json."""
    return {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "organ": 1},
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
        **changes,
    }


def splits(folds: int = 5) -> list[dict]:
    """Each fold validates one case and trains on the others."""
    return [
        {"train": [case for case in CASES if case != held_out], "val": [held_out]}
        for held_out in CASES[:folds]
    ]


def planned_dataset(folders: Folders, name: str) -> None:
    """Raw, planned, preprocessed and split."""
    write(folders.raw_dataset(name) / "dataset.json", description())
    write(folders.dataset_json(name), description())
    write(folders.fingerprint(name), {"spacings": [[3, 2, 1]]})
    write(folders.splits(name), splits())
    plans = {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "configurations": {
            CONFIGURATION: {"data_identifier": "nnUNetPlans_3d_fullres", "patch_size": [4, 8, 16]}
        },
    }
    write(folders.plans(name, "nnUNetPlans"), plans)
    for case in CASES:
        write(folders.raw_dataset(name) / "imagesTr" / f"{case}_0000.nii.gz", "image")
        write(folders.data(name, "nnUNetPlans_3d_fullres") / f"{case}.pkl", "case")
        write(folders.references(name) / f"{case}.nii.gz", "labels")


def folders_in(root: Path) -> Folders:
    """With both data sets."""
    folders = Folders(root / "raw", root / "preprocessed", root / "results")
    folders.results.mkdir()
    for name in (SOURCE, TARGET):
        planned_dataset(folders, name)
    return folders


def change_plans(path: Path, **changes) -> None:
    """Changes entries of the configuration."""
    content = json.loads(path.read_text())
    content["configurations"][CONFIGURATION].update(changes)
    path.write_text(json.dumps(content))


def plan(*datasets: str, **changes) -> CrossvalPlan:
    """Two models on a CPU."""
    entries = {
        "datasets": datasets,
        "configurations": (CONFIGURATION,),
        "models": MODELS,
        "folds": ("0", "1"),
        "device": "cpu",
        "processes": 2,
    }
    return CrossvalPlan(**{**entries, **changes})
