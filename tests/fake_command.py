"""Stands in for nnU-Net's commands: the same files, step by step, in seconds.

It writes in place and slowly, as nnU-Net does, and refuses what is half written. A journal beside
each fold says what was done. Run with -S -E and nothing but the standard library: it starts fast.
"""

import fcntl
import io
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

RAW, PREPROCESSED, RESULTS = (
    Path(os.environ[name]) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
)
EPOCHS = int(os.environ.get("FAKE_EPOCHS", "3"))
CHECKPOINT_BYTES = int(os.environ.get("FAKE_CHECKPOINT_BYTES", "5000"))
SECONDS = float(os.environ.get("FAKE_SECONDS", "0.01"))


def main() -> None:
    name, *arguments = sys.argv[1:]
    broken = os.environ.get("FAKE_FAILURE", "")
    if broken and broken in " ".join([name, *arguments]):
        print("line before the last")
        raise SystemExit("RuntimeError: made to fail")
    if name != "nnUNetv2_train" and {**os.environ}.get("nnUNet_n_proc_DA") == "0":
        # So end nnU-Net's planners, which set that many threads.
        raise SystemExit("RuntimeError: set_num_threads expects a positive integer")
    {
        "nnUNetv2_extract_fingerprint": fingerprint,
        "nnUNetv2_plan_experiment": plan,
        "nnUNetv2_preprocess": preprocess,
        "nnUNetv2_train": train,
        "nnUNetv2_accumulate_crossval_results": accumulate,
    }[name](arguments)


def option(arguments, letter, default=None):
    return arguments[arguments.index(letter) + 1] if letter in arguments else default


def numbered(arguments) -> str:
    start = f"Dataset{int(option(arguments, '-d')):03d}_"
    return next(path.name for path in RAW.iterdir() if path.name.startswith(start))


def write_slowly(path: Path, content: bytes) -> None:
    """In two halves, with time for a kill between them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for half in (content[: len(content) // 2], content[len(content) // 2 :]):
            file.write(half)
            file.flush()
            time.sleep(SECONDS / 2)


def write_json(path: Path, content) -> None:
    write_slowly(path, json.dumps(content).encode())


def read_json(path: Path):
    return json.loads(path.read_text())


def cases(dataset: str) -> list[str]:
    return sorted(
        path.name.removesuffix(".nii.gz") for path in (RAW / dataset / "labelsTr").iterdir()
    )


def fingerprint(arguments) -> None:
    target = PREPROCESSED / numbered(arguments) / "dataset_fingerprint.json"
    if target.exists() and "--clean" not in arguments:
        read_json(target)
        return
    write_json(target, {"spacings": [[3, 2, 1]]})


def plan(arguments) -> None:
    dataset = numbered(arguments)
    read_json(PREPROCESSED / dataset / "dataset_fingerprint.json")
    target = PREPROCESSED / dataset / "nnUNetPlans.json"
    if target.exists():
        read_json(target)
    write_json(PREPROCESSED / dataset / "dataset.json", read_json(RAW / dataset / "dataset.json"))
    configurations = {
        "3d_fullres": {"data_identifier": "nnUNetPlans_3d_fullres", "patch_size": [4, 8, 16]},
        "3d_lowres": {
            "data_identifier": "nnUNetPlans_3d_lowres",
            "patch_size": [4, 8, 16],
            "next_stage": "3d_cascade_fullres",
        },
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    content = {
        "dataset_name": dataset,
        "plans_name": "nnUNetPlans",
        "configurations": configurations,
    }
    write_json(target, content)


def preprocess(arguments) -> None:
    dataset, configuration = numbered(arguments), option(arguments, "-c")
    plans = read_json(PREPROCESSED / dataset / "nnUNetPlans.json")
    data = PREPROCESSED / dataset / plans["configurations"][configuration]["data_identifier"]
    if data.exists():
        for path in data.iterdir():
            path.unlink()
    for case in cases(dataset):
        write_slowly(data / f"{case}.b2nd", b"whole")
        write_slowly(data / f"{case}.pkl", b"whole")
    for case in cases(dataset):
        write_slowly(PREPROCESSED / dataset / "gt_segmentations" / f"{case}.nii.gz", b"whole")


def checkpoint(epoch: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("checkpoint/data.pkl", json.dumps({"current_epoch": epoch}))
        archive.writestr("checkpoint/data/0", random.randbytes(CHECKPOINT_BYTES))
    return content.getvalue()


def load(path: Path) -> int:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("checkpoint/data.pkl"))["current_epoch"]


def train(arguments) -> None:
    dataset, configuration, fold = arguments[:3]
    trainer = option(arguments, "-tr", "nnUNetTrainer")
    plans_name = option(arguments, "-p", "nnUNetPlans")
    plans = read_json(PREPROCESSED / dataset / f"{plans_name}.json")
    chosen = plans["configurations"][configuration]
    identifier = chosen.get("data_identifier", "nnUNetPlans_3d_fullres")
    for path in (PREPROCESSED / dataset / identifier).iterdir():
        assert path.read_bytes() == b"whole", path
    if fold == "all":
        validated = cases(dataset)
    else:
        splits = read_json(PREPROCESSED / dataset / "splits_final.json")
        validated = splits[int(fold)]["val"]
    model = RESULTS / dataset / f"{trainer}__{plans_name}__{configuration}"
    folder = model / f"fold_{fold}"
    folder.mkdir(parents=True, exist_ok=True)
    if configuration == "3d_cascade_fullres":
        before = RESULTS / dataset / f"{trainer}__{plans_name}__3d_lowres" / "predicted_next_stage"
        there = {path.stem for path in (before / configuration).iterdir()}
        assert there >= set(splits[int(fold)]["train"]), "the first stage is not complete"
    with (
        (folder / "training_log_2026_1_2_03_04_05.txt").open("a") as log,
        (folder / "journal.txt").open("a") as journal,
    ):
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            note(journal, "overlap")
            raise
        worker = subprocess.Popen(["sleep", "300"])
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
        seed = os.environ.get("NNUNET_ATTENTION_SEED")
        seeded = "" if seed is None else f", seed {seed}"
        note(journal, f"begin {' '.join(arguments)} on {device}{seeded}")
        if "--val" not in arguments:
            train_epochs(folder, model, plans, dataset, log, journal, "--c" in arguments)
        load(folder / "checkpoint_final.pth")
        validate(folder, model, validated, log, chosen)
        note(journal, "validated")
        worker.kill()


def train_epochs(folder, model, plans, dataset, log, journal, go_on) -> None:
    epoch = 0
    names = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
    present = [folder / name for name in names if (folder / name).exists()]
    if go_on and present:
        epoch = load(present[0])
    elif present:
        note(journal, "afresh in spite of a checkpoint")
    write_json(model / "plans.json", plans)
    write_json(model / "dataset.json", read_json(PREPROCESSED / dataset / "dataset.json"))
    write_json(folder / "debug.json", {"num_epochs": str(EPOCHS)})
    hangs = int(os.environ.get("FAKE_HANG", EPOCHS)) if not go_on else EPOCHS
    while epoch < EPOCHS:
        if epoch == hangs:
            time.sleep(1000)
        say(log, f"Epoch {epoch} ")
        time.sleep(SECONDS)
        note(journal, f"epoch {epoch}")
        say(log, f"Pseudo dice [np.float32(0.{epoch}), np.float32(nan)] ")
        say(log, f"Epoch time: {SECONDS} s ")
        epoch += 1
        if epoch < EPOCHS:
            write_slowly(folder / "checkpoint_latest.pth", checkpoint(epoch))
        if epoch == 1:
            write_slowly(folder / "checkpoint_best.pth", checkpoint(epoch))
    write_slowly(folder / "checkpoint_final.pth", checkpoint(EPOCHS))
    note(journal, "trained")
    (folder / "checkpoint_latest.pth").unlink(missing_ok=True)
    say(log, "Training done. ")


def validate(folder, model, names, log, chosen) -> None:
    kept = json.loads(os.environ.get("NNUNET_ATTENTION_KEPT_CASES", "[]"))
    for name in names:
        if name in kept:
            continue
        say(log, f"predicting {name} ")
        write_slowly(folder / "validation" / f"{name}.nii.gz", b"whole")
        following = chosen.get("next_stage")
        if following:
            write_slowly(model / "predicted_next_stage" / following / f"{name}.b2nd", b"whole")
    # As nnU-Net: whatever lies there is evaluated.
    found = (path.name for path in sorted((folder / "validation").glob("*.nii.gz")))
    evaluated = [name.removesuffix(".nii.gz") for name in found]
    write_json(folder / "validation" / "summary.json", summary(folder / "validation", evaluated))
    say(log, "Validation complete ")


def summary(folder: Path, names) -> dict:
    metrics = {
        "1": {
            "Dice": 0.5,
            "IoU": 1 / 3,
            "TP": 1,
            "FP": 1,
            "FN": 1,
            "TN": 1,
            "n_pred": 2,
            "n_ref": 2,
        }
    }
    entries = [
        {
            "prediction_file": str(folder / f"{name}.nii.gz"),
            "reference_file": f"/references/{name}.nii.gz",
            "metrics": metrics,
        }
        for name in names
    ]
    return {"metric_per_case": entries, "mean": metrics, "foreground_mean": metrics["1"]}


def accumulate(arguments) -> None:
    trainer, plans, configuration = (option(arguments, letter) for letter in ("-tr", "-p", "-c"))
    folds = arguments[arguments.index("-f") + 1 :]
    model = RESULTS / arguments[0] / f"{trainer}__{plans}__{configuration}"
    target = model / f"crossval_results_folds_{'_'.join(folds)}"
    names = []
    for fold in folds:
        for path in (model / f"fold_{fold}" / "validation").glob("*.nii.gz"):
            assert path.read_bytes() == b"whole", path
            write_slowly(target / path.name, path.read_bytes())
            names.append(path.name.removesuffix(".nii.gz"))
    write_json(target / "summary.json", summary(target, names))


def note(journal, text: str) -> None:
    os.write(journal.fileno(), f"{os.getpid()} {text}\n".encode())


def say(log, text: str) -> None:
    log.write(f"2026-01-02 03:04:05.000000: {text}\n")
    log.flush()


if __name__ == "__main__":
    main()
