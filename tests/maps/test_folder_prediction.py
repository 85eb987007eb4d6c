"""Predicting a folder begins with a look at everything that is given."""

import pytest

from nnunet_attention.errors import CommandError
from nnunet_attention.maps.export import MapOptions
from nnunet_attention.maps.folder_prediction import FolderPrediction, predict_folder


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": "none"}, "-i .*none: there is no such folder"),
        ({"previous_stage": "none"}, "-prev_stage_predictions .*none: there is no such folder"),
        ({"options": "none"}, "-gt .*none: there is no such folder"),
        ({"number_of_parts": 2, "part": 2}, "-part_id 2: with -num_parts 2 the parts are 0 to 1"),
        ({"output": "file"}, "-o: cannot write in .*file"),
    ],
)
def test_what_is_wrong_is_told_before_the_model_is_looked_for(tmp_path, given, message):
    (tmp_path / "images").mkdir()
    (tmp_path / "file").touch()
    places = {"images": tmp_path / "images", "output": tmp_path / "out"}
    for name, value in given.items():
        path = tmp_path / value if isinstance(value, str) else value
        places[name] = MapOptions(reference_folder=path) if name == "options" else path
    with pytest.raises(CommandError, match=message):
        predict_folder(FolderPrediction(model_folder=tmp_path / "model", **places))
    assert not (tmp_path / "out").exists()
