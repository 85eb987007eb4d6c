import torch

from nnunet_attention import torch_modes


def test_nothing_is_traced_until_something_is():
    seen = []

    def double(values):
        seen.append(torch_modes.is_traced())
        return 2 * values

    double(torch.ones(3))
    torch.jit.trace(double, torch.ones(3), check_trace=False)
    assert seen == [False, True]


def test_autocast_on_cpu_is_seen_while_it_lasts():
    assert torch_modes.is_autocast_on_cpu() is False
    with torch.autocast("cpu"):
        assert torch_modes.is_autocast_on_cpu() is True
    assert torch_modes.is_autocast_on_cpu() is False
