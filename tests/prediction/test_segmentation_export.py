"""A case counts as predicted when all of it is there, and an error of its export is one line."""

import numpy as np
import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.prediction.segmentation_export import SegmentationExport, is_predicted


def test_probabilities_are_there_with_the_geometry_that_ensembles_need(tmp_path):
    for ending, alone, with_probabilities in (
        (".npz", False, False),
        (".nii.gz", True, False),
        (".pkl", True, True),
    ):
        (tmp_path / f"a{ending}").touch()
        assert is_predicted(tmp_path / "a", ".nii.gz") == alone
        assert is_predicted(tmp_path / "a", ".nii.gz", True) == with_probabilities


class Failing(SegmentationExport):
    """Fails as ITK does, after half of a file."""

    def _write_segmentation(self, logits, folder):
        (folder / "a.nii.gz").write_bytes(b"half")
        raise RuntimeError("Exception thrown in SimpleITK\n/tmp/writer.cxx:151:\nITK ERROR: full")


def test_an_error_is_itks_last_line_and_nothing_is_left(tmp_path):
    export = Failing(
        output=tmp_path / "a",
        properties={},
        plans_manager=None,
        configuration_manager=None,
        dataset_json={"file_ending": ".nii.gz"},
    )
    with pytest.raises(CommandError, match=r"^a: cannot write its segmentation: ITK ERROR: full$"):
        export.run(np.zeros(1))
    assert not list(tmp_path.iterdir())


class OutOfMemory(SegmentationExport):
    """Has no room for an image."""

    def _write_segmentation(self, logits, folder):
        raise MemoryError("no room for 9 GiB")


def test_want_of_memory_is_an_error_of_one_line(tmp_path):
    export = OutOfMemory(
        output=tmp_path / "a",
        properties={},
        plans_manager=None,
        configuration_manager=None,
        dataset_json={"file_ending": ".nii.gz"},
    )
    with pytest.raises(CommandError, match=r"^a: cannot write its segmentation: no room for 9 GiB"):
        export.run(np.zeros(1))
