"""What a training recorded is drawn as a grid of gates by epochs."""

import json

import numpy as np
import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.evolution import draw_evolution, draw_evolution_of_fold

LABELS = {"background": 0, "organ": 1}


def record(fold, epoch: int, shape=(3, 4, 5)) -> None:
    """One patch as training writes it, with a gate on its grid and one on a coarser grid."""
    (fold / "attention").mkdir(parents=True, exist_ok=True)
    image = np.arange(np.prod(shape), dtype=np.float16).reshape(shape)
    np.savez_compressed(
        fold / "attention" / f"epoch_{epoch:04d}.npz",
        spacing_mm=np.array([3.0, 2.0, 1.0][-len(shape) :]),
        **{
            "0_case": np.array("liver_1"),
            "0_image": image,
            "0_reference": (image > 20).astype(np.int16),
            "0_gate_0": np.full([max(1, size // 2) for size in shape], 0.5, np.float16),
            "0_gate_1": np.full(shape, 0.1 * epoch, np.float16),
        },
    )


@pytest.fixture
def fold(tmp_path):
    """A fold's folder in that of a model."""
    model = tmp_path / "model"
    record(model / "fold_0", 1)
    record(model / "fold_0", 2)
    (model / "dataset.json").write_text(json.dumps({"labels": LABELS}))
    return model / "fold_0"


@pytest.fixture
def drawn(monkeypatch):
    """Figures instead of files."""
    figures = []
    monkeypatch.setattr(
        "nnunet_attention.maps.evolution.save_png", lambda figure, path: figures.append(figure)
    )
    return figures


def images(panel) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in panel.get_images()]


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)], ids=["3-D", "2-D"])
def test_rows_are_gates_and_columns_epochs_beside_the_reference(tmp_path, drawn, shape):
    record(tmp_path, 3, shape)
    record(tmp_path, 7, shape)
    (path,) = draw_evolution(tmp_path, tmp_path / "pictures", LABELS)
    assert path == tmp_path / "pictures" / "evolution_liver_1.png"
    (figure,) = drawn
    panels = np.array(figure.axes[:6]).reshape(2, 3)
    assert [panel.get_title() for panel in panels[0]] == ["reference", "epoch 3", "epoch 7"]
    assert "liver_1: attention coefficients" in figure.get_suptitle()
    # The image lies below; above it are the coefficients, all on its grid.
    for row, values in enumerate(((0.5, 0.5), (0.3, 0.7))):
        for panel, value in zip(panels[row, 1:], values, strict=True):
            below, above = images(panel)
            assert below.shape == above.shape == shape[-2:]
            np.testing.assert_allclose(above, value, atol=1e-3)


def test_a_row_has_one_scale_for_all_epochs(tmp_path, drawn):
    record(tmp_path, 3)
    record(tmp_path, 7)
    draw_evolution(tmp_path, tmp_path, LABELS)
    panels = np.array(drawn[0].axes[:6]).reshape(2, 3)
    limits = {panel.get_images()[1].get_clim() for panel in panels[1, 1:]}
    assert len(limits) == 1
    assert next(iter(limits)) == pytest.approx((0.3, 0.7), abs=1e-3)


def test_other_patches_are_not_drawn_together(tmp_path):
    record(tmp_path, 1)
    record(tmp_path, 2, (3, 4, 6))
    with pytest.raises(CommandError, match="epoch 2 was recorded on different patches"):
        draw_evolution(tmp_path, tmp_path, LABELS)


def test_of_a_fold_the_labels_and_the_place_are_the_models(fold):
    assert draw_evolution_of_fold(fold) == [fold / "attention" / "evolution_liver_1.png"]
    assert (fold / "attention" / "evolution_liver_1.png").read_bytes().startswith(b"\x89PNG")


def test_below_the_grid_stands_how_to_read_a_coefficient(tmp_path, drawn):
    model = tmp_path / "AttentionUNetTrainer__Attention_nnUNetPlans__2d_small"
    record(model / "fold_0", 1)
    (model / "dataset.json").write_text(json.dumps({"labels": LABELS}))
    architecture = {"network_class_name": "", "arch_kwargs": {"gate_start": "open"}}
    configurations = {"2d": {"architecture": architecture}, "2d_small": {"inherits_from": "2d"}}
    (model / "plans.json").write_text(
        json.dumps({"plans_name": "P", "configurations": configurations})
    )
    draw_evolution_of_fold(model / "fold_0")
    assert drawn[0].get_supxlabel().startswith("These gates started at 0.95: near 1")


def test_pictures_go_where_they_are_asked_to(fold, tmp_path):
    paths = draw_evolution_of_fold(fold, tmp_path / "elsewhere")
    assert paths == [tmp_path / "elsewhere" / "evolution_liver_1.png"]


def test_a_fold_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CommandError, match="fold_9: there is no such folder"):
        draw_evolution_of_fold(tmp_path / "fold_9")
