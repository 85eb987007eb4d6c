"""Names in plans lead to networks and layers of nnU-Net, torch and ours, and nowhere else."""

import pytest
from torch import nn

from nnunet_attention.errors import CommandError
from nnunet_attention.networks.trusted_names import (
    check_is_of_nnunet,
    check_layer,
    network_class,
)

NNUNET = "dynamic_network_architectures.architectures.unet"
# nnU-Net's search imports all modules of a folder, and warnings of their dependencies.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"{NNUNET}.PlainConvUNet", "PlainConvUNet"),
        ("dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet", None),
        ("dynamic_network_architectures.architectures.primus.Primus", "Primus"),
        ("nnunet_attention.networks.AttentionUNet", "AttentionUNet"),
    ],
)
def test_networks_of_nnunet_and_ours_are_found(path, name):
    found = network_class(path)
    assert issubclass(found, nn.Module)
    assert found.__name__ == (name or "ResidualEncoderUNet")


@pytest.mark.parametrize(
    "path", [f"{NNUNET}.nn.Linear", f"{NNUNET}.np", NNUNET, "PlainConvUNet", None, 1]
)
def test_what_is_no_network_of_theirs_is_refused(path):
    with pytest.raises(CommandError, match="which will not be imported"):
        network_class(path)


@pytest.mark.parametrize("path", ["torch.nn.GELU", "torch.nn.modules.instancenorm.InstanceNorm3d"])
def test_layers_of_torch_are_accepted(path):
    check_layer("nonlin", path)


@pytest.mark.parametrize("path", ["os.system", "torch.nn.functional.relu", "torch.nn", None, 3])
def test_what_is_no_layer_is_refused_with_the_arguments_name(path):
    with pytest.raises(CommandError, match="for nonlin, which will not be imported"):
        check_layer("nonlin", path)


@pytest.mark.parametrize(
    ("name", "value", "package"),
    [
        ("image_reader_writer", "SimpleITKIO", "imageio"),
        ("resampling_fn_data", "resample_data_or_seg_to_shape", "preprocessing.resampling"),
        ("label_manager", "LabelManager", "utilities.label_handling"),
    ],
)
def test_classes_and_functions_of_nnunet_are_accepted(name, value, package):
    check_is_of_nnunet(name, value, package)


@pytest.mark.parametrize(
    ("name", "value", "package", "kind"),
    [
        ("image_reader_writer", "np", "imageio", "class"),
        ("image_reader_writer", ["SimpleITKIO"], "imageio", "class"),
        ("resampling_fn_data", "map_coordinates", "preprocessing.resampling", "function"),
        ("label_manager", "join", "utilities.label_handling", "class"),
    ],
)
def test_what_nnunet_would_find_elsewhere_is_refused(name, value, package, kind):
    with pytest.raises(CommandError, match=f"for {name}; expected a {kind} of nnunetv2.{package}"):
        check_is_of_nnunet(name, value, package)
