import torch
from torch import nn

from nnunet_attention.cost.saved import saved_activations


def test_saved_activations_are_those_that_backward_needs():
    x = torch.randn(10, 10, requires_grad=True)
    with saved_activations(nn.Identity()) as saved_bytes:
        result = x.sin().exp().sum()
        # The sine keeps its input, the exponential its output.
        assert saved_bytes() == 2 * 400
    del result
    layer = nn.Linear(10, 5, bias=False)
    with saved_activations(layer) as saved_bytes:
        result = layer(x)
        # The input, twice used and counted once; not the parameter.
        again = layer(x)
        assert saved_bytes() == 400
    del result, again
