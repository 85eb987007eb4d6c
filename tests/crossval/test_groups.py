"""Groups of cases stay together in splits that are made, and torn ones are not passed over."""

import json
import os
from functools import partial

import pytest
from fake_nnunet import DATASET, FakeNnunet, nnunet, plan

from nnunet_attention.cli import crossval as command
from nnunet_attention.cli import main
from nnunet_attention.crossval import missing_steps, notes, run, with_groups
from nnunet_attention.errors import CommandError
from nnunet_attention.evaluation.statistics.groups import (
    groups_by_pattern_and_dataset,
    read_groups_by_dataset,
)
from nnunet_attention.nnunet.grouped_splits import grouped_splits

__all__ = ["nnunet"]  # the fixture

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins are POSIX scripts")

PATIENTS = "Dataset902_Patients"
PATTERN = r"(patient\d+)"
BY_PATTERN = partial(groups_by_pattern_and_dataset, PATTERN)


def add_patients(nnunet: FakeNnunet, dataset: str = PATIENTS, patients: int = 6) -> list[str]:
    """A data set with two images of each patient."""
    nnunet.add_dataset(dataset, 0)
    cases = [
        f"patient{patient:03d}_frame{frame:02d}"
        for patient in range(patients)
        for frame in (1, 7 + patient)
    ]
    raw = nnunet.folders.raw_dataset(dataset)
    for case in cases:
        (raw / "imagesTr" / f"{case}_0000.nii.gz").write_bytes(b"image")
        (raw / "labelsTr" / f"{case}.nii.gz").write_bytes(b"labels")
    description = json.loads((raw / "dataset.json").read_text())
    (raw / "dataset.json").write_text(json.dumps({**description, "numTraining": len(cases)}))
    return cases


def patients_plan(**changes):
    entries = {"datasets": (PATIENTS,), "folds": None, "models": (("TrainerA", "nnUNetPlans"),)}
    return plan(**{**entries, **changes})


def splits_of(nnunet: FakeNnunet, dataset: str = PATIENTS) -> list[dict]:
    return json.loads(nnunet.folders.splits(dataset).read_text())


def write_splits(nnunet: FakeNnunet, splits, dataset: str = PATIENTS) -> None:
    path = nnunet.folders.splits(dataset)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(splits))


def torn_splits(cases):
    """Each patient's two images on two sides."""
    return [{"train": cases[::2], "val": cases[1::2]}, {"train": cases[1::2], "val": cases[::2]}]


def patient(case: str) -> str:
    return case.partition("_")[0]


def test_no_patient_is_in_train_and_val_of_a_whole_crossvalidation(nnunet, monkeypatch):
    monkeypatch.setenv("FAKE_SECONDS", "0")
    cases = add_patients(nnunet)
    arguments = ("-d", "902", "-tr", "TrainerA", "-device", "cpu", "--at-once", "2")
    arguments = (*arguments, "--no-leaderboard", "--group-by", PATTERN)
    assert main(["crossval", *arguments]) == 0
    splits = splits_of(nnunet)
    assert len(splits) == 5
    for split in splits:
        assert sorted(split["train"] + split["val"]) == cases
        assert not set(map(patient, split["train"])) & set(map(patient, split["val"]))
    assert sorted(case for split in splits for case in split["val"]) == cases
    # nnU-Net's own division, of patients.
    assert splits == grouped_splits({case: patient(case) for case in cases})
    model = nnunet.folders.model(PATIENTS, "TrainerA", "nnUNetPlans", "3d_fullres")
    validated = [
        sorted(path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz"))
        for folder in (model / f"fold_{fold}" / "validation" for fold in range(5))
    ]
    assert validated == [sorted(split["val"]) for split in splits]


def test_groups_of_a_file_may_be_those_of_several_data_sets(nnunet, tmp_path):
    cases = add_patients(nnunet)
    numbered = [f"case_{number:02d}" for number in range(10)]
    path = tmp_path / "groups.csv"
    rows = [f"{case},{patient(case)}" for case in cases]
    rows += [f"{case},pair {number // 2}" for number, case in enumerate(numbered)]
    path.write_text("\n".join(["case,group", *rows]))
    wanted = with_groups(
        patients_plan(datasets=(DATASET, PATIENTS)),
        nnunet.folders,
        partial(read_groups_by_dataset, path),
    )
    assert set(wanted.groups[DATASET]) == set(numbered)
    assert wanted.groups[PATIENTS] == {case: patient(case) for case in cases}
    remarks = [step.remark for step in missing_steps(wanted, nnunet.folders) if step.remark]
    assert remarks[0] == "5 groups of 10 cases"
    assert "6 groups of 12 cases" in remarks


def test_data_sets_whose_cases_are_called_alike_are_split_by_their_own_groups(
    nnunet, tmp_path, monkeypatch
):
    monkeypatch.setenv("FAKE_SECONDS", "0")
    cases = add_patients(nnunet)
    add_patients(nnunet, "Dataset903_More", 6)
    path = tmp_path / "groups.csv"
    rows = [f"902,{case},{patient(case)}" for case in cases]
    # Here the first images are of one half of the patients, and the second of the other.
    rows += [f"903,{case},{case[-2:]} {number // 4}" for number, case in enumerate(cases)]
    path.write_text("\n".join(["dataset,case,group", *rows]))
    options = ("-d", "902", "903", "-c", "3d_fullres", "-tr", "TrainerA", "-f", "0")
    options = (*options, "-device", "cpu", "--no-leaderboard", "--groups", str(path))
    assert main(["crossval", *options]) == 0
    assert splits_of(nnunet) == grouped_splits({case: patient(case) for case in cases})
    more = json.loads(nnunet.folders.splits("Dataset903_More").read_text())
    own = {case: f"{case[-2:]} {number // 4}" for number, case in enumerate(cases)}
    assert more == grouped_splits(own)
    assert more != splits_of(nnunet)


def test_a_case_without_a_group_is_refused(nnunet, tmp_path):
    cases = add_patients(nnunet)
    path = tmp_path / "groups.csv"
    path.write_text("\n".join(["case,group", *(f"{case},{patient(case)}" for case in cases[1:])]))
    with pytest.raises(CommandError, match=f"1 case without a row, such as {cases[0]}"):
        with_groups(patients_plan(), nnunet.folders, partial(read_groups_by_dataset, path))


def test_too_few_groups_for_the_folds_are_refused_and_nothing_written(nnunet):
    add_patients(nnunet, patients=4)
    outcome = run(with_groups(patients_plan(), nnunet.folders, BY_PATTERN))
    (message,) = outcome.failed.values()
    assert "8 cases are in only 4 groups, but 5 folds need at least one group each" in message
    assert not nnunet.folders.splits(PATIENTS).exists()


def test_splits_that_tear_groups_apart_are_refused_with_both_remedies(nnunet):
    write_splits(nnunet, torn_splits(add_patients(nnunet)))
    wanted = with_groups(patients_plan(), nnunet.folders, BY_PATTERN)
    with pytest.raises(CommandError) as caught:
        missing_steps(wanted, nnunet.folders)
    path = nnunet.folders.splits(PATIENTS)
    assert str(caught.value) == (
        f"{path} tears 6 of 6 groups apart, such as patient000, with cases in both train and "
        "val of a fold; give --keep-splits to use these splits, or, if no fold has been trained "
        "with them, remove the file to get new ones that keep groups together"
    )


def test_splits_that_keep_groups_together_are_taken_as_they_are(nnunet):
    cases = add_patients(nnunet)
    write_splits(nnunet, [{"train": cases[:8], "val": cases[8:]}])
    wanted = with_groups(patients_plan(), nnunet.folders, BY_PATTERN)
    assert not [step for step in missing_steps(wanted, nnunet.folders) if step.kind == "splits"]
    assert notes(wanted, nnunet.folders) == []


def test_torn_groups_are_named_where_the_splits_are_kept(nnunet, capsys):
    torn = torn_splits(add_patients(nnunet))
    write_splits(nnunet, torn)
    arguments = ("crossval", "-d", "902", "-tr", "TrainerA", "--group-by", PATTERN, "--dry-run")
    assert main([*arguments, "--keep-splits"]) == 0
    note = capsys.readouterr().err
    assert "note: " in note
    assert "tears 6 of 6 groups apart, such as patient000" in note
    assert note.endswith("kept as it is\n")
    assert splits_of(nnunet) == torn
    assert main([*arguments]) == 1


def test_the_leaderboard_gets_the_groups_too(nnunet, capsys):
    add_patients(nnunet)
    arguments = ("crossval", "-d", "902", "-tr", "TrainerA", "--group-by", PATTERN, "--dry-run")
    assert main(arguments) == 0
    listed = capsys.readouterr().out
    assert f"--group-by '{PATTERN}' -o " in listed.splitlines()[-1]


def test_the_leaderboard_needs_no_file_that_is_gone_by_then(nnunet, tmp_path, monkeypatch):
    cases = {name: add_patients(nnunet, name, 5) for name in (PATIENTS, "Dataset903_More")}
    file = tmp_path / "groups.csv"
    rows = "".join(f"{case},{case[:10]}\n" for case in cases[PATIENTS])
    file.write_text(f"case,group\n{rows}")
    boards = []

    def trained(*given):
        file.unlink()
        return 0

    monkeypatch.setattr(command, "execute", trained)
    monkeypatch.setattr(command, "show_leaderboard", lambda *given, groups: boards.append(groups))
    options = ("-d", PATIENTS, "Dataset903_More", "-c", "3d_fullres", "-tr", "TrainerA", "-f", "0")
    assert main(["crossval", *options, "-device", "cpu", "--groups", str(file)]) == 0
    (groups,) = boards
    some = cases[PATIENTS][:3]
    known = dict(zip(some, ["patient000", "patient000", "patient001"], strict=True))
    assert groups({PATIENTS: some}) == {PATIENTS: known}


def test_names_that_look_grouped_are_noted_before_the_split_alone(nnunet):
    cases = add_patients(nnunet)
    (note,) = notes(patients_plan(), nnunet.folders)
    assert "12 cases have 6 stems (such as patient000 of" in note
    assert "give --groups FILE.csv or --group-by" in note
    assert notes(patients_plan(folds=("all",)), nnunet.folders) == []
    assert notes(plan(), nnunet.folders) == []
    write_splits(nnunet, torn_splits(cases))
    assert notes(patients_plan(), nnunet.folders) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--keep-splits",), "--keep-splits would be ignored without --groups or --group-by"),
        (("--group-by", "(c)", "-f", "all"), "--group-by would be ignored with -f all"),
        (
            ("--group-by", "case"),
            "--group-by 'case' has no group; put the part that names the patient",
        ),
        (("--groups", "absent.csv"), "--groups absent.csv: there is no such file"),
    ],
)
def test_options_of_groups_that_change_nothing_or_are_wrong_are_refused(
    nnunet, capsys, options, message
):
    assert main(["crossval", "-d", "901", "-tr", "TrainerA", "--dry-run", *options]) == 1
    assert message in capsys.readouterr().err


def test_a_file_of_all_patients_may_name_those_of_a_test_set(nnunet, tmp_path, capsys):
    cases = add_patients(nnunet)
    file = tmp_path / "groups.csv"
    rows = [f"{case},{patient(case)}" for case in [*cases, "patient900_frame01"]]
    file.write_text("\n".join(["case,group", *rows]))
    arguments = ("crossval", "-d", "902", "-tr", "TrainerA", "--dry-run", "--groups", str(file))
    assert main(arguments) == 0
    assert f"{PATIENTS} splits [6 groups of 12 cases]" in capsys.readouterr().out


def test_a_case_whose_row_has_another_name_is_named(nnunet, tmp_path, capsys):
    cases = add_patients(nnunet)
    file = tmp_path / "groups.csv"
    rows = [f"{case},{patient(case)}" for case in ["patiant000_frame01", *cases[1:]]]
    file.write_text("\n".join(["case,group", *rows]))
    arguments = ("crossval", "-d", "902", "-tr", "TrainerA", "--dry-run", "--groups", str(file))
    assert main(arguments) == 1
    assert (
        f"--groups {file}: 1 case without a row, such as patient000_frame01; add them"
        in capsys.readouterr().err
    )
