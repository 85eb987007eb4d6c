"""The measurements of speed and memory, on cases small enough to count by hand."""

import json
import math
import shlex
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from shared_data import PLANS, needs
from torch import nn
from torch.autograd import DeviceType

from benchmarks.performance import __main__ as command
from benchmarks.performance import (
    allocator,
    cases,
    gate_profile,
    isolated,
    levers,
    measure,
    timing,
)
from benchmarks.performance import variants as measured_variants
from benchmarks.performance.gate_profile import operations
from benchmarks.performance.memory import peak_bytes
from benchmarks.performance.peers import FullResolutionGate, without_gates
from benchmarks.performance.report import markdown
from benchmarks.performance.steps import Model
from benchmarks.performance.variants import ATTENTION, PLAIN, VARIANTS, runnable
from nnunet_attention.cli.exit_codes import exit_code_of
from nnunet_attention.networks.normalisation import InstanceNorm3d

CPU = torch.device("cpu")
SMALL = cases.HIPPOCAMPUS.reduced(1, (8, 16, 24))


@pytest.mark.parametrize(
    ("case", "planner", "dataset"),
    [
        (cases.HIPPOCAMPUS, "PlainConvUNet", "Dataset004_Hippocampus"),
        (cases.PANCREAS, "PlainConvUNet", "Dataset007_Pancreas"),
        (cases.PANCREAS_RESENC_L, "ResEncL", "Dataset007_Pancreas"),
    ],
)
@needs(PLANS)
def test_cases_are_what_nnunet_plans(case, planner, dataset):
    folder = PLANS / planner / dataset
    planned = json.loads((folder / "plans.json").read_text())["configurations"]["3d_fullres"]
    labels = json.loads((folder / "dataset.json").read_text())["labels"]
    assert case.architecture == planned["architecture"]
    assert list(case.patch_size) == planned["patch_size"]
    assert case.batch_size == planned["batch_size"]
    assert case.batch_dice == planned["batch_dice"]
    assert case.classes == len(labels)


def test_targets_have_the_sizes_of_the_outputs():
    network = VARIANTS[0].build(SMALL)
    outputs = network(SMALL.patch(CPU))
    targets = SMALL.targets(CPU)
    assert [one.shape[2:] for one in outputs] == [one.shape[2:] for one in targets]
    assert all(one.shape[1] == 1 and one.max() <= 2 for one in targets)


def test_the_loss_weighs_resolutions_as_nnunets_trainer_does():
    # 1, 1/2 and nothing, of their sum.
    assert SMALL.loss().weight_factors == pytest.approx([2 / 3, 1 / 3, 0])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_train_step_moves_the_weights_of_every_variant(variant):
    model = Model(variant, SMALL, CPU, compiled=False)
    before = [one.detach().clone() for one in model.plain_network.parameters()]
    # Gates that start with the plain network's function move theta and phi in the second step.
    for _ in range(2):
        model.train_step(SMALL.patch(CPU), SMALL.targets(CPU))
    after = list(model.plain_network.parameters())
    moved = sum(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    # nnU-Net gives the coarsest output no weight in the loss.
    assert moved >= len(before) - 2
    model.set_deep_supervision(False)
    model.inference(SMALL.patch(CPU, 1))()


def test_options_of_one_variant_do_not_reach_the_next():
    of = {one.name: one for one in VARIANTS}
    names = (ATTENTION, "attention, full resolution gated", "attention, output transform")
    assert [len(of[name].build(SMALL).decoder.gates) for name in names] == [2, 3, 2]


def test_our_norms_and_the_gates_are_told_apart():
    def norms(name):
        network = next(one for one in VARIANTS if one.name == name).build(SMALL)
        return {type(one) for one in network.modules() if isinstance(one, nn.InstanceNorm3d)}

    assert norms(PLAIN) == norms("attention, torch's norms") == {nn.InstanceNorm3d}
    assert norms(ATTENTION) == norms("plain, our norms") == norms("wide") == {InstanceNorm3d}


def test_the_gate_at_full_resolution_is_that_of_the_forks():
    torch.manual_seed(0)
    gate = FullResolutionGate(nn.Conv3d, 4, None)
    upsampled, skip = torch.randn(1, 4, 2, 3, 5), torch.randn(1, 4, 2, 3, 5)
    got = gate(upsampled, skip)
    g, x = upsampled[0, :, 1, 2, 3].double(), skip[0, :, 1, 2, 3].double()

    def applied(layers, values):
        weight, bias = (one.detach().double() for one in layers[0].parameters())
        return weight.flatten(1) @ values + bias

    query = (applied(gate.of_gating, g) + applied(gate.of_skip, x)).clamp(min=0)
    coefficient = 1 / (1 + math.exp(-applied(gate.psi, query).item()))
    assert got[0, :, 1, 2, 3].tolist() == pytest.approx((coefficient * x).tolist(), abs=1e-6)


def test_monais_network_without_gates_passes_its_skips():
    torch.manual_seed(0)
    gated = next(one for one in VARIANTS if one.name == "MONAI AttentionUnet").build(SMALL).eval()
    plain = without_gates(gated)
    image = SMALL.patch(CPU)
    blocks = [one for one in gated.modules() if type(one).__name__ == "AttentionBlock"]
    assert len(blocks) == 3
    assert not [one for one in plain.modules() if type(one).__name__ == "AttentionBlock"]
    with torch.no_grad():
        assert not torch.equal(gated(image), plain(image))
        for block in blocks:
            # Its last layers before the sigmoid: a norm that gives 50 everywhere, so a gate of 1.
            nn.init.zeros_(block.psi[1].weight)
            nn.init.constant_(block.psi[1].bias, 50.0)
        torch.testing.assert_close(gated(image), plain(image))


def test_peak_bytes_count_what_is_held_at_the_same_time():
    kept = []

    def step():
        first = torch.empty(1000, dtype=torch.float32)
        second = torch.empty(500, dtype=torch.float32)
        del first
        third = torch.empty(250, dtype=torch.float32)
        del second, third
        kept.append(torch.empty(100, dtype=torch.float32))

    assert peak_bytes(step, CPU) == 4 * (1000 + 500)


@pytest.mark.slow
def test_jobs_are_timed_in_turn_and_in_all_orders():
    rounds = 30
    called = []
    jobs = {name: (lambda name=name: called.append(name)) for name in "abc"}
    seconds = timing.in_turn(jobs, rounds, CPU)
    # One round to warm up, which is not counted.
    assert len(called) == 3 * (rounds + 1)
    orders = {"".join(called[first : first + 3]) for first in range(0, len(called), 3)}
    assert {"".join(sorted(order)) for order in orders} == {"abc"}
    assert len(orders) == 6
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys("abc", rounds)


def test_ratios_and_differences_are_taken_within_rounds():
    # The machine was three times slower in the second round.
    values, baseline = [2.0, 6.0, 2.2], [1.0, 3.0, 1.0]
    assert timing.ratio(values, baseline).value == pytest.approx(2.0)
    assert timing.difference(values, baseline).value == pytest.approx(1.2)
    found = timing.median([1.0, 2.0, 3.0, 4.0, 100.0])
    assert found.value == 3.0
    assert 1.0 <= found.low < 3.0 < found.high <= 100.0


def test_the_floor_is_one_read_forward_and_three_backward():
    # 64 channels on 20 x 28 x 20 and 128 on 10 x 14 x 10; the full resolution is not gated.
    values = 9 * (64 * 20 * 28 * 20 + 128 * 10 * 14 * 10)
    assert isolated.floor_bytes(cases.HIPPOCAMPUS, 4) == (4 * values, 3 * 4 * values)


def test_levels_have_the_shapes_of_the_decoder():
    found = isolated.levels(SMALL, CPU)
    assert [tuple(one.skip.shape) for one in found] == [
        (1, 128, 2, 4, 6),
        (1, 64, 4, 8, 12),
        (1, 32, 8, 16, 24),
    ]
    assert [tuple(one.gating.shape) for one in found][:1] == [(1, 256, 1, 2, 3)]
    assert [one.is_full_resolution for one in found] == [False, False, True]


def test_the_gates_alone_compute_what_the_networks_decoder_puts_in():
    torch.manual_seed(0)
    network = VARIANTS[2].build(SMALL)
    assert VARIANTS[2].name == ATTENTION
    inputs = {}
    for number, stage in enumerate(network.decoder.stages):
        stage.register_forward_pre_hook(
            lambda _, given, number=number: inputs.setdefault(number, given[0])
        )
    skips = network.encoder(SMALL.patch(CPU))
    network.decoder(skips)
    level = isolated.levels(SMALL, CPU)[0]
    level.gate = network.decoder.gates[0]
    upsampled = network.decoder.transpconvs[0](skips[-1])
    torch.testing.assert_close(
        isolated.gated(level, upsampled, skips[-2], skips[-1]), inputs[0], rtol=0, atol=0
    )


@pytest.mark.parametrize(
    "name",
    [
        "gradients as torch's convolutions have them",
        "product before its concatenation",
        "all backward passes written out",
        "recomputed in the backward pass",
        "1x1x1 convolutions as matrix products",
    ],
)
def test_every_lever_computes_the_same_gate(name):
    found = isolated.levels(SMALL.reduced(2, SMALL.patch_size), CPU)
    levers.require_equal(found, name, levers.levers(CPU)[name], CPU)


def test_the_levers_of_a_gpu_are_those_for_16_bits():
    found = levers.levers(torch.device("cuda"))
    assert "all backward passes written out" not in found
    levels = isolated.levels(SMALL.reduced(2, SMALL.patch_size), CPU)
    for name in ("coefficients upsampled in 32 bits", "gradients as matrix products, as on a CPU"):
        levers.require_equal(levels, name, found[name], CPU)


def test_channels_last_is_a_layout_and_changes_no_parameter():
    of = {one.name: one for one in VARIANTS}
    for name in (PLAIN, ATTENTION):
        torch.manual_seed(0)
        usual = of[name].build(SMALL)
        torch.manual_seed(0)
        last = of[f"{name}, channels last"].build(SMALL)
        theirs = last.state_dict()
        for key, weight in usual.state_dict().items():
            assert torch.equal(weight, theirs[key])
        first = last.encoder.stages[1][0].convs[0].conv.weight
        assert first.is_contiguous(memory_format=torch.channels_last_3d)
        assert not first.is_contiguous()


def test_networks_in_bfloat16_round_their_convolutions_and_return_32_bits():
    of = {one.name: one for one in VARIANTS}
    for name in (PLAIN, ATTENTION):
        outputs = []
        for variant in (of[name], of[f"{name}, bfloat16"]):
            torch.manual_seed(0)
            with torch.no_grad():
                outputs.append(variant.build(SMALL)(SMALL.patch(CPU))[0])
        exact, rounded = outputs
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)
        # Eight binary digits in each of a dozen convolutions.
        assert (exact - rounded).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.parametrize(
    ("device", "reason", "told"),
    [
        ("cpu", None, []),
        ("cpu", "no such instruction", ["networks in bfloat16: no such instruction"]),
        (
            "cuda",
            None,
            ["networks in bfloat16: on a GPU all networks are in mixed precision"],
        ),
    ],
)
def test_networks_in_bfloat16_are_left_out_where_they_say_nothing(
    monkeypatch, device, reason, told
):
    monkeypatch.setattr(measured_variants, "why_no_bfloat16", lambda: reason)
    monkeypatch.setattr(measured_variants, "find_spec", lambda name: True)
    found, reasons = measured_variants.runnable(torch.device(device))
    assert reasons == told
    assert len(VARIANTS) - len(found) == 2 * len(told)
    monkeypatch.setattr(measured_variants, "find_spec", lambda name: None)
    found, reasons = measured_variants.runnable(torch.device(device))
    assert reasons == [*told, "MONAI's networks: MONAI is not installed"]
    assert len(VARIANTS) - len(found) == 2 * len(told) + 2


def test_a_lever_that_computes_something_else_is_caught():
    found = isolated.levels(SMALL, CPU)
    with pytest.raises(SystemExit, match="no gate: differs from the gate in use"):
        levers.require_equal(found, "no gate", isolated.plain, CPU)


def test_the_table_of_levers_is_of_the_cost_beyond_the_concatenation():
    seconds = {"plain": [0.010, 0.030], "one": [0.012, 0.032]}
    same = {name: [1.0, 1.0] for name in seconds}
    record = {"training": seconds, "validation": same, "inference": same}
    assert levers.table(record).splitlines()[2] == (
        "| one | 2.00 (2.00 to 2.00) | 0.00 (0.00 to 0.00) | 0.00 (0.00 to 0.00) |"
    )


def test_operations_are_listed_with_their_shares():
    a = torch.randn(64, 64)
    found = operations(lambda: a @ a, CPU)
    assert found[0][0] == "aten::mm"
    assert sum(share for *_, share in found) == pytest.approx(1)


def test_on_a_gpu_kernels_are_listed_and_not_what_launched_them(monkeypatch):
    def event(key, device_type, microseconds):
        return SimpleNamespace(
            key=key, device_type=device_type, self_device_time_total=microseconds
        )

    # torch gives the time of a kernel to the operation that launched it, too.
    events = [
        event("aten::mul", DeviceType.CPU, 30e6),
        event("mul_kernel", DeviceType.CUDA, 30e6),
        event("copy_kernel", DeviceType.CUDA, 10e6),
    ]
    recorded = SimpleNamespace(key_averages=lambda: events)
    monkeypatch.setattr(gate_profile, "profile", lambda activities: nullcontext(recorded))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    found = operations(lambda: None, torch.device("cuda"))
    # Of five runs.
    assert found == [("mul_kernel", 6.0, 0.75), ("copy_kernel", 2.0, 0.25)]


@pytest.mark.slow
def test_networks_without_room_and_those_held_against_them_are_left_out(monkeypatch, capsys):
    fitting = {PLAIN, ATTENTION}
    monkeypatch.setattr(measure, "_fits", lambda variant, *_: variant.name in fitting)
    found = measure.measure_case(SMALL, [VARIANTS[0], VARIANTS[2], *VARIANTS[-2:]], CPU, 1, False)
    assert set(found["variants"]) == fitting
    assert "not enough memory for MONAI AttentionUnet; it is left out" in capsys.readouterr().err


def test_no_room_for_the_plain_network_ends_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(measure, "_fits", lambda *_: False)
    assert (
        exit_code_of("it", lambda: command.main(["--cases", "hippocampus", "-o", str(tmp_path)]))
        == 1
    )
    assert "not enough memory for the plain network" in capsys.readouterr().err
    assert not (tmp_path / "hippocampus.json").exists()


def test_the_room_that_networks_need_is_three_times_their_parameters(monkeypatch):
    parameters = sum(one.numel() for one in VARIANTS[0].build(SMALL).parameters())
    needed = 5 * 2**30 + 3 * 4 * parameters
    for available, fits in ((needed, False), (needed + 1, True)):
        memory = SimpleNamespace(available=available)
        monkeypatch.setattr(measure.psutil, "virtual_memory", lambda memory=memory: memory)
        assert measure._fits(VARIANTS[0], SMALL, CPU) is fits


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(cases.REDUCED, "hippocampus", SMALL)


def test_steps_of_both_networks_are_timed_for_the_table_of_allocators(monkeypatch):
    monkeypatch.setattr(cases, "HIPPOCAMPUS", SMALL)
    losses = {}
    for name in (allocator.DEFAULT, "stock nnU-Net again (control)", "attention U-Net"):
        found = allocator._steps(allocator.SETTINGS[name], 1)
        losses[name] = found["loss"]
        assert found["seconds"] > 0
        assert found["peak_gib"] > 0
    stock, again, attention = losses.values()
    assert stock == again != attention


def test_the_table_of_allocators_is_of_stock_nnunets_step():
    runs = {
        allocator.DEFAULT: [{"seconds": 2.0, "peak_gib": 3.0}],
        "attention U-Net": [{"seconds": 1.0, "peak_gib": 4.0}],
    }
    assert allocator.table(runs).splitlines()[-1] == (
        "| attention U-Net | 1.00 s | 0.500 (0.500 to 0.500) | 4.00 GiB |"
    )


@pytest.mark.slow
def test_the_command_writes_json_and_table_and_keeps_what_is_there(tiny, tmp_path, capsys):
    arguments = ["--cases", "hippocampus", "--rounds", "2", "-o", str(tmp_path)]
    assert command.main(arguments) == 0
    record = json.loads((tmp_path / "hippocampus.json").read_text())
    variants = record["variants"]
    assert list(variants) == sorted(one.name for one in runnable(CPU)[0])
    plain, attention = variants[PLAIN], variants[ATTENTION]
    gates = [(128, 256), (64, 128)]
    assert attention["parameters"] - plain["parameters"] == sum(
        8 * c * c // 2 + g * c // 2 + c // 2 + c // 2 + 1 for c, g in gates
    )
    assert attention["saved_bytes"] > plain["saved_bytes"]
    assert len(plain["train_step_seconds"]) == 2
    table = (tmp_path / "table.md").read_text()
    assert "batch 1, patch 8x16x24, reduced from batch 9, patch 40x56x40" in table
    before = (tmp_path / "hippocampus.json").stat().st_mtime_ns
    assert command.main(arguments) == 0
    assert (tmp_path / "hippocampus.json").stat().st_mtime_ns == before
    assert "--again measures it again" in capsys.readouterr().err


@pytest.mark.slow
def test_the_smallest_case_without_gates_has_networks_alone(tmp_path):
    arguments = ["--cases", "hippocampus", "--rounds", "1", "-o", str(tmp_path)]
    networks = ["--networks", ATTENTION]
    assert command.main([*arguments, *networks, "--smallest", "--no-gates"]) == 0
    record = json.loads((tmp_path / "hippocampus.json").read_text())
    assert set(record["variants"]) == {PLAIN, ATTENTION}
    assert "isolated" not in record
    table = (tmp_path / "table.md").read_text()
    assert "batch 1, patch 16x8x8, reduced from batch 9, patch 40x56x40" in table
    assert "gates alone" not in table


def test_the_record_says_the_allocators_settings(monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "measure_case", lambda *arguments: {})
    monkeypatch.setattr("benchmarks.performance.report.markdown", lambda records: "")
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "0")
    arguments = ["--cases", "hippocampus", "-o", str(tmp_path)]
    assert command.main(arguments) == 0
    said = json.loads((tmp_path / "hippocampus.json").read_text())["machine"]["command"]
    assert said == f"MALLOC_MMAP_MAX_=0 python -m benchmarks.performance {shlex.join(arguments)}"


def test_a_gpu_that_is_not_there_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert command.main(["--device", "cuda", "-o", str(tmp_path / "out")]) == 2
    assert "torch finds no GPU here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_network_is_refused_and_the_known_ones_are_listed(tmp_path, capsys):
    assert command.main(["--networks", "attenton", "-o", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "--networks attenton: choose from 'plain', " in error
    assert "'MONAI AttentionUnet'" in error
    assert not (tmp_path / "out").exists()


def test_the_report_holds_each_network_against_its_own_baseline():
    def row(baseline, factor):
        return {
            "baseline": baseline,
            "parameters": 1_000_000 * factor,
            "saved_bytes": 2**20 * factor,
            "peak_bytes": 2**21 * factor,
            "inference_peak_bytes": 2**19 * factor,
            "train_step_seconds": [2.0 * factor, 4.0 * factor],
            "inference_seconds": [0.1 * factor, 0.2 * factor],
            "first_step_seconds": 1.0,
        }

    ways = {name: [0.01, 0.01] for name in isolated.WAYS}
    ways[ATTENTION] = [0.04, 0.04]
    record = {
        "case": {"name": "Task", "batch_size": 2, "patch_size": [1, 2, 3], "planned": None},
        "machine": dict.fromkeys(
            ("kind", "threads", "torch", "nnunetv2", "python", "command"), "?"
        ),
        "compiled": False,
        "rounds": 2,
        "variants": {
            PLAIN: row(PLAIN, 1),
            ATTENTION: row(PLAIN, 1.5),
            "MONAI without gates": row("MONAI without gates", 4),
            "MONAI AttentionUnet": row("MONAI without gates", 5),
        },
        "isolated": {
            "training_seconds": ways,
            "inference_seconds": ways,
            "floor_training_bytes": 3 * 2**20,
            "floor_inference_bytes": 2**20,
            "bandwidth_bytes_per_second": 100 * 2**20,
            "profile_training": [["aten::mul", 0.03, 0.75], ["aten::cat", 0.01, 0.25]],
            "profile_training_plain": [["aten::cat", 0.01, 1.0]],
        },
    }
    lines = markdown([record]).splitlines()
    assert "| plain | 1.000 M | 1.0 MiB | 2.0 MiB | 3.00 s | 150.0 ms | 0.5 MiB |" in lines
    assert (
        "| attention | 1.5000 | 1.5000 | 1.5000 | 1.500 (1.500 to 1.500) | 1.500 (1.500 to 1.500) "
        "| 1.5000 |"
    ) in lines
    monai = next(line for line in lines if line.startswith("| MONAI AttentionUnet"))
    assert monai.startswith("| MONAI AttentionUnet | 1.2500 | 1.2500 |")
    # 30 ms of a step of 3 s, against 3 MiB at 100 MiB/s; of an inference of 150 ms, against 1 MiB.
    assert (
        "| attention | 30.00 | 1.00% (1.00% to 1.00%) | 1.0 | 30.00 | 20.00% (20.00% to 20.00%) "
        "| 3.0 |"
    ) in lines
    assert "| `aten::mul` | 30.00 | 100% |" in lines
    assert np.isclose(float(lines[-1].split("|")[2]), 0)
