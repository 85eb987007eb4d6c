"""What a prediction with maps leaves on disk, and what an interrupted one does not."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK
import torch
from nnunet_commands import voxels
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from pointwise_network import initialize, pointwise_plans, random_image, write_oblique

from nnunet_attention.errors import CommandError
from nnunet_attention.maps import AttentionPredictor, MapOptions
from nnunet_attention.maps.export import CaseExport

pytestmark = pytest.mark.usefixtures("one_thread")
SPACING_MM = (3.0, 2.0, 1.0)


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    for number, case in enumerate(("a", "b", "c")):
        image = random_image((6, 10, 18), border=1, seed=number)
        write_oblique(image, folder / f"{case}_0000.nii.gz", SPACING_MM)
    return folder


@pytest.fixture
def predictor(minimal_plans):
    def build(**options):
        predictor = AttentionPredictor(
            device=torch.device("cpu"),
            allow_tqdm=False,
            options=MapOptions(**{"picture": False, **options}),
        )
        return initialize(predictor, pointwise_plans(minimal_plans))

    return build


def predict(predictor, images, **options):
    out = images.parent / "out"
    predictor.predict_from_files_sequential(str(images), str(out), **options)
    return out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "Gates with the default start began at 0.5"),
        ({"gate_start": "identity"}, "These gates started at 0.5"),
        ({"gate_start": "open"}, "These gates started at 0.95"),
        ({"gate_start": "he"}, "anywhere between 0.2 and 0.8"),
        ({"gate_start": "identity", "output_transform": True}, "is normalised afterwards"),
    ],
)
def test_sidecar_and_page_tell_how_the_gates_started(options, told, minimal_plans, images):
    plans = pointwise_plans(minimal_plans)
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(options)
    start = options.get("gate_start")
    predictor = AttentionPredictor(
        device=torch.device("cpu"),
        allow_tqdm=False,
        options=MapOptions(picture=False, page=True),
    )
    out = predict(initialize(predictor, plans), images)
    sidecar = json.loads((out / "maps" / "a" / "maps.json").read_text())
    assert sidecar["model"]["gate_start"] == start
    assert told in (out / "maps" / "a" / "a.html").read_text()


def test_the_sidecar_tells_where_the_maps_are_from_and_what_they_amount_to(predictor, images):
    out = predict(predictor(), images)
    sidecar = json.loads((out / "maps" / "a" / "maps.json").read_text())
    assert sidecar["case"] == "a"
    assert sidecar["images"] == [str(images / "a_0000.nii.gz")]
    assert sidecar["prediction"]["mirroring_axes"] == [0, 1, 2]
    assert sidecar["prediction"]["network"] == "PointwiseNetwork"
    assert set(sidecar["versions"]) == {
        "nnunet-attention", "nnunetv2", "numpy", "python", "torch"
    }  # fmt: skip
    # (6, 10, 18) with a border of one voxel: 4 * 8 * 16 are left.
    assert sidecar["outside_of_nnunets_cropping"]["share"] == pytest.approx(1 - 512 / 1080)
    gate = sidecar["maps"]["gate_1"]
    assert gate["module"] == "decoder.gates.1"
    assert gate["downsampling"] == [1, 1, 1]
    one_map = voxels(out / "maps" / "a" / gate["file"])
    organ = voxels(out / "a.nii.gz") == 1
    assert gate["mean_inside"]["organ"] == pytest.approx(one_map[organ].mean())
    inside = np.zeros(one_map.shape, dtype=bool)
    inside[1:-1, 1:-1, 1:-1] = True
    assert gate["mean_outside"] == pytest.approx(one_map[inside & ~organ].mean())
    assert gate["mean"] == pytest.approx(one_map[inside].mean())


def test_segmentations_and_probabilities_are_those_of_nnunets_own_predictor(
    predictor, images, minimal_plans, tmp_path
):
    out = predict(predictor(), images, save_probabilities=True)
    stock = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    initialize(stock, pointwise_plans(minimal_plans))
    (tmp_path / "stock").mkdir()
    stock.predict_from_files_sequential(
        str(images), str(tmp_path / "stock"), save_probabilities=True
    )
    for case in "abc":
        wanted = voxels(tmp_path / "stock" / f"{case}.nii.gz")
        assert len(np.unique(wanted)) == 2
        np.testing.assert_array_equal(voxels(out / f"{case}.nii.gz"), wanted)
        with (
            np.load(tmp_path / "stock" / f"{case}.npz") as one,
            np.load(out / f"{case}.npz") as two,
        ):
            np.testing.assert_array_equal(two["probabilities"], one["probabilities"])
        assert (out / f"{case}.pkl").is_file()


def test_features_are_written_beside_the_coefficients(predictor, images):
    out = predict(predictor(features=True), images)
    names = {path.name for path in (out / "maps" / "b").glob("*.nii.gz")}
    assert names == {
        *(f"{kind}_{gate}.nii.gz" for kind in ("gate", "skip", "gated") for gate in (0, 1)),
        "mean.nii.gz",
    }
    skip, gate, gated = (
        voxels(out / "maps" / "b" / f"{kind}_0.nii.gz") for kind in ("skip", "gate", "gated")
    )
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(images / "b_0000.nii.gz")))
    np.testing.assert_allclose(skip, image, atol=1e-5)
    np.testing.assert_allclose(gated, gate * image, atol=1e-5)


def test_pictures_and_pages_are_written_on_request(predictor, images):
    shutil.copytree(images.parent / "out", images.parent / "references")
    for case in "abc":
        label = SimpleITK.ReadImage(str(images / f"{case}_0000.nii.gz")) > 2
        SimpleITK.WriteImage(label, str(images.parent / "references" / f"{case}.nii.gz"))
    out = predict(
        predictor(picture=True, page=True, reference_folder=images.parent / "references"), images
    )
    assert (out / "maps" / "a" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "gate_1" in (out / "maps" / "a" / "a.html").read_text()


def test_a_missing_reference_is_named_and_leaves_nothing_of_the_case(predictor, images):
    (images.parent / "references").mkdir()
    with pytest.raises(CommandError, match=r"references/a\.nii\.gz"):
        predict(predictor(picture=True, reference_folder=images.parent / "references"), images)
    out = images.parent / "out"
    assert not list(out.rglob("a*"))
    assert not list(out.rglob(".a*"))


def test_an_interrupted_export_leaves_no_segmentation_and_no_maps(predictor, images, monkeypatch):
    def stops(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(CaseExport, "_write_sidecar", stops)
    with pytest.raises(KeyboardInterrupt):
        predict(predictor(), images)
    out = images.parent / "out"
    assert not list(out.glob("*.nii.gz"))
    assert not list((out / "maps").iterdir())


def test_continuing_predicts_the_missing_cases_only(predictor, images):
    out = predict(predictor(), images)
    # Maps without their segmentation, as a kill between the two leaves them; a segmentation
    # without maps, as nnU-Net's own prediction does; and what a kill leaves of a case.
    (out / "a.nii.gz").unlink()
    shutil.rmtree(out / "maps" / "b")
    (out / "maps" / ".b.partial").mkdir()
    (out / "maps" / ".b.partial" / "raw.npy").write_bytes(b"half")
    before = (out / "maps" / "c" / "maps.json").stat().st_mtime_ns
    again = predictor()
    predict(again, images, overwrite=False)
    assert sorted(path.name for path in out.glob("*.nii.gz")) == [
        "a.nii.gz",
        "b.nii.gz",
        "c.nii.gz",
    ]
    assert sorted(path.name for path in (out / "maps").iterdir()) == ["a", "b", "c"]
    assert (out / "maps" / "c" / "maps.json").stat().st_mtime_ns == before
    assert len(again._image_files) == 2


def test_predicting_again_replaces_what_was_there(predictor, images):
    out = predict(predictor(features=True), images)
    predict(predictor(), images)
    assert not (out / "maps" / "a" / "skip_0.nii.gz").exists()
    assert (out / "maps" / "a" / "gate_0.nii.gz").is_file()


@pytest.mark.slow
def test_exports_in_other_processes_write_the_same(predictor, images, tmp_path):
    out = predict(predictor(), images)
    (tmp_path / "parallel").mkdir()
    predictor().predict_from_files(
        str(images),
        str(tmp_path / "parallel"),
        num_processes_preprocessing=0,
        num_processes_segmentation_export=1,
    )
    for case in "abc":
        for name in (f"{case}.nii.gz", f"maps/{case}/gate_0.nii.gz"):
            np.testing.assert_array_equal(voxels(tmp_path / "parallel" / name), voxels(out / name))


def test_an_unwritable_folder_is_one_clear_error(predictor, images):
    (images.parent / "out" / "maps").write_text("a file in the way")
    with pytest.raises(CommandError, match="a: cannot write"):
        predict(predictor(), images)
    assert not list((images.parent / "out").glob("*.nii.gz"))


def test_who_waits_is_told_how_many_cases_are_predicted(predictor, images):
    told = []
    one = predictor()
    one.on_progress = lambda done, total: told.append((done, total))
    predict(one, images)
    assert told == [(1, 3), (2, 3), (3, 3)]
