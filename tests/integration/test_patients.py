"""Two images a patient, from raw data to the page: trained twice and compared by patient."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from nnunet_commands import NnunetFolders
from scipy import stats
from shared_data import HIPPOCAMPUS, needs
from two_images_a_patient import write_two_images_a_patient

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive, needs(HIPPOCAMPUS)]

DATASET = "Dataset701_Frames"
TRAINERS = ("nnUNetTrainer_short", "AttentionUNetTrainer_short")
PATTERN = r"(patient\d+)"
FOLDS = (0,)
SCHEDULE = "1,2,1"


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """A finished cross-validation with two trainings of each fold."""
    folders = NnunetFolders(tmp_path_factory.mktemp("patients"))
    write_two_images_a_patient(HIPPOCAMPUS, folders.raw / DATASET, patients=20)
    folders.run("nnUNetv2_extract_fingerprint", "-d", 701, "-np", 1)
    folders.run("nnUNetv2_plan_experiment", "-d", 701, "-gpu_memory_target", 0.05)
    narrow(folders)
    folders.run(
        *(
            "nnunet-attention",
            "crossval",
            "-d",
            701,
            "-c",
            "3d_fullres",
            "-tr",
            *TRAINERS,
            "-f",
            *FOLDS,
        ),
        *("-device", "cpu", "-np", 1, "--group-by", PATTERN, "--repeats", 2, "--seed", 3),
        *("-o", "out"),
        schedule=SCHEDULE,
    )
    return folders


def narrow(folders: NnunetFolders) -> None:
    """Plan for so few channels and images that a step takes a moment on a CPU."""
    path = folders.preprocessed / DATASET / "nnUNetPlans.json"
    plans = json.loads(path.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    configuration["batch_size"] = 4
    network = configuration["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [8 * 2**stage for stage in range(network["n_stages"])]
    path.write_text(json.dumps(plans))


def repeat_folder(nnunet, repeat: int):
    return nnunet.results if repeat == 1 else nnunet.results / "repeats" / f"repeat_{repeat}"


def model_folder(nnunet, repeat: int, trainer: str):
    return repeat_folder(nnunet, repeat) / DATASET / f"{trainer}__nnUNetPlans__3d_fullres"


def dice_of_cases(nnunet, repeat: int, trainer: str) -> pd.Series:
    """Mean of labels by case, from nnU-Net's own summaries."""
    values = {}
    for fold in FOLDS:
        path = model_folder(nnunet, repeat, trainer) / f"fold_{fold}" / "validation/summary.json"
        for entry in json.loads(path.read_text())["metric_per_case"]:
            case = entry["prediction_file"].rpartition("/")[2].removesuffix(".nii.gz")
            values[case] = np.nanmean([label["Dice"] for label in entry["metrics"].values()])
    return pd.Series(values)


def of_patients(values: pd.Series) -> pd.Series:
    return values.groupby(values.index.str[:10]).mean()


def overall_row(nnunet, folder: str) -> dict:
    record = json.loads((nnunet.root / folder / "leaderboard.json").read_text())
    return next(row for row in record["rows"] if row["is_overall"] and row["metric"] == "dice")


def test_no_patient_is_trained_on_and_validated(nnunet):
    splits = json.loads((nnunet.preprocessed / DATASET / "splits_final.json").read_text())
    assert len(splits) == 5
    for split in splits:
        train, val = ({case[:10] for case in split[part]} for part in ("train", "val"))
        assert not train & val
        assert len(split["val"]) == 2 * len(val) == 8
    for repeat, trainer, fold in product((1, 2), TRAINERS, FOLDS):
        validation = model_folder(nnunet, repeat, trainer) / f"fold_{fold}" / "validation"
        found = {path.name.removesuffix(".nii.gz") for path in validation.glob("*.nii.gz")}
        assert found == set(splits[fold]["val"])


def test_p_on_patients_is_scipys_on_the_patients_means(nnunet):
    said = nnunet.run(
        *("nnunet-attention", "leaderboard", "-d", 701, "-c", "3d_fullres", "-tr", *TRAINERS),
        *("-f", *FOLDS, "--group-by", PATTERN, "-o", "once"),
    )
    assert "4 (8)" in said
    stock, attention = (of_patients(dice_of_cases(nnunet, 1, trainer)) for trainer in TRAINERS)
    row = overall_row(nnunet, "once")
    (comparison,) = row["comparisons"]
    assert comparison["p_value"] == stats.wilcoxon(stock - attention).pvalue
    assert comparison["mean_difference"] == pytest.approx((stock - attention).mean(), abs=1e-12)
    assert (row["groups"], row["cases"]) == (4, 8)


def test_the_leaderboard_of_crossval_is_over_patients_and_trainings(nnunet):
    row = overall_row(nnunet, "out/leaderboard")
    assert (row["groups"], row["cases"]) == (4, 8)
    for trainer in TRAINERS:
        entry = row["models"][trainer]
        trainings = [of_patients(dice_of_cases(nnunet, repeat, trainer)) for repeat in (1, 2)]
        assert entry["trainings"]["means"] == pytest.approx([each.mean() for each in trainings])
        assert entry["mean"] == pytest.approx(np.mean([each.mean() for each in trainings]))
    (comparison,) = row["comparisons"]
    assert comparison["trainings"]["repeats"] == [2, 2]


def test_only_trainings_with_seeds_of_their_own_differ_by_seed(nnunet):
    seeds = {
        repeat: json.loads(
            (model_folder(nnunet, repeat, TRAINERS[1]) / "fold_0" / "seed.json").read_text()
        )["seed"]
        for repeat in (1, 2)
    }
    assert seeds == {1: 3, 2: 4}


def test_the_page_shows_patients_and_trainings(nnunet, browser):
    page = browser.open(nnunet.root / "out" / "leaderboard" / "leaderboard.html")
    head = page.locator("body").text_content()
    assert "8 cases in 4 groups" in head
    assert "means of 2 trainings each" in head


def test_evaluate_counts_the_patients_of_a_fold(nnunet):
    validation = model_folder(nnunet, 2, TRAINERS[1]) / "fold_0" / "validation"
    target = nnunet.root / "evaluated.json"
    nnunet.run(
        *("nnunet-attention", "evaluate", "-gt", nnunet.raw / DATASET / "labelsTr", "--chill"),
        *("-pred", validation, "-o", target, "-np", 1, "--group-by", PATTERN),
    )
    summary = json.loads(target.read_text())
    for label, means in summary["groups"]["mean"].items():
        dice = {
            entry["prediction_file"].rpartition("/")[2]: entry["metrics"][label]["Dice"]
            for entry in summary["metric_per_case"]
        }
        assert means["Dice"]["groups"] == 4
        expected = of_patients(pd.Series(dice).dropna()).mean()
        assert means["Dice"]["mean"] == pytest.approx(expected)


def test_stock_nnunet_works_in_the_folder_of_a_repeat(nnunet, tmp_path):
    variables = {"nnUNet_results": str(repeat_folder(nnunet, 2))}
    stock = TRAINERS[0]
    model = model_folder(nnunet, 2, stock)
    before = {path: path.read_bytes() for path in nnunet.results.glob("Dataset*/*/fold_*/*.pth")}
    fold = ("-d", 701, "-c", "3d_fullres", "-f", 0, "-device", "cpu")
    images = tmp_path / "images"
    images.mkdir()
    image = nnunet.raw / DATASET / "imagesTr" / "patient001_frame01_0000.nii.gz"
    (images / image.name).symlink_to(image)
    nnunet.run(
        *("nnUNetv2_predict", "-i", images, "-o", tmp_path / "out", "-tr", stock, *fold),
        variables=variables,
    )
    predicted = SimpleITK.ReadImage(str(tmp_path / "out" / "patient001_frame01.nii.gz"))
    assert predicted.GetSize() == SimpleITK.ReadImage(str(image)).GetSize()

    summary = model / "fold_0" / "validation" / "summary.json"
    metrics = json.loads(summary.read_text())["foreground_mean"]
    summary.unlink()
    nnunet.run(
        *("nnUNetv2_train", 701, "3d_fullres", 0, "-tr", stock, "-device", "cpu", "--val"),
        variables=variables,
    )
    assert json.loads(summary.read_text())["foreground_mean"] == pytest.approx(metrics, nan_ok=True)

    nnunet.run(
        *("nnUNetv2_find_best_configuration", 701, "-c", "3d_fullres", "-tr", stock, "-f", *FOLDS),
        variables=variables,
    )
    inference = repeat_folder(nnunet, 2) / DATASET / "inference_information.json"
    assert json.loads(inference.read_text())["dataset_name_or_id"] == DATASET
    gathered = model / "crossval_results_folds_0"
    assert (gathered / "postprocessing.pkl").is_file()
    # The other repeat's are as they were.
    for path, content in before.items():
        assert path.read_bytes() == content
    assert not (nnunet.results / DATASET / "inference_information.json").exists()
