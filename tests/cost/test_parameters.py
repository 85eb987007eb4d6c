import json

from nnunet_attention.cost.parameters import count_parameters


def test_parameters_are_counted_once_each(minimal_plans, tmp_path):
    description = tmp_path / "dataset.json"
    description.write_text(
        json.dumps(
            {
                "channel_names": {"0": "CT"},
                "labels": {"background": 0, "organ": 1},
                "file_ending": ".nii.gz",
                "numTraining": 1,
            }
        )
    )
    counts = [
        count_parameters(trainer, minimal_plans, description, "3d_fullres")
        for trainer in ("nnUNetTrainer_short", "AttentionUNetTrainer_short")
    ]
    # One convolution a stage with bias, and the norm's scale and shift: from 1 channel to 4 with
    # kernel (1, 3, 3), then 4 to 6 and 6 to 8 with kernel 3.
    encoder = (4 * 9 + 4 + 8) + (6 * 4 * 27 + 6 + 12) + (8 * 6 * 27 + 8 + 16)
    # Transposed convolutions with kernels (2, 2, 2) and (1, 2, 2), convolutions of twice the
    # channels, and a head of two classes for each of the two resolutions.
    low = (8 * 6 * 8 + 6) + (6 * 12 * 27 + 6 + 12) + (2 * 6 + 2)
    high = (6 * 4 * 4 + 4) + (4 * 8 * 9 + 4 + 8) + (2 * 4 + 2)
    assert counts[0] == encoder + low + high
    assert counts[1] > counts[0]
