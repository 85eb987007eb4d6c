"""A small, valid set-up of data sets and models, and every command that reads one of its files."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK
from nnssl_checkpoints import nnssl_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from plain_checkpoints import DATASET_JSON, plain_checkpoint, plans_of
from pointwise_network import pointwise_plans
from skimage.io import imsave
from smallest_plans import smallest_plans

from nnunet_attention.evaluation import LabelScheme, evaluate_folder, tolerances_mm
from nnunet_attention.evaluation.metrics.cache import cache_path
from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import save_checkpoint

CONFIGURATION = "3d_fullres"
TRAINERS = {one.__name__: one for one in (nnUNetTrainer, AttentionUNetTrainer)}
_GATED = AttentionUNetTrainer.__name__
FOLDS = ("0", "1")
SPACING_MM = (3.0, 2.0, 1.0)
SHAPE = (5, 9, 18)
_CASES = ("a", "b", "c", "d")
# nnU-Net's reader of each kind of file, and the module that hostile files try to import.
READERS = {
    ".nii.gz": "SimpleITKIO",
    ".nrrd": "SimpleITKIO",
    ".png": "NaturalImage2DIO",
    ".tif": "Tiff3DIO",
}
CANARY = "fuzz_canary"


_SURFACE = ("--surface", "-np", "1", "--metrics", "dice", "assd_mm")


class Target(NamedTuple):
    """A file that is damaged, and a command that reads it.

    Attributes:
        kind: of the file: plans, dataset, summary, splits, checkpoint or image.
        file: the path.
        arguments: of `nnunet-attention`; the first is the command's name.
    """

    kind: str
    file: Path
    arguments: tuple[str, ...]


class Example:
    """Folders of nnU-Net below `root/set_up`, a data set for each kind of image.

    Attributes:
        root: of everything.
        set_up: what no command may change.
        out: where commands write to.
        marker: a file that is there only if something in a damaged file was executed.
        victim: a folder that is gone only then.
    """

    def __init__(self, root: Path):
        self.root = root
        self.set_up = root / "set_up"
        self.out = root / "out"
        self.canary = root / "canary"
        self.marker = self.canary / f"{CANARY}_marker"
        self.victim = self.canary / f"{CANARY}_victim"
        self.victim.mkdir(parents=True)
        (self.canary / f"{CANARY}.py").write_text(
            f"import pathlib\npathlib.Path({str(self.marker)!r}).touch()\nclass Layer:\n    pass\n"
        )
        self._datasets = {
            ending: f"Dataset9{number:02d}_{reader}"
            for number, (ending, reader) in enumerate(READERS.items())
        }
        for ending in READERS:
            self._write_dataset(ending)
        self._pretrained = self.set_up / "pretrained.pth"
        self._write_pretrained()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """nnU-Net's variables point here, and the canary can be imported."""
        ours = {
            name: str(self.set_up / name)
            for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
        }
        before = {name: os.environ.get(name) for name in ours}
        os.environ.update(ours)
        sys.path.append(str(self.canary))
        try:
            yield
        finally:
            sys.path.remove(str(self.canary))
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def targets(self) -> list[Target]:
        """Every kind of file with every command that reads it."""
        found = []
        for ending in READERS:
            found += self._of_images(ending)
        plain, attention = (self._model(".nii.gz", trainer) for trainer in TRAINERS)
        preprocessed = self._folder("nnUNet_preprocessed", ".nii.gz")
        describe = ("describe", str(preprocessed / "nnUNetPlans.json"))
        describe += ("-o", str(self.out / "cost.json"))
        upgrade = ("upgrade", str(plain), "-o", str(self.out / "upgraded"))
        one = plain / "fold_0" / "checkpoint_final.pth"
        upgrade_one = ("upgrade", str(one), "-o", str(self.out / "upgraded.pth"))
        # Fitted to plans of the same data set.
        fit = ("-d", self._datasets[".nii.gz"], "-c", CONFIGURATION)
        fit_one, fit_pretrained = (
            ("upgrade", str(file), "-o", str(self.out / "start.pth"), *fit)
            for file in (one, self._pretrained)
        )
        maps, leaderboard = self._maps(".nii.gz"), self._leaderboard(".nii.gz")
        predict = self._predict(".nii.gz", plain)
        export = ("export", str(plain), "-o", str(self.out / "exported"), "-f", "0")
        ablate = self._ablate(".nii.gz")
        evaluate = self._evaluate(".nii.gz")
        with_plans = (*evaluate, "-pfile", str(attention / "plans.json"))
        trainers = ("-tr", *TRAINERS, "-f", *FOLDS)
        crossval = ("crossval", "-d", self._datasets[".nii.gz"], "-c", CONFIGURATION, *trainers)
        crossval += ("-device", "cpu", "--dry-run", "-o", str(self.out / "crossval"))
        for kind, file, commands in (
            ("plans", preprocessed / "nnUNetPlans.json", (describe, crossval, fit_one)),
            ("plans", plain / "plans.json", (upgrade, predict, export, leaderboard)),
            ("plans", attention / "plans.json", (maps, leaderboard, with_plans)),
            ("dataset", preprocessed / "dataset.json", (describe, crossval, evaluate)),
            ("dataset", plain / "dataset.json", (upgrade, predict, export, leaderboard)),
            ("dataset", attention / "dataset.json", (maps, leaderboard, ablate)),
            ("summary", plain / "fold_0" / "validation" / "summary.json", (leaderboard, crossval)),
            ("splits", preprocessed / "splits_final.json", (crossval, leaderboard)),
            ("checkpoint", one, (upgrade, upgrade_one, predict, export, crossval, fit_one)),
            ("checkpoint", self._pretrained, (fit_pretrained, upgrade_one)),
            ("checkpoint", attention / "fold_0" / "checkpoint_final.pth", (maps, crossval)),
        ):
            found += [Target(kind, file, command) for command in commands]
        return found

    def _of_images(self, ending: str) -> list[Target]:
        image = self._folder("images", ending) / f"a_0000{ending}"
        prediction = self._model(ending, _GATED) / "fold_0" / "validation" / f"a{ending}"
        reference = self._folder("nnUNet_preprocessed", ending) / "gt_segmentations" / f"a{ending}"
        return [
            Target("image", image, self._maps(ending)),
            Target("image", prediction, self._evaluate(ending)),
            Target("image", reference, self._evaluate(ending)),
            Target("image", reference, self._ablate(ending)),
            Target("image", prediction, (*self._leaderboard(ending), *_SURFACE)),
        ]

    def _maps(self, ending: str) -> tuple[str, ...]:
        model = self._model(ending, _GATED)
        return ("maps", *self._predicting(ending, model, "maps"), "--no_pictures")

    def _predict(self, ending: str, model: Path) -> tuple[str, ...]:
        return ("predict", *self._predicting(ending, model, "predicted"), "--engine", "torch")

    def _predicting(self, ending: str, model: Path, output: str) -> tuple[str, ...]:
        return (
            *("-i", str(self._folder("images", ending)), "-o", str(self.out / output)),
            *("-m", str(model), "-f", "0", "-device", "cpu"),
            *("-npp", "0", "-nps", "0", "--disable_tta", "--disable_progress_bar"),
        )

    def _ablate(self, ending: str) -> tuple[str, ...]:
        references = self._folder("nnUNet_preprocessed", ending) / "gt_segmentations"
        images = self._folder("nnUNet_raw", ending) / "imagesTr"
        return (
            *("ablate", "-i", str(images), "-gt", str(references), "-o", str(self.out / "ablate")),
            *("-m", str(self._model(ending, _GATED)), "-f", "0", "-device", "cpu"),
            *("--disable_tta", "--gates", "0", "--replace", "mean"),
        )

    def _evaluate(self, ending: str) -> tuple[str, ...]:
        preprocessed = self._folder("nnUNet_preprocessed", ending)
        validation = self._model(ending, _GATED) / "fold_0" / "validation"
        return (
            *("evaluate", "-gt", str(preprocessed / "gt_segmentations"), "--chill"),
            *("-pred", str(validation), "-djfile", str(preprocessed / "dataset.json")),
            *("-o", str(self.out / "summary.json"), "-np", "1"),
        )

    def _leaderboard(self, ending: str) -> tuple[str, ...]:
        return (
            *("leaderboard", "-d", self._datasets[ending], "-c", CONFIGURATION),
            *("-tr", *TRAINERS, "-f", *FOLDS, "--metrics", "dice"),
            *("-o", str(self.out / "leaderboard")),
        )

    def _folder(self, kind: str, ending: str) -> Path:
        return self.set_up / kind / self._datasets[ending]

    def _model(self, ending: str, trainer: str) -> Path:
        return self._folder("nnUNet_results", ending) / f"{trainer}__nnUNetPlans__{CONFIGURATION}"

    def _write_dataset(self, ending: str) -> None:
        generator = np.random.default_rng(0)
        description = {**DATASET_JSON, "file_ending": ending, "numTraining": len(_CASES)}
        plans = _plans(ending, self._datasets[ending])
        raw, preprocessed, images = (
            self._folder(kind, ending) for kind in ("nnUNet_raw", "nnUNet_preprocessed", "images")
        )
        shape = (1, *SHAPE[1:]) if ending == ".png" else SHAPE
        for case in _CASES:
            labels = generator.integers(0, 3, shape).astype(np.uint8)
            for folder in (raw / "labelsTr", preprocessed / "gt_segmentations"):
                write_image(folder / f"{case}{ending}", labels)
            for channel in range(2):
                image = generator.integers(0, 200, shape).astype(np.uint8)
                write_image(raw / "imagesTr" / f"{case}_{channel:04d}{ending}", image)
            data = preprocessed / f"nnUNetPlans_{CONFIGURATION}"
            data.mkdir(exist_ok=True)
            for name in (f"{case}.b2nd", f"{case}.pkl"):
                (data / name).write_bytes(b"whole")
        images.mkdir(parents=True)
        for path in (raw / "imagesTr").glob("a_*"):
            shutil.copy(path, images)
        splits = [
            {"train": [one for one in _CASES if one not in val], "val": val}
            for val in (["a", "b"], ["c", "d"])
        ]
        for path, content in (
            (raw / "dataset.json", description),
            (preprocessed / "dataset.json", description),
            (preprocessed / "dataset_fingerprint.json", {"spacings": [list(SPACING_MM)] * 4}),
            (preprocessed / "nnUNetPlans.json", plans),
            (preprocessed / "splits_final.json", splits),
        ):
            path.write_text(json.dumps(content, indent=4))
        for trainer in TRAINERS:
            self._write_model(ending, trainer, plans, description, splits)

    def _write_pretrained(self) -> None:
        """Writes a checkpoint as nnssl does, of the network of the NIfTI data set's plans."""
        plans = _plans(".nii.gz", self._datasets[".nii.gz"])
        architecture = plans["configurations"][CONFIGURATION]["architecture"]
        checkpoint = plain_checkpoint(plans)
        pretrained = nnssl_checkpoint(
            channels=2,
            arch_class_name="PlainConvUNet",
            arch_kwargs=architecture["arch_kwargs"],
            arch_kwargs_requiring_import=["conv_op", "norm_op", "nonlin"],
        )
        pretrained["nnssl_adaptation_plan"]["key_to_stem"] = "encoder.stages.0"
        weights = {"network_weights": checkpoint["network_weights"]}
        save_checkpoint({**checkpoint, **pretrained, **weights}, self._pretrained)

    def _write_model(self, ending, trainer, plans, description, splits) -> None:
        generator = np.random.default_rng(1)
        folder = self._model(ending, trainer)
        checkpoint = plain_checkpoint(plans, trainer=TRAINERS[trainer])
        references = self._folder("nnUNet_preprocessed", ending) / "gt_segmentations"
        for fold, split in zip(FOLDS, splits, strict=True):
            validation = folder / f"fold_{fold}" / "validation"
            for case in split["val"]:
                labels = read_image(references / f"{case}{ending}")
                wrong = generator.random(labels.shape) < 0.2
                write_image(validation / f"{case}{ending}", np.where(wrong, 1, labels))
            save_checkpoint(checkpoint, validation.parent / "checkpoint_final.pth")
        (folder / "plans.json").write_text(json.dumps(plans, indent=4))
        (folder / "dataset.json").write_text(json.dumps(description, indent=4))
        scheme = LabelScheme.from_file(folder / "dataset.json")
        for fold in FOLDS:
            summary = folder / f"fold_{fold}" / "validation" / "summary.json"
            tolerance_mm = tolerances_mm(scheme, 2.0, {})
            arguments = (references, summary.parent, summary, scheme, tolerance_mm)
            evaluate_folder(*arguments, chill=True)
            cache_path(summary).unlink()


def write_image(path: Path, array: np.ndarray) -> None:
    """Writes an array, (z, y, x), as the kind of file that the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array.astype(np.uint8)
    if path.suffix == ".png":
        imsave(path, array[0], check_contrast=False)
    elif path.suffix == ".tif":
        imsave(path, array, check_contrast=False)
        # What nnU-Net's reader asks for, beside an image under its case's name.
        name = path.stem[:-5] if path.stem[-5:-2] == "_00" else path.stem
        path.with_name(f"{name}.json").write_text(json.dumps({"spacing": SPACING_MM}))
    else:
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(SPACING_MM[::-1])
        SimpleITK.WriteImage(image, str(path), useCompression=True)


def read_image(path: Path) -> np.ndarray:
    """The array, (z, y, x)."""
    array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    return array[None] if array.ndim == 2 else array


def _plans(ending: str, dataset: str) -> dict:
    """For two channels; pictures have a network of two dimensions under the same name."""
    plans = pointwise_plans(plans_of(smallest_plans(), "plain 3d anisotropic"))
    if ending == ".png":
        plans = pointwise_plans(plans_of(smallest_plans(), "plain 2d"))
        plans["configurations"][CONFIGURATION]["spacing"] = list(SPACING_MM[1:])
    two_channels = {
        "normalization_schemes": ["NoNormalization"] * 2,
        "use_mask_for_norm": [False] * 2,
    }
    plans["configurations"][CONFIGURATION].update(two_channels)
    plans["foreground_intensity_properties_per_channel"] = {"0": {}, "1": {}}
    return {**plans, "dataset_name": dataset, "image_reader_writer": READERS[ending]}
