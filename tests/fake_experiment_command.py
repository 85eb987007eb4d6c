"""The fake commands with whole images: predictions that a test has laid ready are copied.

They lie in RAW/../predictions/TRAINER, or TRAINER__PLANS, with the counts of their summary beside
them, or where FAKE_READY says; for a repeat in RAW/../predictions/repeat_K/TRAINER, where there
is one. nnU-Net's tools for transfer are here too.
"""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fake_command as fake

READY = Path(os.environ.get("FAKE_READY", fake.RAW.parent / "predictions"))


def main() -> None:
    name, *arguments = sys.argv[1:]
    if name in OWN:
        if os.environ.get("FAKE_FAILURE", "nothing") in " ".join([name, *arguments]):
            raise SystemExit("RuntimeError: made to fail")
        OWN[name](arguments)
        return
    if name == "nnUNetv2_train" and arguments[2] == "all":
        train_on_all(arguments)
        return
    fake.validate = validate
    fake.preprocess = preprocess
    fake.cases = cases
    fake.main()


def ready_folder(trainer: str, plans: str) -> Path:
    places = [
        place / name
        for place in (READY / fake.RESULTS.name, READY)
        for name in (f"{trainer}__{plans}", trainer)
    ]
    return next(place for place in places if place.is_dir())


def validate(folder, model, names, log, chosen) -> None:
    trainer, plans, _ = model.name.split("__")
    ready = ready_folder(trainer, plans)
    copy_predictions(ready, folder / "validation", names)
    for name in names:
        fake.say(log, f"predicting {name} ")
    write_summary(folder / "validation", names, fake.read_json(ready / "counts.json"))
    fake.say(log, "Validation complete ")


def train_on_all(arguments) -> None:
    dataset, configuration, fold = arguments[:3]
    trainer, plans = fake.option(arguments, "-tr"), fake.option(arguments, "-p")
    model = fake.RESULTS / dataset / f"{trainer}__{plans}__{configuration}"
    folder = model / f"fold_{fold}"
    for name, file in (("plans", plans), ("dataset", "dataset")):
        content = fake.read_json(fake.PREPROCESSED / dataset / f"{file}.json")
        fake.write_json(model / f"{name}.json", content)
    fake.write_slowly(folder / "checkpoint_final.pth", fake.checkpoint(1))
    with (folder / "training_log_2026_1_2_03_04_05.txt").open("a") as log:
        validate(folder, model, cases(dataset), log, {})


def copy_predictions(ready: Path, folder: Path, names) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(ready / f"{name}.nii.gz", folder / f"{name}.nii.gz")


def write_summary(folder: Path, names, counts) -> None:
    entries = [
        {
            "prediction_file": str(folder / f"{name}.nii.gz"),
            "reference_file": f"/references/{name}.nii.gz",
            "metrics": counts[name],
        }
        for name in names
    ]
    fake.write_json(folder / "summary.json", {"metric_per_case": entries})


def cases(dataset: str) -> list[str]:
    labels = (fake.RAW / dataset / "labelsTr").glob("*.nii.gz")
    return sorted(path.name.removesuffix(".nii.gz") for path in labels)


def preprocess(arguments) -> None:
    dataset, configuration = fake.numbered(arguments), fake.option(arguments, "-c")
    plans = fake.read_json(
        fake.PREPROCESSED / dataset / f"{fake.option(arguments, '-plans_name')}.json"
    )
    identifier = plans["configurations"][configuration]["data_identifier"]
    references = fake.PREPROCESSED / dataset / "gt_segmentations"
    references.mkdir(exist_ok=True)
    for case in cases(dataset):
        for ending in ("b2nd", "pkl"):
            path = fake.PREPROCESSED / dataset / identifier / f"{case}.{ending}"
            fake.write_slowly(path, b"whole")
        shutil.copy(fake.RAW / dataset / "labelsTr" / f"{case}.nii.gz", references)


def move_plans(arguments) -> None:
    source, target, name, new = (fake.option(arguments, one) for one in ("-s", "-t", "-sp", "-tp"))
    plans = fake.read_json(fake.PREPROCESSED / source / f"{name}.json")
    plans.update(dataset_name=target, plans_name=new)
    for one in plans["configurations"].values():
        if "data_identifier" in one:
            one["data_identifier"] = one["data_identifier"].replace(name, new)
    # As nnU-Net's: the folder must be there.
    fake.write_json(fake.PREPROCESSED / target / f"{new}.json", plans)


def predict(arguments) -> None:
    images, output, dataset, trainer, plans = (
        fake.option(arguments, one) for one in ("-i", "-o", "-d", "-tr", "-p")
    )
    model = fake.RESULTS / dataset / f"{trainer}__{plans}__{fake.option(arguments, '-c')}"
    fake.load(model / f"fold_{fake.option(arguments, '-f')}" / "checkpoint_final.pth")
    names = [
        path.name.removesuffix("_0000.nii.gz") for path in sorted(Path(images).glob("*.nii.gz"))
    ]
    copy_predictions(ready_folder(trainer, plans), Path(output), names)


def accumulate(arguments) -> None:
    trainer, plans, configuration = (fake.option(arguments, one) for one in ("-tr", "-p", "-c"))
    folds = arguments[arguments.index("-f") + 1 :]
    model = fake.RESULTS / arguments[0] / f"{trainer}__{plans}__{configuration}"
    names = [
        path.name.removesuffix(".nii.gz")
        for fold in folds
        for path in (model / f"fold_{fold}" / "validation").glob("*.nii.gz")
    ]
    target = model / f"crossval_results_folds_{'_'.join(folds)}"
    target.mkdir(exist_ok=True)
    write_summary(target, names, fake.read_json(ready_folder(trainer, plans) / "counts.json"))


def convert(arguments) -> None:
    task = Path(fake.option(arguments, "-i"))
    number, _, name = task.name.removeprefix("Task").partition("_")
    raw = fake.RAW / f"Dataset{int(number):03d}_{name}"
    for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        (raw / folder).mkdir(parents=True)
        for path in (task / folder).iterdir():
            shutil.copy(path, raw / folder / path.name.replace(".nii.gz", ending))
    described = fake.read_json(task / "dataset.json")
    content = {
        "channel_names": described["modality"],
        "labels": {name: int(label) for label, name in described["labels"].items()},
        "numTraining": described["numTraining"],
        "file_ending": ".nii.gz",
    }
    fake.write_json(raw / "dataset.json", content)


OWN = {
    "nnUNetv2_accumulate_crossval_results": accumulate,
    "nnUNetv2_convert_MSD_dataset": convert,
    "nnUNetv2_move_plans_between_datasets": move_plans,
    "nnUNetv2_predict": predict,
}

if __name__ == "__main__":
    main()
