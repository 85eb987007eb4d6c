"""The gated networks as nnU-Net runs them on a GPU: compiled, in 16 bits, on several devices."""

import copy

import pytest
import torch
from devices import autocast, each_device, marked, needs_gpu, needs_two_gpus
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from network_contract import NetworkContract
from torch import nn
from torch._dynamo.testing import CompileCounter, CompileCounterWithBackend

from nnunet_attention.gates import AttentionGate
from nnunet_attention.networks import AttentionResidualEncoderUNet, AttentionUNet

pytestmark = pytest.mark.usefixtures("one_thread")


class _Plain(NetworkContract):
    gated_class, plain_class = AttentionUNet, PlainConvUNet
    blocks = {"n_conv_per_stage": [1, 2, 1, 2]}  # noqa: RUF012 read only


class _Residual(NetworkContract):
    gated_class, plain_class = AttentionResidualEncoderUNet, ResidualEncoderUNet
    blocks = {"n_blocks_per_stage": [1, 2, 1, 2]}  # noqa: RUF012 read only


each_network = pytest.mark.parametrize(
    "networks", [_Plain(), _Residual()], ids=["plain", "residual"]
)


def loss_of(outputs) -> torch.Tensor:
    return sum(one.float().pow(2).mean() for one in outputs)


def relative_error(found, expected) -> float:
    found, expected = found.detach().double().cpu(), expected.detach().double().cpu()
    return ((found - expected).norm() / expected.norm()).item()


def compilations(network, device) -> list[int]:
    """How often it was compiled after each epoch of training and validation, and a prediction."""
    torch._dynamo.reset()
    # A CPU's own compiler takes half a minute; the graphs are the same.
    counter = CompileCounter() if device == "cpu" else CompileCounterWithBackend("inductor")
    network = network.to(device)
    compiled = torch.compile(network, fullgraph=True, backend=counter)
    images = NetworkContract.images().to(device)
    counts = []
    for _ in range(3):
        network.train()
        for _ in range(2):
            with autocast(device):
                outputs = compiled(images)
            loss_of(outputs).backward()
        network.eval()
        for _ in range(2):
            with torch.no_grad(), autocast(device):
                compiled(images)
        counts.append(counter.frame_count)
    # The whole images of nnU-Net's validation are predicted without deep supervision.
    network.decoder.deep_supervision = False
    for _ in range(2):
        with torch.no_grad(), autocast(device):
            compiled(images)
    return [*counts, counter.frame_count]


@each_device
@pytest.mark.parametrize(
    "networks",
    [_Plain(), pytest.param(_Residual(), marks=pytest.mark.slow)],
    ids=["plain", "residual"],
)
def test_epochs_of_training_and_validation_compile_no_more_than_the_first(networks, device):
    # One graph each for training, validation and prediction, as stock nnU-Net's networks.
    assert compilations(networks.gated(deep_supervision=True), device) == [2, 2, 2, 3]


@marked(needs_gpu)
@each_network
@pytest.mark.parametrize("deep_supervision", [False, True])
def test_compiled_for_a_gpu_it_computes_the_same(networks, deep_supervision):
    torch._dynamo.reset()
    network = networks.gated(deep_supervision=deep_supervision).cuda()
    images = networks.images().cuda()
    compiled = torch.compile(network, fullgraph=True)
    gradients = []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for run in (compiled, network):
            network.zero_grad()
            outputs = run(images)
            loss_of(outputs if deep_supervision else [outputs]).backward()
            gradients.append(
                {
                    name: one.grad.clone()
                    for name, one in network.named_parameters()
                    if one.grad is not None
                }
            )
        found, expected = compiled(images), network(images)
    pairs = zip(found, expected, strict=True) if deep_supervision else [(found, expected)]
    assert all(relative_error(*pair) < 1e-4 for pair in pairs)
    for name in gradients[1]:
        if "gates" in name:
            assert relative_error(gradients[0][name], gradients[1][name]) < 1e-3, name


@each_device
@each_network
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_in_16_bits_gates_are_those_of_32_and_learn_alike(networks, device, precision):
    if device == "cpu" and precision is torch.float16:
        pytest.skip("a CPU's 16 bits are bfloat16's")
    network = networks.gated(deep_supervision=True).to(device)
    images = networks.images().to(device)
    found = []
    for in_16_bits in (False, True):
        network.zero_grad()
        with torch.autocast(device, precision, enabled=in_16_bits):
            outputs, coefficients = network(images, return_coefficients=True)
        loss_of(outputs).backward()
        gradients = {n: p.grad.clone() for n, p in network.decoder.gates.named_parameters()}
        found.append((coefficients, gradients))
    (full, full_gradients), (half, half_gradients) = found
    # 11 and 8 bits of mantissa, and some twenty layers before.
    tolerance = 0.01 if precision is torch.float16 else 0.05
    for wide, narrow in zip(full, half, strict=True):
        assert narrow.isfinite().all()
        assert narrow.min() >= 0
        assert narrow.max() <= 1
        assert (wide.float() - narrow.float()).abs().max() < tolerance
    for name, gradient in full_gradients.items():
        assert relative_error(half_gradients[name], gradient) < 10 * tolerance, name


@each_device
def test_large_values_in_16_bits_and_a_gradient_scaler_leave_all_finite(device):
    network = _Plain().gated(deep_supervision=True).to(device)
    images = 100 * _Plain.images().to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.99, nesterov=True)
    scaler = torch.amp.GradScaler(device)
    before = copy.deepcopy(network.state_dict())
    # The scale begins too high for some steps, which the scaler then leaves out.
    for _ in range(8):
        optimizer.zero_grad(set_to_none=True)
        with autocast(device):
            outputs, coefficients = network(images, return_coefficients=True)
        assert all(one.isfinite().all() for one in coefficients)
        scaler.scale(loss_of(outputs)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), 12)
        scaler.step(optimizer)
        scaler.update()
    after = network.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    gates = [name for name in after if "gates" in name]
    assert any(not torch.equal(before[name], after[name]) for name in gates)


@each_device
@pytest.mark.parametrize("stride", [(1, 2, 2), (2, 2, 2)])
def test_a_gate_in_32_bits_is_that_of_64(device, stride):
    torch.manual_seed(0)
    gate = AttentionGate(nn.Conv3d, 6, 10, stride)
    exact = copy.deepcopy(gate).double()
    skip = torch.randn(2, 6, 4, 8, 12)
    gating = torch.randn(2, 10, *(n // step for n, step in zip((4, 8, 12), stride, strict=True)))
    gate, results = gate.to(device), []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for module, one, two in (
            (gate, skip.to(device), gating.to(device)),
            (exact, skip.double(), gating.double()),
        ):
            one.requires_grad_()
            two.requires_grad_()
            gated, coefficients = module(one, two)
            loss_of([gated, coefficients]).backward()
            gradients = [one.grad, two.grad, *(p.grad for p in module.parameters())]
            results.append([gated, coefficients, *gradients])
    for found, expected in zip(*results, strict=True):
        assert relative_error(found, expected) < 1e-5


@each_device
@each_network
def test_a_decoder_in_32_bits_is_that_of_64(networks, device):
    network = networks.gated(deep_supervision=True)
    exact = copy.deepcopy(network).double()
    skips = [one.detach() for one in exact.encoder(networks.images().double())]
    decoder = network.decoder.to(device)
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        found = decoder([one.float().to(device) for one in skips])
    for ours, expected in zip(found, exact.decoder(skips), strict=True):
        assert relative_error(ours, expected) < 1e-4


@each_device
def test_with_the_channels_last_it_computes_the_same(device):
    network = _Plain().gated(deep_supervision=True).to(device)
    last = copy.deepcopy(network).to(memory_format=torch.channels_last_3d)
    images = _Plain.images().to(device)
    found = []
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for one, x in (
            (network, images),
            (last, images.contiguous(memory_format=torch.channels_last_3d)),
        ):
            outputs = one(x)
            loss_of(outputs).backward()
            gradients = [p.grad for p in one.decoder.gates.parameters()]
            found.append([*outputs, *gradients])
    for usual, other in zip(*found, strict=True):
        assert relative_error(other, usual) < 1e-4


def _one_of_two(rank: int, folder: str, device: str) -> None:
    """A process of a training on two devices, as nnU-Net's trainer wraps its network."""
    backend = "nccl" if device == "cuda" else "gloo"
    torch.distributed.init_process_group(
        backend, init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.set_num_threads(1)
    place = torch.device(device, rank) if device == "cuda" else torch.device("cpu")
    network = _Plain().gated(deep_supervision=True, seed=rank).to(place)
    wrapped = nn.parallel.DistributedDataParallel(
        network, device_ids=[rank] if device == "cuda" else None
    )
    images = _Plain.images()[rank : rank + 1].to(place)
    # Both steps: what the first leaves behind must not hold up the second.
    for _ in range(2):
        network.zero_grad()
        loss_of(wrapped(images)).backward()
    gradients = {name: p.grad.cpu() for name, p in network.named_parameters()}
    torch.save({"gradients": gradients, "state": network.cpu().state_dict()}, f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_two_gpus)])
def test_two_devices_have_the_gradients_of_the_whole_batch(device, tmp_path):
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path), device), nprocs=2)
    first, second = (torch.load(tmp_path / str(rank)) for rank in (0, 1))
    for name, gradient in first["gradients"].items():
        assert torch.equal(gradient, second["gradients"][name]), name
    network = _Plain().gated(deep_supervision=True)
    network.load_state_dict(first["state"])
    loss_of(network(_Plain.images())).backward()
    for name, parameter in network.decoder.gates.named_parameters():
        # A mean over the batch is the mean of the halves' means.
        assert relative_error(first["gradients"][f"decoder.gates.{name}"], parameter.grad) < 1e-3
