"""Our trainers train in bfloat16 on a CPU if they are asked to, and say so."""

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_trainers import initialized
from torch import nn

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.nnunet.precision import VARIABLE
from nnunet_attention.nnunet.schedules import SCHEDULE_VARIABLE
from nnunet_attention.nnunet.seeds import VARIABLE as SEED_VARIABLE
from nnunet_attention.processor import why_no_bfloat16
from nnunet_attention.trainers import precision

SOME = ["AttentionUNetTrainer", "WideUNetTrainer_5epochs", "nnUNetTrainer_short"]
ALL = [name for name in trainers.__all__ if "Benchmark" not in name]


@pytest.fixture(autouse=True)
def _able(monkeypatch):
    """A processor with the instructions, whatever this one has: torch computes the same, slowly."""
    monkeypatch.setattr(precision, "why_no_bfloat16", lambda: None)


@pytest.fixture
def make(build, monkeypatch):
    """Returns a function that makes a trainer with the variable set, ready for a step."""

    def made(name, value):
        monkeypatch.setenv(VARIABLE, value)
        monkeypatch.setenv(SEED_VARIABLE, "7")
        trainer = build(getattr(trainers, name))
        return initialized(trainer)

    return made


def batch() -> dict:
    generator = torch.Generator().manual_seed(3)
    shape = (2, 1, 4, 8, 16)
    # Deep supervision has a target for each resolution.
    targets = [
        torch.randint(0, 2, shape, generator=generator).float(),
        torch.randint(0, 2, (2, 1, 4, 4, 8), generator=generator).float(),
    ]
    return {"data": torch.randn(shape, generator=generator), "target": targets}


def step(trainer, do: str = "train_step") -> float:
    data = batch()
    trainer.network.train(do == "train_step")
    trainer.optimizer.param_groups[0]["momentum"] = 0
    trainer.optimizer.param_groups[0]["nesterov"] = False
    return float(getattr(trainer, do)(data)["loss"])


@contextmanager
def rounded_by_hand(network: nn.Module):
    """Round to bfloat16 what goes into and comes out of each convolution, computed in 32 bits."""
    kinds = (nn.Conv3d, nn.ConvTranspose3d)
    convolutions = [module for module in network.modules() if isinstance(module, kinds)]
    # torch.func would do; a parametrisation is plain to see.
    saved = {}
    handles = []
    for convolution in convolutions:
        if id(convolution) in saved:
            continue
        saved[id(convolution)] = convolution, [p.data.clone() for p in convolution.parameters()]
        for parameter in convolution.parameters():
            parameter.data = rounded(parameter.data)
        handles.append(convolution.register_forward_pre_hook(lambda _, x: (rounded(x[0]),)))
        handles.append(convolution.register_forward_hook(lambda _, x, y: rounded(y)))
    for module in network.modules():
        if isinstance(module, (nn.InstanceNorm3d, nn.LeakyReLU)):
            handles.append(module.register_forward_hook(lambda _, x, y: rounded(y)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for convolution, values in saved.values():
            for parameter, value in zip(convolution.parameters(), values, strict=True):
                parameter.data = value


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        return tensor.bfloat16().float()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.bfloat16().float()


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    return _Rounded.apply(tensor)


def gradients(trainer) -> dict:
    return {
        name: parameter.grad.clone()
        for name, parameter in trainer.network.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("do", ["train_step", "validation_step"])
def test_a_step_loses_what_rounding_each_convolution_by_hand_loses(do, make, one_thread):
    # The plain network: gates round in between, too.
    loss = step(make("nnUNetTrainer_short", "1"), do)
    in_32_bits = make("nnUNetTrainer_short", "0")
    with rounded_by_hand(in_32_bits.network):
        expected = step(in_32_bits, do)
    exact = step(make("nnUNetTrainer_short", "0"), do)
    assert loss != exact
    assert loss == pytest.approx(expected, abs=abs(exact - expected) / 4 + 1e-5)


def test_gradients_are_those_of_rounding_each_convolution_by_hand(make, one_thread):
    trainer, by_hand = make("nnUNetTrainer_short", "1"), make("nnUNetTrainer_short", "0")
    step(trainer)
    with rounded_by_hand(by_hand.network):
        step(by_hand)
    found, expected = gradients(trainer), gradients(by_hand)
    assert found.keys() == expected.keys()
    # Biases in front of a norm have no gradient but rounding.
    names = [name for name in found if name.endswith("weight")]
    assert names
    for name in names:
        difference = (found[name] - expected[name]).norm() / expected[name].norm()
        assert difference < 0.03, name


@pytest.mark.parametrize("name", SOME)
def test_weights_gradients_and_logits_are_kept_in_32_bits(name, make):
    trainer = make(name, "1")
    given = []
    loss = trainer.loss
    trainer.loss = lambda output, target: given.append(output) or loss(output, target)
    inside = []
    convolution = trainer.network.encoder.stages[0][0].convs[0].conv
    convolution.register_forward_hook(lambda _, x, y: inside.append(y.dtype))
    step(trainer)
    assert inside == [torch.bfloat16]
    assert {logits.dtype for logits in given[0]} == {torch.float32}
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in trainer.network.parameters()
               if p.grad is not None)  # fmt: skip
    assert {value.dtype for value in trainer.network.state_dict().values()} == {torch.float32}


def test_norms_compute_in_32_bits(make):
    trainer = make("AttentionUNetTrainer", "1")
    norm = trainer.network.encoder.stages[0][0].convs[0].norm
    seen = []
    norm.register_forward_hook(lambda module, x, y: seen.append((x[0].detach(), y.detach())))
    # What comes behind works in place.
    trainer.network.encoder.stages[0][0].convs[0].nonlin.inplace = False
    step(trainer)
    ((features, given),) = seen
    features = features.double()
    mean = features.mean((2, 3, 4), keepdim=True)
    variance = features.var((2, 3, 4), keepdim=True, unbiased=False)
    expected = (features - mean) / (variance + 1e-5).sqrt()
    assert features.abs().max() > 0
    # Only the result is rounded: by at most half a unit in the last of its 8 bits.
    assert torch.allclose(given.double(), expected, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize("name", SOME)
def test_the_network_is_as_before_after_a_step(name, make):
    trainer = make(name, "1")
    step(trainer)
    assert "forward" not in vars(trainer.network)
    with torch.no_grad():
        logits = trainer.network(batch()["data"])
    assert {of_resolution.dtype for of_resolution in logits} == {torch.float32}
    trainer.loss = None
    with pytest.raises(TypeError):
        step(trainer)
    assert "forward" not in vars(trainer.network)


@pytest.mark.parametrize("name", ALL)
def test_every_trainer_takes_the_variable_and_is_as_ever_without(name, build, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    assert build(getattr(trainers, name))._bfloat16
    monkeypatch.delenv(VARIABLE)
    assert not build(getattr(trainers, name))._bfloat16


@pytest.mark.parametrize("name", SOME)
def test_without_the_variable_a_step_is_stock_nnunets(name, make, one_thread, monkeypatch):
    loss = step(make(name, ""))
    stock = make(name, "")
    monkeypatch.setattr(type(stock), "train_step", nnUNetTrainer.train_step)
    assert step(stock) == loss


@pytest.mark.parametrize("name", SOME)
def test_a_processor_without_the_instructions_is_refused(name, build, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "why_no_bfloat16", lambda: "the processor is old")
    monkeypatch.setenv(VARIABLE, "1")
    with pytest.raises(CommandError, match=f"{VARIABLE}=1 cannot be used: the processor is old; "):
        build(getattr(trainers, name))
    assert not list((tmp_path / "nnUNet_results").iterdir())


def test_a_bad_value_is_refused_and_no_folder_made(build, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(ValueError, match=f"{VARIABLE}='yes' must be 1"):
        build(trainers.AttentionUNetTrainer)
    assert not list((tmp_path / "nnUNet_results").iterdir())


def test_on_a_gpu_the_variable_is_told_to_change_nothing(build, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    trainer = build(trainers.AttentionUNetTrainer)
    said, ran = [], []
    monkeypatch.setattr(nnUNetTrainer, "run_training", lambda _: ran.append(True))
    monkeypatch.setattr(type(trainer), "_settle_seed", lambda _: None)
    monkeypatch.setattr(type(trainer), "print_to_log_file", lambda _, text: said.append(text))
    trainer.device = torch.device("cuda")
    trainer.run_training()
    assert said == [f"{VARIABLE}=1 has no effect on cuda"]
    assert ran == [True]
    assert not (Path(trainer.output_folder) / "precision.json").exists()


@pytest.fixture
def train(build, monkeypatch, tiny_dataset):
    """Returns a function that trains on a tiny data set, and again goes on where it ended."""

    def trained(value, epochs, go_on=False):
        monkeypatch.setenv(VARIABLE, value)
        monkeypatch.setenv(SCHEDULE_VARIABLE, f"{epochs},2,1")
        trainer = build(trainers.AttentionUNetTrainer_short)
        if go_on:
            trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        trainer.run_training()
        return Path(trainer.output_folder)

    return trained


def record(fold: Path) -> dict | None:
    path = fold / "precision.json"
    return json.loads(path.read_text()) if path.exists() else None


def test_a_training_keeps_its_precision_and_says_so(train):
    fold = train("1", 1)
    assert record(fold) == {"cpu_bfloat16_since_epoch": 0}
    logs = [path.read_text() for path in fold.glob("training_log_*.txt")]
    assert any(f"The training is in bfloat16 ({VARIABLE})" in text for text in logs)
    assert record(train("", 2, go_on=True)) == {"cpu_bfloat16_since_epoch": 0}
    # Begun anew, it is another training.
    assert record(train("", 1)) is None


def test_a_training_begun_in_32_bits_says_since_when_it_has_fewer(train):
    train("", 1)
    assert record(train("1", 2, go_on=True)) == {"cpu_bfloat16_since_epoch": 1}


def test_a_training_begun_in_bfloat16_is_not_gone_on_with_where_it_would_be_slow(
    train, monkeypatch
):
    fold = train("1", 1)
    monkeypatch.setattr(precision, "why_no_bfloat16", lambda: "the processor is old")
    before = {path: path.read_bytes() for path in fold.glob("*.pth")}
    with pytest.raises(
        CommandError, match="was started in bfloat16: the processor is old; continue"
    ):
        train("", 2, go_on=True)
    assert {path: path.read_bytes() for path in fold.glob("*.pth")} == before


def test_checkpoints_hold_32_bits(train):
    fold = train("1", 1)
    weights = torch.load(fold / "checkpoint_final.pth", weights_only=False)["network_weights"]
    assert {value.dtype for value in weights.values()} == {torch.float32}


@pytest.mark.skipif(why_no_bfloat16() is not None, reason="the processor has no bfloat16")
def test_this_processor_is_taken(build, monkeypatch):
    monkeypatch.setattr(precision, "why_no_bfloat16", why_no_bfloat16)
    monkeypatch.setenv(VARIABLE, "1")
    assert build(trainers.AttentionUNetTrainer)._bfloat16


def leave_nans_behind() -> None:
    """Fills memory that torch then takes again for what it computes with."""
    for exponent in range(8, 21):
        for _ in range(4):
            torch.full((2**exponent,), float("nan"))


@pytest.mark.parametrize(
    ("kernel", "stride", "slices"),
    [(3, 1, 2), (3, (1, 2, 2), 2), ((3, 1, 1), 1, 2), (3, 1, 1), (3, 1, 3), (3, 2, 2), (5, 1, 3)],
    ids=str,
)
def test_gradients_of_thin_images_are_those_of_32_bits(kernel, stride, slices):
    """oneDNN's are arbitrary in bfloat16 if there are fewer slices than the kernel has."""
    torch.manual_seed(0)
    padding = [size // 2 for size in ((kernel,) * 3 if isinstance(kernel, int) else kernel)]
    layer = nn.Conv3d(24, 32, kernel, stride, padding)
    image = torch.randn(2, 24, slices, 6, 8)
    output = layer(image)
    weights = torch.randn(output.shape)
    wanted = torch.autograd.grad((output * weights).sum(), list(layer.parameters()))
    rounded = precision.in_bfloat16(layer.forward)
    for _ in range(3):
        leave_nans_behind()
        found = torch.autograd.grad((rounded(image) * weights).sum(), list(layer.parameters()))
        for one, other in zip(found, wanted, strict=True):
            assert (one - other).abs().max() <= 0.02 * other.abs().max()


@pytest.mark.parametrize(("slices", "kind"), [(2, torch.float32), (3, torch.bfloat16)])
def test_only_convolutions_of_thin_images_stay_in_32_bits(slices, kind):
    layer = nn.Conv3d(3, 4, 3, padding=1)
    seen = []
    layer.register_forward_hook(lambda module, images, output: seen.append(output.dtype))
    output = precision.in_bfloat16(layer.__call__)(torch.ones(1, 3, slices, 4, 6))
    assert (seen, output.dtype) == ([kind], torch.float32)
