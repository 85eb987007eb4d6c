"""Fine-tuning starts from pretrained weights, slowly, and goes on where it was interrupted."""

import json
from pathlib import Path

import pytest
import torch
from nnssl_checkpoints import (
    ARGUMENTS,
    CITATIONS,
    ONLY_NAMED,
    nnssl_checkpoint,
    plans_like_source,
    save_nnssl,
    source_network,
)
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.lr_schedule.nnUNetTrainerCosAnneal import (
    nnUNetTrainerCosAnneal,
)
from nnunetv2.training.nnUNetTrainer.variants.network_architecture.nnUNetTrainerNoDeepSupervision import (  # noqa: E501
    nnUNetTrainerNoDeepSupervision,
)
from nnunetv2.training.nnUNetTrainer.variants.optimizer.nnUNetTrainerAdam import (
    nnUNetTrainerAdam3en4,
)
from plain_checkpoints import plain_checkpoint, plans_of
from tiny_preprocessed import write_preprocessed
from tiny_trainers import initialized

from nnunet_attention import trainers
from nnunet_attention.errors import CommandError
from nnunet_attention.networks import AttentionResidualEncoderUNet
from nnunet_attention.nnunet.seeds import VARIABLE
from nnunet_attention.trainers.finetuning import WarmUpLRScheduler, warm_up_epochs
from nnunet_attention.trainers.loaded_weights import weights_being_loaded
from nnunet_attention.weights import read_source
from nnunet_attention.weights.start import read_target, start_checkpoint, start_from

GATED = "AttentionUNetFinetuneTrainer"
DECODER_FIRST = "AttentionUNetFinetuneTrainer_decoderFirst"
PLAIN = "PlainUNetFinetuneTrainer"
PLAIN_DECODER_FIRST = "PlainUNetFinetuneTrainer_decoderFirst"
LENGTHS = {
    "": 1000,
    "_1epoch": 1,
    "_5epochs": 5,
    "_10epochs": 10,
    "_20epochs": 20,
    "_50epochs": 50,
    "_100epochs": 100,
    "_150epochs": 150,
    "_250epochs": 250,
    "_500epochs": 500,
}


@pytest.fixture
def plans(tmp_path, minimal_plans) -> dict:
    """Plans that name a pretraining's checkpoint, and its network without gates."""
    plans = plans_like_source(minimal_plans)
    plans["pretrain_info"] = read_source(save_nnssl(tmp_path / "mae.pth")).as_pretrain_info()
    return plans


def rates(epochs: int, head_start: int = 0, groups: int = 1) -> list[list[float]]:
    """The rates of all groups, epoch by epoch."""
    optimizer = torch.optim.SGD(
        [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)], lr=1.0
    )
    scheduler = WarmUpLRScheduler(optimizer, 1.0, epochs, head_start)
    found = []
    for epoch in range(epochs):
        scheduler.step(epoch)
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


@pytest.mark.parametrize("base", [GATED, DECODER_FIRST, PLAIN, PLAIN_DECODER_FIRST])
@pytest.mark.parametrize(("suffix", "epochs"), LENGTHS.items())
def test_lengths_and_rate_are_as_named(base, suffix, epochs, build):
    trainer = build(getattr(trainers, base + suffix))
    assert trainer.num_epochs == epochs
    assert trainer.initial_lr == 1e-3
    assert isinstance(trainer, getattr(trainers, base))


@pytest.mark.parametrize(
    ("epochs", "rise"), [(1, 1), (2, 2), (5, 2), (40, 2), (41, 3), (150, 8), (1000, 50)]
)
def test_the_rate_rises_for_a_twentieth_of_the_epochs_at_least(epochs, rise):
    assert warm_up_epochs(epochs) == rise


def test_the_rate_rises_linearly_and_falls_as_nnunets():
    wanted = [1 / 3, 2 / 3, 1.0, *((1 - epoch / 57) ** 0.9 for epoch in range(57))]
    assert [rate for (rate,) in rates(60)] == pytest.approx(wanted)


def test_an_encoder_that_waits_joins_when_the_rest_has_risen():
    found = rates(60, head_start=3, groups=2)
    assert found[:3] == [[pytest.approx(rate), 0.0] for rate in (1 / 3, 2 / 3, 1.0)]
    assert found[3] == [pytest.approx(1 / 3)] * 2
    assert found[6] == [1.0, 1.0]
    assert found[7] == [pytest.approx((1 - 1 / 54) ** 0.9)] * 2


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        (f"{DECODER_FIRST}_1epoch", 0),
        (f"{DECODER_FIRST}_5epochs", 2),
        (f"{PLAIN_DECODER_FIRST}_5epochs", 2),
        (GATED, 0),
        (PLAIN, 0),
    ],
)
def test_an_encoder_waits_for_half_of_the_epochs_at_most(build, name, waits):
    assert build(getattr(trainers, name)).head_start == waits


@pytest.mark.parametrize("epochs", [1, 2, 3, 4, 5])
def test_short_trainings_have_positive_rates(epochs):
    assert all(rate > 0 for (rate,) in rates(epochs))
    assert all(first > 0 for first, _ in rates(epochs, warm_up_epochs(epochs), 2))


def test_the_network_starts_with_the_encoder_that_the_plans_name(build, plans):
    trainer = initialized(build(getattr(trainers, GATED), plans))
    assert type(trainer.network) is AttentionResidualEncoderUNet
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        found, wanted = trainer.network.encoder(image), source_network().encoder(image)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()
    log = Path(trainer.log_file).read_text()
    assert "100.0% of the encoder's weights come from there" in log
    assert "new: decoder.stages.0.convs.0.conv.weight, the source's decoder is left" in log


@pytest.mark.parametrize("name", [GATED, PLAIN])
def test_plans_of_the_development_branch_that_only_name_the_network_are_trained(
    build, plans, monkeypatch, name
):
    monkeypatch.setattr("nnunet_attention.nnunet.pretraining._RESENC_L", ARGUMENTS)
    plans["configurations"]["3d_fullres"]["architecture"] = ONLY_NAMED
    trainer = initialized(build(getattr(trainers, name), plans))
    assert "100.0% of the encoder's weights come from there" in Path(trainer.log_file).read_text()
    # Whoever reads the saved plans can build the network.
    for saved in (trainer.plans_manager.plans, trainer.my_init_kwargs["plans"]):
        architecture = saved["configurations"]["3d_fullres"]["architecture"]
        assert architecture["arch_kwargs"] == ARGUMENTS


def test_with_one_seed_it_starts_as_its_control(build, plans, monkeypatch):
    monkeypatch.setenv(VARIABLE, "3")
    image = torch.randn(1, 1, 16, 16, 16, dtype=torch.float64)
    logits = []
    for name in (GATED, PLAIN):
        network = initialized(build(getattr(trainers, name), plans)).network.double().eval()
        with torch.no_grad():
            logits.append(network(image))
    for gated, plain in zip(*logits, strict=True):
        assert plain.std() > 1e-5
        assert (gated - plain).abs().max() == 0


def test_a_model_of_nnunet_is_a_source_too_and_heads_start_anew(build, tmp_path, minimal_plans):
    checkpoint = plain_checkpoint(plans_like_source(minimal_plans))
    torch.save(checkpoint, tmp_path / "final.pth")
    plans = plans_like_source(minimal_plans)
    plans["pretrain_info"] = read_source(tmp_path / "final.pth").as_pretrain_info()
    weights = initialized(build(getattr(trainers, PLAIN), plans)).network.state_dict()
    name = "decoder.stages.1.convs.0.conv.weight"
    assert torch.equal(weights[name], checkpoint["network_weights"][name])
    head = "decoder.seg_layers.0.weight"
    assert not torch.equal(weights[head][:2], checkpoint["network_weights"][head][:2])


@pytest.mark.parametrize("base", [GATED, PLAIN])
def test_without_mirroring_images_are_mirrored_neither_in_training_nor_in_prediction(base, build):
    trainer = initialized(build(getattr(trainers, f"{base}_noMirroring")))
    *_, axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert axes is None
    assert trainer.inference_allowed_mirroring_axes is None
    assert isinstance(trainer, getattr(trainers, base))


def test_deep_supervision_is_as_the_plans_have_it(build, plans):
    assert build(getattr(trainers, GATED), plans).enable_deep_supervision
    arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    arguments["deep_supervision"] = False
    trainer = initialized(build(getattr(trainers, GATED), plans))
    assert not trainer.enable_deep_supervision
    assert not trainer.network.decoder.deep_supervision


@pytest.mark.parametrize("fault", ["another network", "no dictionary", "another file"])
def test_weights_that_cannot_be_had_are_one_clear_error(build, plans, tmp_path, fault):
    if fault == "another network":
        arguments = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
        arguments["features_per_stage"] = [5, 7, 9]
        wanted = "nothing in .* fits the encoder"
    elif fault == "no dictionary":
        torch.save([1], tmp_path / "mae.pth")
        del plans["pretrain_info"]["checkpoint_sha256"]
        wanted = "holds a list"
    else:
        # As after a download of another checkpoint, which has the same name.
        torch.save({**nnssl_checkpoint(), "citations": []}, tmp_path / "mae.pth")
        wanted = r"mae\.pth has changed since it was planned with"
    trainer = initialized(build(getattr(trainers, GATED), plans))
    with pytest.raises(CommandError, match=wanted):
        trainer.on_train_start()


@pytest.fixture
def train(build, monkeypatch, tmp_path, plans, one_thread):
    """Returns a function that makes a trainer of a tiny data set; it goes on or begins."""
    configuration = plans["configurations"]["3d_fullres"]
    configuration.update(use_mask_for_norm=[False], patch_size=[8, 8, 8])
    folder = tmp_path / "nnUNet_preprocessed" / plans["dataset_name"]
    write_preprocessed(folder, configuration["data_identifier"])
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("NNUNET_ATTENTION_KEEP_MEMORY", "0")
    monkeypatch.setenv(VARIABLE, "5")
    monkeypatch.setattr(nnUNetTrainer, "plot_network_architecture", lambda _: None)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda *_: None)

    def trainer_of(name, epochs, go_on=False, pretrained=None):
        trainer = build(getattr(trainers, name), plans)
        trainer.num_epochs = epochs
        trainer.num_iterations_per_epoch = trainer.num_val_iterations_per_epoch = 1
        trainer.save_every = 1
        # As nnUNetv2_train does.
        maybe_load_checkpoint(trainer, go_on, False, pretrained)
        return trainer

    return trainer_of


def encoder_of(trainer) -> list[torch.Tensor]:
    return [value.detach().clone() for value in trainer.network.encoder.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


class StoppedError(Exception):
    """Stands for a kill."""


def stop_at(trainer, epoch: int):
    """Stands for the trainer's method that begins an epoch, until the given one."""
    begin = trainer.on_epoch_start

    def stop() -> None:
        if trainer.current_epoch == epoch:
            raise StoppedError
        begin()

    return stop


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        (DECODER_FIRST, 2),
        *(
            pytest.param(name, epoch, marks=pytest.mark.slow)
            for name, epoch in (
                *((DECODER_FIRST, 1), (DECODER_FIRST, 4), (DECODER_FIRST, 5)),
                *((GATED, 1), (GATED, 4), (PLAIN, 1), (PLAIN, 4)),
            )
        ),
    ],
)
def test_an_interrupted_training_goes_on_in_every_stage(
    train, plans, monkeypatch, tmp_path, name, epoch
):
    """Six epochs: two to rise alone and two together, or two to rise, and the rest to fall."""
    whole = train(name, 6)
    whole.run_training()

    stopped = train(name, 6)
    monkeypatch.setattr(stopped, "on_epoch_start", stop_at(stopped, epoch))
    for path in Path(stopped.output_folder).glob("checkpoint_*"):
        path.unlink()
    with pytest.raises(StoppedError):
        stopped.run_training()
    # What it began with is not needed any more.
    (tmp_path / "mae.pth").unlink()
    resumed = train(name, 6, go_on=True)
    assert resumed.current_epoch == epoch
    resumed.run_training()
    for key, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[key], value), key
    logged = [
        trainer.logger.local_logger.my_fantastic_logging["lrs"] for trainer in (whole, resumed)
    ]
    assert logged[0] == logged[1]


def encoders_while_training(trainer) -> dict[int, list[torch.Tensor]]:
    """Trains, and returns the encoder's weights at the end of each epoch."""
    seen = {}
    end = trainer.on_epoch_end

    def look():
        seen[trainer.current_epoch] = encoder_of(trainer)
        end()

    trainer.on_epoch_end = look
    trainer.run_training()
    return seen


def test_the_encoder_waits_as_long_without_gates(train):
    trainer = initialized(train(PLAIN_DECODER_FIRST, 4))
    begun = encoder_of(trainer)
    seen = encoders_while_training(trainer)
    assert [same(seen[epoch], begun) for epoch in range(4)] == [True, True, False, False]
    assert not any(".gates." in name for name in trainer.network.state_dict())


def test_the_encoder_waits_and_then_learns(train):
    trainer = initialized(train(DECODER_FIRST, 4))
    begun = encoder_of(trainer)
    gates = [value.detach().clone() for value in trainer.network.decoder.gates.parameters()]
    seen = encoders_while_training(trainer)
    assert same(seen[0], begun)
    assert same(seen[1], begun)
    assert not same(seen[2], begun)
    assert not same(gates, list(trainer.network.decoder.gates.parameters()))
    assert "From this epoch on, the encoder is trained too" in Path(trainer.log_file).read_text()


def test_what_is_to_be_cited_is_told_at_the_start(train):
    trainer = train(GATED, 1)
    trainer.run_training()
    log = Path(trainer.log_file).read_text()
    for citation in CITATIONS:
        assert f"{citation['type']}: {citation['name']}" in log


def test_pretrained_weights_of_the_command_are_taken_and_come_last(train, plans, tmp_path):
    del plans["pretrain_info"]
    with pytest.raises(CommandError, match="starts from pretrained weights but has none"):
        train(GATED, 1).run_training()
    other = initialized(train(GATED, 1)).network
    with torch.no_grad():
        next(other.encoder.parameters()).fill_(0.5)
    torch.save({"network_weights": other.state_dict()}, tmp_path / "other.pth")
    trainer = train(GATED, 1, pretrained=str(tmp_path / "other.pth"))
    assert (next(trainer.network.encoder.parameters()) == 0.5).all()
    trainer.run_training()


def test_weights_that_replace_those_of_the_plans_are_told(train, tmp_path):
    weights = initialized(train(GATED, 1)).network.state_dict()
    torch.save({"network_weights": weights}, tmp_path / "other.pth")
    trainer = train(GATED, 1, pretrained=str(tmp_path / "other.pth"))
    told = "The weights of -pretrained_weights replace those that the plans name"
    assert told in Path(trainer.log_file).read_text()


@pytest.mark.parametrize("fault", ["gone", "hidden", "damaged", "of another network"])
def test_weights_of_the_command_serve_where_those_of_the_plans_do_not(
    train, tmp_path, minimal_plans, plans, fault, monkeypatch
):
    def refuse():
        raise PermissionError(13, "Permission denied")

    del plans["pretrain_info"]["checkpoint_sha256"]
    weights = initialized(train(GATED, 1)).network.state_dict()
    torch.save({"network_weights": weights}, tmp_path / "other.pth")
    (tmp_path / "mae.pth").unlink()
    told = r"no longer there: .*mae\.pth; put the file"
    if fault == "hidden":
        # In a folder that only its owner may look into; root may look into all.
        hidden = tmp_path / "mae.pth"
        exists = Path.exists
        monkeypatch.setattr(
            Path, "exists", lambda path: refuse() if path == hidden else exists(path)
        )
    elif fault == "damaged":
        torch.save([1], tmp_path / "mae.pth")
        told = "holds a list"
    elif fault == "of another network":
        torch.save(plain_checkpoint(plans_of(minimal_plans, "plain 2d")), tmp_path / "mae.pth")
        told = "holds a 2-D network"
    trainer = train(GATED, 1, pretrained=str(tmp_path / "other.pth"))
    name = "encoder.stem.convs.0.conv.weight"
    assert torch.equal(trainer.network.state_dict()[name], weights[name])
    trainer.on_train_start()
    with pytest.raises(CommandError, match=told):
        train(GATED, 1).run_training()


@pytest.fixture
def start(tmp_path, minimal_plans):
    """Returns a function that makes a checkpoint for -pretrained_weights, with other citations."""

    def made(gated: bool) -> Path:
        folder = tmp_path / "target"
        folder.mkdir(exist_ok=True)
        described = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}}
        (folder / "dataset.json").write_text(json.dumps({**described, "file_ending": ".nii.gz"}))
        (folder / "nnUNetPlans.json").write_text(json.dumps(plans_like_source(minimal_plans)))
        target = read_target(folder / "nnUNetPlans.json", "3d_fullres")
        content = {**nnssl_checkpoint(), "citations": [{"type": "Pretraining", "name": "VoCo"}]}
        torch.save(content, tmp_path / "voco.pth")
        source = read_source(tmp_path / "voco.pth")
        begun = start_from(source, target, gated=gated)
        torch.save(start_checkpoint(begun, target, gated=gated), tmp_path / "start.pth")
        return tmp_path / "start.pth"

    return made


def test_results_tell_what_weights_of_the_command_they_come_from(train, tmp_path, start):
    trainer = train(GATED, 2, pretrained=str(start(gated=True)))
    trainer.on_epoch_start = stop_at(trainer, 1)
    with pytest.raises(StoppedError):
        trainer.run_training()
    log = Path(trainer.log_file).read_text()
    assert f"The network starts from {tmp_path / 'start.pth'}, the -pretrained_weights" in log
    assert f"checkpoint {tmp_path / 'voco.pth'}, kind nnssl, encoder_share 1.0" in log
    assert "Pretraining: VoCo" in log
    assert "MAE" not in log
    # Also when it has been interrupted, though its plans still name the other weights.
    resumed = train(GATED, 2, go_on=True)
    resumed.run_training()
    assert "Pretraining: VoCo" in Path(resumed.log_file).read_text()
    final = Path(trainer.output_folder) / "checkpoint_final.pth"
    assert [work["name"] for work in read_source(final).citations] == ["VoCo"]
    saved = json.loads((Path(trainer.output_folder_base) / "plans.json").read_text())
    assert saved["pretrain_info"]["checkpoint_path"] == str(tmp_path / "start.pth")
    assert saved["pretrain_info"]["pretrained_from"]["checkpoint"] == str(tmp_path / "voco.pth")


def test_the_control_refuses_weights_that_have_learnt_behind_gates(train, start):
    with pytest.raises(CommandError, match=r"start\.pth: they have gates, .* PlainUNetFinetune"):
        train(PLAIN, 1, pretrained=str(start(gated=True)))
    trainer = train(PLAIN, 1, pretrained=str(start(gated=False)))
    assert trainer._was_loaded


def test_weights_that_anyone_else_loads_are_no_weights_of_the_command(train):
    trainer = initialized(train(GATED, 1))
    trainer.network.load_state_dict(trainer.network.state_dict())
    assert weights_being_loaded() is None
    trainer.on_train_start()
    log = Path(trainer.log_file).read_text()
    assert "Please cite" not in log.rpartition("replace those that the plans name")[2]


def assert_starts_from_the_pretraining(trainer) -> None:
    image = torch.randn(1, 1, 16, 16, 16)
    encoder = trainer._bare_network().encoder
    with torch.no_grad():
        found, wanted = encoder(image), source_network().encoder(image)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()
    rest, waiting = trainer.optimizer.param_groups
    assert {id(one) for one in waiting["params"]} == {id(one) for one in encoder.parameters()}
    assert len(rest["params"]) + len(waiting["params"]) == len(list(trainer.network.parameters()))


def test_a_compiled_network_starts_and_waits_alike(build, plans, monkeypatch):
    # As on a GPU; it is compiled in the first step, which is not made here.
    monkeypatch.setattr(nnUNetTrainer, "_do_i_compile", lambda _: True)
    trainer = initialized(build(getattr(trainers, DECODER_FIRST), plans))
    assert hasattr(trainer.network, "_orig_mod")
    assert_starts_from_the_pretraining(trainer)


@pytest.fixture
def one_process_group(tmp_path):
    """Stands for several GPUs."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_a_distributed_network_starts_and_waits_alike(
    build, plans, monkeypatch, one_process_group, one_thread
):
    def distributed(network, device_ids):
        return torch.nn.parallel.DistributedDataParallel(network)

    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.DDP", distributed)
    with monkeypatch.context() as patched:
        # Else it would go to a GPU.
        patched.setattr(torch.distributed, "is_initialized", lambda: False)
        trainer = build(getattr(trainers, DECODER_FIRST), plans)
    trainer.is_ddp = True
    initialized(trainer)
    assert hasattr(trainer.network, "module")
    assert_starts_from_the_pretraining(trainer)
    trainer.current_epoch = 0
    trainer.lr_scheduler.step(0)
    before = [value.detach().clone() for value in trainer._bare_network().encoder.parameters()]
    batch = {
        "data": torch.randn(2, 1, 16, 16, 16),
        "target": [torch.randint(0, 2, (2, 1, size, size, size)).float() for size in (16, 8)],
    }
    trainer.train_step(batch)
    assert same(before, list(trainer._bare_network().encoder.parameters()))


@pytest.mark.parametrize("base", [GATED, PLAIN])
def test_a_class_of_ones_own_keeps_what_its_other_base_brings(base, build, plans):
    class Shallow(getattr(trainers, base), nnUNetTrainerNoDeepSupervision):
        """Has no deep supervision."""

    class Adaptive(getattr(trainers, base), nnUNetTrainerAdam3en4):
        """Has another optimiser, and its rate."""

    assert not build(Shallow, plans).enable_deep_supervision
    trainer = initialized(build(Adaptive, plans))
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.lr_scheduler.initial_lr == 3e-4


def test_a_scheduler_that_would_be_replaced_is_refused(build, plans):
    class Cosine(getattr(trainers, GATED), nnUNetTrainerCosAnneal):
        """Has another scheduler."""

    with pytest.raises(CommandError, match=r"Cosine is derived from .* CosineAnnealingLR, and"):
        initialized(build(Cosine, plans))
