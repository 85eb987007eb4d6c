"""nnU-Net's rule of thumb for the memory of a GPU."""

from nnunet_attention.cost import VramReference, vram_reference


def test_the_reference_values_fill_the_reference_memory():
    reference = VramReference(values_2d=100, values_3d=1000, gigabytes=8)
    assert reference.vram_gb(100, batch_size=12, dimensions=2) == 8
    assert reference.vram_gb(1000, batch_size=2, dimensions=3) == 8
    assert reference.vram_gb(500, batch_size=8, dimensions=3) == 16


def test_an_unknown_planner_has_the_values_of_the_default_for_its_network():
    plain, residual = "any.PlainConvUNet", "any.ResidualEncoderUNet"
    assert vram_reference("Mine", plain) == vram_reference("ExperimentPlanner", plain)
    assert vram_reference("Mine", residual) == vram_reference("ResEncUNetPlanner", residual)
    assert vram_reference("Mine", plain) != vram_reference("Mine", residual)
