"""nnU-Net's folders with two planned data sets."""

import pytest
from experiments_folders import folders_in

from nnunet_attention.nnunet.folders import Folders


@pytest.fixture
def folders(tmp_path) -> Folders:
    return folders_in(tmp_path)
