"""`ablate` against effects worked out by hand, with folds, mirroring and overlapping patches."""

import json
import math

import numpy as np
import pytest
import torch
from distractor_network import DistractorNetwork, box, write_case
from pointwise_network import initialize, pointwise_plans

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.ablation import (
    AblationCase,
    AblationPredictor,
    AblationSettings,
    UnknownGateError,
    ablate,
)
from nnunet_attention.maps.ablation.effects import label_scheme

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (7, 13, 35)
# Per case: organ and distractor; of case one 3 * 7 * 8 = 168 and 2 * 5 * 6 = 60 voxels.
CASES = {
    "one": (box(SHAPE, (1, 4), (2, 9), (3, 11)), box(SHAPE, (4, 6), (1, 6), (20, 26))),
    "three": (box(SHAPE, (2, 4), (2, 6), (3, 8)), box(SHAPE, (3, 5), (5, 10), (25, 33))),
    "two": (box(SHAPE, (0, 2), (0, 5), (18, 24)), box(SHAPE, (4, 7), (6, 10), (4, 9))),
}


@pytest.fixture
def cases(tmp_path) -> list[AblationCase]:
    made = []
    for name, (organ, distractor) in CASES.items():
        write_case(tmp_path, name, organ, distractor)
        images = tuple(tmp_path / f"images/{name}_{n:04d}.nii.gz" for n in range(2))
        made.append(AblationCase(name, images, tmp_path / f"labels/{name}.nii.gz"))
    return made


@pytest.fixture
def predictor(minimal_plans) -> AblationPredictor:
    plans = pointwise_plans(
        minimal_plans,
        normalization_schemes=["NoNormalization"] * 2,
        use_mask_for_norm=[False, False],
        foreground_intensity_properties_per_channel={"0": {}, "1": {}},
    )
    network = DistractorNetwork()
    return initialize(
        AblationPredictor(device=torch.device("cpu"), allow_tqdm=False),
        plans,
        network,
        # Two folds alike: what they average is what each gives.
        parameters=[network.state_dict()] * 2,
        channel_names={"0": "a", "1": "b"},
    )


def dice(tp: int, fp: int, fn: int) -> float:
    return 2 * tp / (2 * tp + fp + fn)


def row(table, case: str, replacement: str, metric: str = "dice"):
    found = table[
        (table["case"] == case)
        & (table["replacement"] == replacement)
        & (table["metric"] == metric)
        & (table["weights"] == "trained")
    ]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.filterwarnings("ignore")
def test_effects_are_those_worked_out_by_hand(predictor, cases):
    done = []
    table = ablate(
        predictor,
        cases,
        AblationSettings(metrics=("dice", "precision", "hd95_mm")),
        on_progress=lambda *numbers: done.append(numbers),
    )
    assert done == [(0, 6), (1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    # One gate, so that all gates together are that one.
    assert set(table["gates"]) == {"0"}
    for name, (organ, distractor) in CASES.items():
        n, d = int(organ.sum()), int(distractor.sum())
        # The mean of the coefficients is above 0.5, and lets everything pass.
        for replacement in ("open", "mean", "uniform"):
            found = row(table, name, replacement)
            assert found["ordinary"] == 1
            assert found["value"] == pytest.approx(dice(n, d, 0))
            assert found["difference"] == pytest.approx(dice(n, d, 0) - 1)
            assert found["changed_share"] == pytest.approx(d / (n + d))
            assert (found["false_positives_gained"], found["false_negatives_gained"]) == (d, 0)
            assert row(table, name, replacement, "precision")["value"] == pytest.approx(n / (n + d))
        shut = row(table, name, "zero")
        assert (shut["value"], shut["difference"], shut["changed_share"]) == (0, -1, 1)
        assert (shut["false_positives_gained"], shut["false_negatives_gained"]) == (0, n)
        assert math.isnan(row(table, name, "zero", "precision")["difference"])
        assert math.isnan(row(table, name, "zero", "hd95_mm")["value"])
        assert row(table, name, "open", "hd95_mm")["value"] > 10
    # Another's map shuts where the other's distractor lies: the next in the order of names.
    for name, other in (("one", "three"), ("three", "two"), ("two", "one")):
        organ, distractor = CASES[name]
        passed = (organ | distractor) & ~CASES[other][1]
        found = row(table, name, "other_case")
        tp, fp = int((passed & organ).sum()), int((passed & ~organ).sum())
        assert found["value"] == pytest.approx(dice(tp, fp, int(organ.sum()) - tp))
    # Shuffled, the same number of voxels is shut, wherever they are.
    found = row(table, "one", "shuffled")
    assert -0.5 < found["difference"] < 0
    assert found["false_negatives_gained"] > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("bias", "changing"), [(-1.0, "open"), (1.0, "zero"), (30.0, "zero")])
def test_equal_coefficients_have_no_effect_but_by_their_size(predictor, cases, bias, changing):
    """As if no gate had learnt: psi's weight 0. What passes is seen where it is above 0.5."""
    network = DistractorNetwork(bias=bias, slope=0.0)
    predictor.list_of_parameters = [network.state_dict()] * 2
    settings = AblationSettings(metrics=("dice", "hd95_mm"))
    table = ablate(predictor, cases, settings)
    for replacement, rows in table.groupby("replacement"):
        numbers = rows[["difference", "changed_share", "false_positives_gained"]].fillna(0)
        assert (numbers == 0).all(axis=None) == (replacement != changing), replacement


@pytest.mark.filterwarnings("ignore")
def test_sanity_adds_the_same_with_random_weights(predictor, cases, tmp_path):
    chosen = AblationSettings(replacements=("zero", "mean"), seed=3)
    table = ablate(predictor, cases, chosen, sanity=True, store=tmp_path / "store")
    assert set(table["weights"]) == {"trained", "randomised"}
    control = table[table["replacement"] == "random_weights"]
    assert len(control) == 3
    assert set(control["weights"]) == {"trained"}
    assert set(control["gates"]) == {"0"}
    again = ablate(predictor, cases, chosen, sanity=True, store=tmp_path / "store")
    assert again.equals(table)


@pytest.mark.filterwarnings("ignore")
def test_an_interrupted_ablation_goes_on(predictor, cases, tmp_path, monkeypatch):
    store, chosen = tmp_path / "store", AblationSettings(replacements=("open", "zero"))
    wanted = ablate(predictor, cases, chosen)

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(predictor, cases, chosen, store=store, on_progress=interrupt)
    assert len(list(store.rglob("*.npz"))) == 3
    assert [path.name for path in store.rglob("effects/*.json")] == ["one.json"]
    run = []
    predict = AblationPredictor.predict_variants
    monkeypatch.setattr(
        AblationPredictor,
        "predict_variants",
        lambda self, *given: run.append(1) or predict(self, *given),
    )
    # Nothing but the two cases that lack is predicted, in a predictor that has predicted nothing.
    predictor._grids = {}
    assert ablate(predictor, cases, chosen, store=store).equals(wanted)
    assert len(run) == 2
    with pytest.raises(CommandError, match="holds cases of an ablation with different settings"):
        ablate(predictor, cases, AblationSettings(replacements=("open",)), store=store)
    path = next(store.rglob("work.json"))
    assert set(json.loads(path.read_text())["cases"]) == {"one", "two", "three"}


@pytest.mark.filterwarnings("ignore")
def test_another_patients_map_is_taken_where_groups_are_given(predictor, cases):
    groups = {"one": "a", "three": "a", "two": "b"}
    table = ablate(predictor, cases, AblationSettings(replacements=("other_case",), groups=groups))
    organ, distractor = CASES["one"]
    passed = (organ | distractor) & ~CASES["two"][1]
    tp, fp = int((passed & organ).sum()), int((passed & ~organ).sum())
    wanted = dice(tp, fp, int(organ.sum()) - tp)
    assert row(table, "one", "other_case")["value"] == pytest.approx(wanted)


def test_what_cannot_be_done_is_told_before_anything_is_predicted(predictor, cases):
    with pytest.raises(CommandError, match="1 case: at least two"):
        ablate(predictor, cases[:1])
    with pytest.raises(UnknownGateError, match="gate 1: the network has the gate 0"):
        ablate(predictor, cases, AblationSettings(gates=((0, 1),)))
    with pytest.raises(UnknownGateError, match="gate -1"):
        ablate(predictor, cases, AblationSettings(gates=("each", (-1,))))
    with pytest.raises(CommandError, match="unknown replacement 'shut'; choose from: open, "):
        ablate(predictor, cases, AblationSettings(replacements=("shut",)))
    with pytest.raises(CommandError, match="unknown metric 'jaccard'"):
        ablate(predictor, cases, AblationSettings(metrics=("jaccard",)))
    one = dict.fromkeys(CASES, "a")
    with pytest.raises(CommandError, match="all cases are in one group"):
        ablate(predictor, cases, AblationSettings(groups=one))


@pytest.mark.filterwarnings("ignore")
def test_labels_of_another_image_are_refused(predictor, cases, tmp_path):
    write_case(tmp_path, "small", np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool))
    wrong = AblationCase("one", cases[0].images, tmp_path / "labels/small.nii.gz")
    with pytest.raises(CommandError, match=r"case one: .*has shape \(2, 3, 4\), but the image has"):
        ablate(predictor, [wrong, *cases[1:]])


@pytest.mark.filterwarnings("ignore")
def test_what_is_named_twice_counts_once(predictor, cases):
    settings = AblationSettings(replacements=("open", "open"), metrics=("dice", "iou", "dice"))
    assert (settings.replacements, settings.metrics) == (("open",), ("dice", "iou"))
    table = ablate(predictor, cases, settings)
    assert len(table) == len(CASES) * 2
    assert not table.duplicated(["case", "gates", "replacement", "label", "metric"]).any()


@pytest.mark.filterwarnings("ignore")
def test_a_label_has_the_tolerance_of_its_own(predictor, cases):
    """Farther than any surface can be from another, the distractor is within the tolerance."""
    (label,) = label_scheme(predictor).names.values()
    found = {}
    for mm in (2.0, 1000.0):
        settings = AblationSettings(
            replacements=("open",), metrics=("nsd",), label_tolerances_mm={label: mm}
        )
        found[mm] = ablate(predictor, cases, settings)["value"]
    assert (found[2.0] < 1).all()
    assert (found[1000.0] == 1).all()
    wrong = AblationSettings(label_tolerances_mm={"kidney": 1.0})
    with pytest.raises(CommandError, match="kidney"):
        ablate(predictor, cases, wrong)
