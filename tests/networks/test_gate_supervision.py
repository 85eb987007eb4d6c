"""The gates' loss is what a slow second computation of it gives, and asks nothing else of them."""

import itertools
import math

import numpy as np
import pytest
import torch
from smallest_plans import smallest_plans
from torch import nn

from nnunet_attention.networks.gate_supervision import (
    SupervisedGatesLoss,
    balanced_cross_entropy,
    foreground_on_grid,
)

LEAST = 1e-3


def slow_masks(foreground, ignored, grid, border):
    """Voxel by voxel: foreground, unknown or outside, from (B, 1, *S) to (B, 1, *G)."""

    def anywhere(mask, image, voxel):
        """Whether a window of a voxel of the grid within the border has any."""
        steps = itertools.product(range(-border, border + 1), repeat=len(grid))
        for step in steps:
            place = [a + b for a, b in zip(voxel, step, strict=True)]
            if any(not 0 <= a < n for a, n in zip(place, grid, strict=True)):
                continue
            window = tuple(
                slice(math.floor(a * s / n), math.ceil((a + 1) * s / n))
                for a, n, s in zip(place, grid, mask.shape[2:], strict=True)
            )
            if mask[(image, 0, *window)].any():
                return True
        return False

    inside, outside = np.zeros((2, len(foreground), 1, *grid))
    for image in range(len(foreground)):
        for voxel in np.ndindex(*grid):
            if anywhere(foreground, image, voxel):
                inside[(image, 0, *voxel)] = 1
            elif ignored is None or not anywhere(ignored, image, voxel):
                outside[(image, 0, *voxel)] = 1
    return inside, outside


def slow_loss(alpha, inside, outside, over_batch):
    """The loss and its gradient, voxel by voxel."""
    groups = [range(len(alpha))] if over_batch else [[image] for image in range(len(alpha))]
    loss, gradient = 0.0, np.zeros_like(alpha)
    for mask, sign in ((inside, 1), (outside, -1)):
        sides = [
            [v for v in np.ndindex(*alpha.shape) if v[0] in group and mask[v]] for group in groups
        ]
        counted = [voxels for voxels in sides if voxels]
        for voxels in counted:
            for voxel in voxels:
                probability = alpha[voxel] if sign == 1 else 1 - alpha[voxel]
                share = 0.5 / len(voxels) / len(counted)
                kept = LEAST + (1 - LEAST) * probability
                loss -= share * math.log(kept)
                gradient[voxel] -= sign * share * (1 - LEAST) / kept
    return loss, gradient


@pytest.fixture
def masks():
    generator = np.random.default_rng(0)
    foreground = generator.random((2, 1, 4, 9, 10)) < 0.03
    ignored = (generator.random(foreground.shape) < 0.02) & ~foreground
    foreground[1] = False
    return foreground, ignored


@pytest.mark.parametrize("border", [0, 1, 2, 5])
@pytest.mark.parametrize("grid", [(4, 9, 10), (4, 3, 5), (3, 4, 7)])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_the_foreground_comes_to_the_grid_as_voxel_by_voxel(masks, grid, border, with_ignored):
    foreground, ignored = masks
    ignored = ignored if with_ignored else None
    inside, outside = foreground_on_grid(
        torch.from_numpy(foreground),
        None if ignored is None else torch.from_numpy(ignored),
        grid,
        border,
    )
    slow_inside, slow_outside = slow_masks(foreground, ignored, grid, border)
    assert np.array_equal(inside.numpy(), slow_inside)
    assert np.array_equal(outside.numpy(), slow_outside)


def test_the_foreground_comes_to_a_grid_of_two_axes():
    foreground = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
    foreground[0, 0, 3, 0] = True
    inside, outside = foreground_on_grid(foreground, None, (2, 3), 1)
    assert inside[0, 0].tolist() == [[1, 1, 0], [1, 1, 0]]
    assert torch.equal(outside, 1 - inside)


@pytest.mark.parametrize("over_batch", [False, True])
def test_loss_and_gradient_are_those_of_the_slow_computation(masks, over_batch):
    inside, outside = slow_masks(*masks, (4, 3, 5), 1)
    alpha = torch.rand(2, 1, 4, 3, 5, generator=torch.Generator().manual_seed(1))
    slow, slow_gradient = slow_loss(alpha.double().numpy(), inside, outside, over_batch)
    alpha.requires_grad_()
    loss = balanced_cross_entropy(
        alpha, *(torch.from_numpy(m).float() for m in (inside, outside)), over_batch=over_batch
    )
    loss.backward()
    assert loss.item() == pytest.approx(slow, rel=1e-5)
    assert np.allclose(alpha.grad.numpy(), slow_gradient, rtol=1e-4, atol=1e-7)


def test_both_sides_count_alike_however_many_voxels_they_have():
    alpha = torch.full((1, 1, 2, 50), 0.5)
    inside = torch.zeros_like(alpha)
    inside[..., 0, 0] = 1
    loss = balanced_cross_entropy(alpha, inside, 1 - inside)
    assert loss.item() == pytest.approx(-math.log(LEAST + (1 - LEAST) * 0.5))


def test_an_image_without_foreground_is_asked_for_shut_gates_only():
    alpha = torch.full((1, 1, 2, 3), 0.25)
    inside = torch.zeros_like(alpha)
    loss = balanced_cross_entropy(alpha, inside, 1 - inside)
    assert loss.item() == pytest.approx(-0.5 * math.log(LEAST + (1 - LEAST) * 0.75))


@pytest.mark.parametrize("over_batch", [False, True])
def test_an_image_without_foreground_leaves_both_sides_of_the_batch_equal(over_batch):
    alpha = torch.full((2, 1, 2, 4), 0.5, requires_grad=True)
    inside = torch.zeros(2, 1, 2, 4)
    # The second image has none.
    inside[0, 0, 0, :2] = 1
    balanced_cross_entropy(alpha, inside, 1 - inside, over_batch=over_batch).backward()
    # By hand: half of 0.999 / (0.001 + 0.999 / 2) on each side.
    by_side = [float(alpha.grad[mask > 0].sum()) for mask in (inside, 1 - inside)]
    assert by_side == pytest.approx([-0.5 * 0.999 / 0.5005, 0.5 * 0.999 / 0.5005])
    # Outside, both images weigh alike: 6 voxels of the one as much as 8 of the other.
    of_images = [float(alpha.grad[n][inside[n] == 0].sum()) for n in range(2)]
    shares = (6 / 14, 8 / 14) if over_batch else (0.5, 0.5)
    assert of_images == pytest.approx([share * 0.5 * 0.999 / 0.5005 for share in shares])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_saturated_coefficients_of_half_precision_have_a_finite_loss_and_gradient(dtype):
    alpha = torch.tensor([[[[0.0, 1.0]]]], dtype=dtype, requires_grad=True)
    inside = torch.tensor([[[[1.0, 0.0]]]])
    loss = balanced_cross_entropy(alpha, inside, 1 - inside)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-math.log(LEAST), rel=1e-4)
    assert alpha.grad.isfinite().all()


class FirstChannel(nn.Module):
    """A loss to be added to: the first prediction's mean."""

    def forward(self, output, target):
        return (output[0] if isinstance(output, list) else output).mean()


def supervised(**options) -> SupervisedGatesLoss:
    loss = SupervisedGatesLoss(FirstChannel(), **options)
    loss.weight = 0.25
    return loss


@pytest.fixture
def passes():
    """Logits of two resolutions and coefficients of two gates on an image of 4 x 6 x 8."""
    generator = torch.Generator().manual_seed(2)
    prediction = [torch.rand(2, 3, *s, generator=generator) for s in ((4, 6, 8), (4, 3, 4))]
    return prediction, [torch.rand(2, 1, *s, generator=generator) for s in ((2, 3, 2), (4, 3, 4))]


def expected(passes, foreground, ignored, border=1, over_batch=False):
    prediction, coefficients = passes
    losses = []
    for alpha in coefficients:
        sides = slow_masks(foreground, ignored, alpha.shape[2:], border)
        losses.append(slow_loss(alpha.double().numpy(), *sides, over_batch)[0])
    return prediction[0].mean().item() + 0.25 * sum(losses) / 2


@pytest.fixture
def labels():
    generator = torch.Generator().manual_seed(3)
    target = torch.zeros(2, 1, 4, 6, 8)
    target[torch.rand(target.shape, generator=generator) < 0.03] = 1
    target[torch.rand(target.shape, generator=generator) < 0.03] = 2
    target[torch.rand(target.shape, generator=generator) < 0.02] = 3
    return target


@pytest.mark.parametrize("over_batch", [False, True])
def test_all_labels_are_foreground(passes, labels, over_batch):
    loss = supervised(over_batch=over_batch)(passes, [labels, labels[..., ::2, ::2]])
    foreground = labels.numpy() > 0
    assert loss.item() == pytest.approx(
        expected(passes, foreground, None, over_batch=over_batch), rel=1e-5
    )


def test_without_deep_supervision_the_target_is_one_tensor(passes, labels):
    prediction, coefficients = passes
    loss = supervised(border=0)((prediction[0], coefficients), labels)
    assert loss.item() == pytest.approx(
        expected(passes, labels.numpy() > 0, None, border=0), rel=1e-5
    )


def test_the_ignored_label_is_neither_foreground_nor_background(passes, labels):
    loss = supervised(ignore_label=3)(passes, [labels])
    numbers = labels.numpy()
    foreground, ignored = (numbers > 0) & (numbers < 3), numbers == 3
    assert loss.item() == pytest.approx(expected(passes, foreground, ignored), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_regions_are_foreground_in_their_union(passes, labels, dtype):
    regions = torch.cat([labels == 1, labels == 2], 1).to(dtype)
    loss = supervised(regions=True)(passes, [regions])
    foreground = np.isin(labels.numpy(), (1, 2))
    assert loss.item() == pytest.approx(expected(passes, foreground, None), rel=1e-5)


def test_the_last_channel_of_regions_marks_what_is_ignored(passes, labels):
    regions = torch.cat([labels == 1, labels == 2, labels == 3], 1)
    loss = supervised(regions=True, ignore_label=3)(passes, [regions])
    numbers = labels.numpy()
    assert loss.item() == pytest.approx(
        expected(passes, np.isin(numbers, (1, 2)), numbers == 3), rel=1e-5
    )


def test_a_prediction_alone_as_in_validation_has_the_segmentation_loss_only(passes, labels):
    loss = supervised()
    assert torch.equal(loss(passes[0], [labels]), passes[0][0].mean())
    assert loss.take_mean() is None


def test_the_gates_mean_loss_is_kept_until_it_is_taken(passes, labels):
    loss = supervised()
    prediction, coefficients = passes
    gates = [
        (loss((prediction, alphas), [labels]) - prediction[0].mean()).item() / 0.25
        for alphas in (coefficients, [1 - alpha for alpha in coefficients])
    ]
    assert loss.take_mean() == pytest.approx(sum(gates) / 2, rel=1e-4)
    assert loss.take_mean() is None


@pytest.fixture
def network():
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_attention.networks import build_attention_network

    configuration = PlansManager(smallest_plans()).get_configuration("3d_fullres")
    torch.manual_seed(0)
    return build_attention_network(configuration, 1, 2)


def test_a_network_gives_out_its_coefficients_in_training_only(network):
    image = torch.rand(1, 1, 4, 8, 16)
    with torch.no_grad():
        plain = network.train()(image)
        network.decoder.coefficients_in_training = True
        prediction, coefficients = network(image)
        assert all(torch.equal(a, b) for a, b in zip(plain, prediction, strict=True))
        assert all(
            torch.equal(a, b) for a, b in zip(coefficients, network(image, True)[1], strict=True)
        )
        assert isinstance(network.eval()(image), list)


def test_what_is_given_out_keeps_no_more_memory_than_the_coefficients_take(network):
    image = torch.rand(1, 1, 8, 16, 32)

    def saved_bytes() -> int:
        storages = {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = network.train()(image)
        held = output[1] if isinstance(output, tuple) else []
        for coefficients in held:
            keep(coefficients)
        return sum(storages.values())

    before = saved_bytes()
    network.decoder.coefficients_in_training = True
    _, coefficients = network(image)
    assert saved_bytes() - before <= sum(one.untyped_storage().nbytes() for one in coefficients)


def _half_of_the_batch(rank: int, folder: str, over_batch: bool) -> None:
    """A process of a training on two devices; the second one's image has no foreground."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    alpha, inside = _two_images()
    alpha = alpha[rank : rank + 1].requires_grad_()
    part = inside[rank : rank + 1]
    loss = balanced_cross_entropy(alpha, part, 1 - part, over_batch=over_batch)
    loss.backward()
    torch.save((loss.detach(), alpha.grad), f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


def _two_images() -> tuple[torch.Tensor, torch.Tensor]:
    alpha = torch.rand(2, 1, 2, 3, 4, generator=torch.Generator().manual_seed(2))
    inside = torch.zeros_like(alpha)
    inside[0, 0, 1, :2] = 1
    return alpha, inside


@pytest.mark.slow
@pytest.mark.parametrize("over_batch", [False, True])
def test_two_processes_balance_the_sides_of_the_whole_batch(over_batch, tmp_path):
    torch.multiprocessing.spawn(_half_of_the_batch, (str(tmp_path), over_batch), nprocs=2)
    parts = [torch.load(tmp_path / str(rank)) for rank in (0, 1)]
    alpha, inside = _two_images()
    loss, gradient = slow_loss(
        alpha.double().numpy(), inside.numpy(), 1 - inside.numpy(), over_batch
    )
    # DistributedDataParallel divides the sum of the processes' gradients by their number.
    assert sum(float(part) for part, _ in parts) / 2 == pytest.approx(loss, rel=1e-5)
    found = torch.cat([part for _, part in parts]) / 2
    assert np.allclose(found.numpy(), gradient, rtol=1e-4, atol=1e-7)
