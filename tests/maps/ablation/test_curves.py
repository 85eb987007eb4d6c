"""Skips are shut, and let through, block by block in the order that is asked for."""

import numpy as np
import pytest
import torch
from distractor_network import DistractorNetwork, box, write_case
from pointwise_network import initialize, pointwise_plans

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.ablation import AblationCase, AblationPredictor, AblationSettings
from nnunet_attention.maps.ablation.curves import check_curve_metric, deletion_curves, ranks_of
from nnunet_attention.maps.ablation.randomised import with_random_gates
from nnunet_attention.maps.ablation.substitutes import next_of_another_group, seed_of
from nnunet_attention.maps.ablation.substitutes import uniform_levels as levels_of

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (4, 9, 18)
ORGANS = {"one": box(SHAPE, (1, 3), (2, 7), (3, 9)), "two": box(SHAPE, (0, 2), (1, 5), (2, 12))}
DISTRACTOR = box(SHAPE, (0, 4), (7, 9), (14, 18))


@pytest.fixture
def predictor(minimal_plans) -> AblationPredictor:
    plans = pointwise_plans(
        minimal_plans,
        normalization_schemes=["NoNormalization"] * 2,
        use_mask_for_norm=[False, False],
        foreground_intensity_properties_per_channel={"0": {}, "1": {}},
    )
    predictor = AblationPredictor(device=torch.device("cpu"), allow_tqdm=False, use_mirroring=False)
    return initialize(predictor, plans, DistractorNetwork(), channel_names={"0": "a", "1": "b"})


def test_a_curve_is_what_is_left_of_the_organ(predictor, tmp_path):
    cases = []
    for name, organ in ORGANS.items():
        write_case(tmp_path, name, organ, DISTRACTOR)
        images = tuple(tmp_path / f"images/{name}_{n:04d}.nii.gz" for n in range(2))
        cases.append(AblationCase(name, images, tmp_path / f"labels/{name}.nii.gz"))
    table = deletion_curves(predictor, cases, AblationSettings(seed=4), steps=4)
    # 2 cases, 3 orders, 2 directions, 5 shares.
    assert len(table) == 2 * 3 * 2 * 5
    ends = {
        ("deletion", 0.0): 1,
        ("deletion", 1.0): 0,
        ("insertion", 0.0): 0,
        ("insertion", 1.0): 1,
    }
    for (direction, share), rows in table.groupby(["direction", "share"]):
        if (direction, share) in ends:
            assert (rows["value"] == ends[direction, share]).all()
    # A voxel is a block. The distractor's coefficients are 0, and stay so.
    alpha = np.where(DISTRACTOR, 0.0, 1.0)
    for name, organ in ORGANS.items():
        seed = [*seed_of(name, 4), 0, 0]
        for order, importance in (("random", None), ("attention", alpha)):
            ranks = ranks_of(importance, SHAPE, seed)
            for direction in ("deletion", "insertion"):
                for share in (0.25, 0.5, 0.75):
                    first = ranks < round(share * ranks.size)
                    left = int((organ & (first if direction == "insertion" else ~first)).sum())
                    row = table[
                        (table["case"] == name)
                        & (table["order"] == order)
                        & (table["direction"] == direction)
                        & (table["share"] == share)
                    ]
                    wanted = 2 * left / (left + int(organ.sum()))
                    assert row["value"].tolist() == [pytest.approx(wanted)]


def test_the_most_important_comes_first_and_ties_are_drawn():
    importance = np.array([[[0.2, 0.9, 0.2], [0.5, 0.0, 0.2]]])
    ranks = ranks_of(importance, importance.shape, [0])
    assert ranks[0, 0, 1] == 0
    assert ranks[0, 1, 0] == 1
    assert ranks[0, 1, 1] == 5
    assert {ranks[0, 0, 0], ranks[0, 0, 2], ranks[0, 1, 2]} == {2, 3, 4}
    ties = {tuple(ranks_of(importance, importance.shape, [seed])[0, 0]) for seed in range(20)}
    assert len(ties) > 2
    drawn = ranks_of(None, (1, 2, 3), [0])
    assert sorted(drawn.ravel()) == list(range(6))
    assert not np.array_equal(drawn, ranks_of(None, (1, 2, 3), [1]))


def test_the_next_case_of_another_patient_follows_the_last():
    cases = ["c", "a", "b", "d"]
    assert [next_of_another_group(case, cases) for case in "abcd"] == ["b", "c", "d", "a"]
    groups = {"a": "x", "b": "x", "c": "y", "d": "x"}
    assert [next_of_another_group(case, cases, groups) for case in "abcd"] == ["c", "c", "d", "c"]
    with pytest.raises(CommandError, match="other_case needs a second case of another patient"):
        next_of_another_group("a", ["a", "b"], groups)


def test_each_image_counts_alike_in_the_number_for_all():
    # Two images, one fold, two gates.
    assert levels_of([[[0.2, 0.1]], [[0.6, 0.1]]]) == [[pytest.approx(0.4), 0.1]]


def test_random_gates_change_the_gates_alone():
    network = DistractorNetwork()
    network.other = torch.nn.Linear(2, 2)
    weights = network.state_dict()
    before = {name: values.clone() for name, values in weights.items()}
    drawn = with_random_gates(network, weights, seed=1)
    assert all(values.equal(before[name]) for name, values in weights.items())
    for name, values in drawn.items():
        if "gates" not in name:
            assert values.equal(before[name])
        elif name.endswith("bias"):
            assert (values == 0).all()
        else:
            assert not values.equal(before[name])
    again = with_random_gates(network, weights, seed=1)
    assert all(again[name].equal(values) for name, values in drawn.items())
    assert not with_random_gates(network, weights, seed=2)["gates.0.phi.weight"].equal(
        drawn["gates.0.phi.weight"]
    )


@pytest.mark.parametrize("metric", ["hd95_mm", "assd_mm", "precision"])
def test_a_curve_of_a_metric_that_needs_a_prediction_is_refused(metric):
    with pytest.raises(CommandError, match=f"{metric} is undefined where nothing is predicted"):
        check_curve_metric(AblationSettings(metrics=(metric, "dice")))
    check_curve_metric(AblationSettings(metrics=("dice", metric)))
