"""The Python examples of docs/maps.md run as they stand."""

import json
import re
import shutil

import pytest
import torch
from plain_checkpoints import DATASET_JSON, plain_checkpoint
from pointwise_network import pointwise_plans, random_image, write_oblique
from repository import DOCS

from nnunet_attention.trainers import AttentionUNetTrainer
from nnunet_attention.weights import save_checkpoint

PAGE = DOCS / "maps.md"


@pytest.mark.filterwarnings("ignore")  # nnU-Net's search for a trainer imports all of its own
def test_the_examples_run(tmp_path, minimal_plans, capsys):
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    of_ablation, example = examples
    plans = pointwise_plans(minimal_plans)
    one_channel = {**DATASET_JSON, "channel_names": {"0": "noNorm"}}
    checkpoint = plain_checkpoint(plans, trainer=AttentionUNetTrainer)
    first = checkpoint["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"]
    checkpoint["network_weights"] = {
        name: values[:, :1].clone() if values.shape == first.shape else values
        for name, values in checkpoint["network_weights"].items()
    }
    folder = tmp_path / "model"
    (folder / "fold_0").mkdir(parents=True)
    save_checkpoint(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(one_channel))
    (tmp_path / "images").mkdir()
    image = tmp_path / "images" / "case_0000.nii.gz"
    write_oblique(random_image((5, 9, 18)), image, (3.0, 2.0, 1.0))
    names = {
        "model_folder": str(folder),
        "images_folder": str(tmp_path / "images"),
        "output_folder": str(tmp_path / "out"),
        "image_path": str(image),
    }
    # Spawned processes would import the test's main module anew.
    example = example.replace(
        "(images_folder, output_folder)", "_sequential(images_folder, output_folder)"
    )
    exec(example, names)
    assert (tmp_path / "out" / "maps" / "case" / "case.png").is_file()
    assert "torch.Size([1, 1, 4, 4, 8])" in capsys.readouterr().out
    assert torch.is_tensor(names["recorded"]["gate_0"])
    labels = tmp_path / "labels"
    labels.mkdir()
    for case in ("case", "other"):
        if case != "case":
            shutil.copy(image, tmp_path / "images" / f"{case}_0000.nii.gz")
        segmentation = (tmp_path / "out" / "case.nii.gz").read_bytes()
        (labels / f"{case}.nii.gz").write_bytes(segmentation)
    names.update(labels_folder=str(labels), case_names=["case", "other"])
    exec(of_ablation, names)
    assert "shuffled" in capsys.readouterr().out
    assert set(names["table"]["case"]) == {"case", "other"}
