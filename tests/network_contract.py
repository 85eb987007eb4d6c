"""What every attention network of ours must keep, inherited by each network's test class."""

import io

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter


def simple_forward(network: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The network as the paper has it, one operation after the other; nothing is done in place."""
    skips = network.encoder(x)
    decoder = network.decoder
    outputs, feature = [], skips[-1]
    for number, skip in enumerate(reversed(skips[:-1])):
        joined = decoder.transpconvs[number](feature)
        if number < len(decoder.gates):
            gate = decoder.gates[number]
            query = torch.relu(gate.theta(skip) + gate.phi(feature))
            coefficients = nn.functional.interpolate(
                torch.sigmoid(gate.psi(query)),
                size=skip.shape[2:],
                mode={4: "bilinear", 5: "trilinear"}[skip.ndim],
            )
            skip = coefficients * skip
            if gate.output_transform is not None:
                skip = gate.output_transform(skip)
        feature = decoder.stages[number](torch.cat((joined, skip), 1))
        outputs.append(decoder.seg_layers[number](feature))
    return outputs[::-1]


class NetworkContract:
    """A subclass names the two classes and what tells their arguments apart."""

    gated_class: type[nn.Module]
    plain_class: type[nn.Module]
    blocks: dict  # the arguments that only this encoder has

    def arguments(self, dimensions: int) -> dict:
        conv_op = {2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        norm_op = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimensions]
        strides = [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 1, 2)]
        return {
            "input_channels": 2,
            "n_stages": 4,
            "features_per_stage": [4, 6, 8, 10],
            "conv_op": conv_op,
            "kernel_sizes": [[3] * dimensions] * 4,
            "strides": [stride[3 - dimensions :] for stride in strides],
            "n_conv_per_stage_decoder": [1, 2, 1],
            "num_classes": 3,
            "conv_bias": True,
            "norm_op": norm_op,
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": nn.LeakyReLU,
            "nonlin_kwargs": {"inplace": True},
            **self.blocks,
        }

    def gated(
        self, dimensions: int = 3, seed: int = 0, gate_start: str = "he", **options
    ) -> nn.Module:
        """A gated network; by default its coefficients differ from voxel to voxel."""
        torch.manual_seed(seed)
        network = self.gated_class(**self.arguments(dimensions), gate_start=gate_start, **options)
        network.apply(network.initialize)
        return network

    def plain(self, dimensions: int = 3, seed: int = 0, **options) -> nn.Module:
        torch.manual_seed(seed)
        network = self.plain_class(**self.arguments(dimensions), **options)
        network.apply(network.initialize)
        return network

    @staticmethod
    def images(dimensions: int = 3) -> torch.Tensor:
        size = {3: (2, 2, 4, 8, 16), 2: (2, 2, 8, 16)}[dimensions]
        return torch.randn(size, generator=torch.Generator().manual_seed(1))

    def test_is_a_kind_of_the_plain_network(self):
        assert isinstance(self.gated(), self.plain_class)

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_normalisations_are_torchs_own(self, dimensions):
        network = self.gated(dimensions, output_transform=True)
        norms = {
            type(module) for module in network.modules() if "InstanceNorm" in str(type(module))
        }
        assert norms == {{2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[dimensions]}

    @pytest.mark.parametrize("dimensions", [2, 3])
    @pytest.mark.parametrize("gate_full_resolution", [False, True])
    @pytest.mark.parametrize("output_transform", [False, True])
    @pytest.mark.parametrize("deep_supervision", [False, True])
    def test_shapes_values_and_gradients(
        self, dimensions, gate_full_resolution, output_transform, deep_supervision
    ):
        network = self.gated(
            dimensions,
            gate_full_resolution=gate_full_resolution,
            output_transform=output_transform,
            deep_supervision=deep_supervision,
        )
        outputs = network(self.images(dimensions))
        sizes = [(4, 8, 16), (4, 4, 8), (2, 2, 4)]
        expected = [(2, 3, *size[3 - dimensions :]) for size in sizes]
        if deep_supervision:
            assert [tuple(output.shape) for output in outputs] == expected
            sum(output.pow(2).mean() for output in outputs).backward()
        else:
            assert tuple(outputs.shape) == expected[0]
            outputs.pow(2).mean().backward()
        gates = network.decoder.gates
        assert len(gates) == (3 if gate_full_resolution else 2)
        for name, parameter in network.named_parameters():
            if deep_supervision or not name.startswith(
                ("decoder.seg_layers.0", "decoder.seg_layers.1")
            ):
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name
        for name, parameter in gates.named_parameters():
            # A bias in front of an instance norm has no effect on the output.
            if name.endswith("output_transform.0.bias"):
                continue
            assert parameter.grad.abs().max() > 0, name

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_keys_are_the_plain_networks_and_the_gates(self, dimensions):
        gated = self.gated(dimensions).state_dict()
        plain = self.plain(dimensions).state_dict()
        assert {key: value.shape for key, value in plain.items()} == {
            key: value.shape for key, value in gated.items() if "gates" not in key
        }
        added = set(gated) - set(plain)
        layers = ("theta.weight", "phi.weight", "phi.bias", "psi.weight", "psi.bias")
        assert added == {f"decoder.gates.{s}.{layer}" for s in (0, 1) for layer in layers}

    def test_one_seed_gives_the_plain_networks_initial_values(self):
        gated, plain = self.gated(seed=3).state_dict(), self.plain(seed=3).state_dict()
        assert all(torch.equal(gated[key], value) for key, value in plain.items())

    @pytest.mark.parametrize("dimensions", [2, 3])
    @pytest.mark.parametrize("initialise", [True, False])
    @pytest.mark.parametrize("gate_full_resolution", [True, False])
    def test_starts_as_the_plain_network_however_it_is_initialised(
        self, dimensions, initialise, gate_full_resolution
    ):
        torch.manual_seed(5)
        gated = self.gated_class(
            **self.arguments(dimensions), gate_full_resolution=gate_full_resolution
        )
        torch.manual_seed(5)
        plain = self.plain_class(**self.arguments(dimensions))
        if initialise:
            for network in (gated, plain):
                torch.manual_seed(6)
                # Twice: what was doubled before is drawn anew.
                network.apply(network.initialize)
                torch.manual_seed(6)
                network.apply(network.initialize)
        x = self.images(dimensions)
        assert torch.equal(gated(x), plain(x))

    def test_plain_weights_load_with_only_gates_missing(self):
        result = self.gated(seed=0).load_state_dict(self.plain(seed=1).state_dict(), strict=False)
        assert not result.unexpected_keys
        assert all(key.startswith("decoder.gates.") for key in result.missing_keys)

    def test_encoder_loads_into_the_plain_network(self):
        gated, plain = self.gated(seed=0), self.plain(seed=1)
        plain.encoder.load_state_dict(gated.encoder.state_dict())
        x = self.images()
        for ours, theirs in zip(gated.encoder(x), plain.encoder(x), strict=True):
            assert torch.equal(ours, theirs)

    def test_gates_of_ones_leave_the_plain_networks_function(self):
        gated, plain = self.gated(gate_full_resolution=True), self.plain()
        for gate in gated.decoder.gates:
            nn.init.zeros_(gate.psi.weight)
            nn.init.constant_(gate.psi.bias, 50.0)  # sigmoid(50) is 1 in float32
        x = self.images()
        assert torch.equal(gated(x), plain(x))

    def test_closed_gates_cut_the_skips_off(self):
        network = self.gated(gate_full_resolution=True).eval()
        for gate in network.decoder.gates:
            nn.init.zeros_(gate.psi.weight)
            nn.init.constant_(gate.psi.bias, -200.0)  # sigmoid(-200) is 0 in float32
        skips = network.encoder(self.images())
        without = [torch.zeros_like(skip) for skip in skips[:-1]] + skips[-1:]
        assert torch.equal(network.decoder(skips), network.decoder(without))

    @pytest.mark.parametrize("deep_supervision", [False, True])
    def test_asking_for_coefficients_changes_no_output(self, deep_supervision):
        network = self.gated(deep_supervision=deep_supervision)
        x = self.images()
        outputs, coefficients = network(x, return_coefficients=True)
        for with_, without in zip(outputs, network(x), strict=True):
            assert torch.equal(with_, without)
        assert [tuple(c.shape) for c in coefficients] == [(2, 1, 2, 2, 4), (2, 1, 4, 4, 8)]
        skips = network.encoder(x)
        expected = network.decoder.gates[0](skips[2], skips[3])[1]
        assert torch.equal(coefficients[0], expected)

    @pytest.mark.parametrize("dimensions", [2, 3])
    @pytest.mark.parametrize(
        "options", [{}, {"gate_full_resolution": True}, {"output_transform": True}]
    )
    @pytest.mark.parametrize("precision", [torch.float64, torch.float32, torch.bfloat16])
    def test_outputs_and_gradients_are_those_of_the_simple_gate(
        self, dimensions, options, precision
    ):
        network = self.gated(dimensions, deep_supervision=True, **options)
        x = self.images(dimensions)
        if precision is torch.float64:
            network, x = network.double(), x.double()
        # oneDNN's 16-bit gradient of a plain convolution's weights, here in decoder.stages, reads
        # memory that was never written (torch 2.15): there only the gates' own are compared.
        learned = network.decoder.gates if precision is torch.bfloat16 else network
        parameters = list(learned.parameters())

        def run(forward, *arguments):
            # One context each: within one, casts of the weights are shared.
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
                return forward(*arguments)

        outputs, coefficients = run(network, x, True)
        simple = run(simple_forward, network, x)
        with torch.no_grad():
            predicted, predicted_coefficients = run(network, x, True)
        assert len(outputs) == 3
        for ours, without_gradients, theirs in zip(outputs, predicted, simple, strict=True):
            assert torch.equal(ours, theirs)
            assert torch.equal(without_gradients, theirs)
            assert without_gradients.dtype == theirs.dtype
        for one, other in zip(coefficients, predicted_coefficients, strict=True):
            assert torch.equal(one, other)
        gradients = [
            torch.autograd.grad(sum(one.float().pow(2).mean() for one in given), parameters)
            for given in (outputs, simple)
        ]
        for ours, theirs in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, theirs)

    def test_deep_supervision_can_be_switched_as_the_trainer_does(self):
        network = self.gated(deep_supervision=True)
        first = network(self.images())[0]
        network.decoder.deep_supervision = False
        assert torch.equal(network(self.images()), first)

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_feature_map_size_is_the_plain_networks_and_the_gates(self, dimensions):
        gated, plain = self.gated(dimensions), self.plain(dimensions)
        size = (4, 8, 16)[3 - dimensions :]
        # Gate 0: skip of 8 channels on 2 x 2 x 4 (2-D: 2 x 4), gating grid 1 x 2 x 2 (2-D: 2 x 2).
        # Gate 1: skip of 6 channels on 4 x 4 x 8 (2-D: 4 x 8), gating grid 2 x 2 x 4 (2-D: 2 x 4).
        by_hand = {
            3: (4 * (2 * 4 + 1) + 16) + (16 * (2 * 3 + 1) + 128),
            2: (4 * (2 * 4 + 1) + 8) + (8 * (2 * 3 + 1) + 32),
        }[dimensions]
        added = gated.compute_conv_feature_map_size(size) - plain.compute_conv_feature_map_size(
            size
        )
        assert added == by_hand

    def test_saving_and_loading_keeps_the_function(self):
        network, other = self.gated(seed=0).eval(), self.gated(seed=1).eval()
        buffer = io.BytesIO()
        torch.save(network.state_dict(), buffer)
        buffer.seek(0)
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(network(self.images()), other(self.images()))

    @pytest.mark.parametrize(
        ("dimensions", "backend", "deep_supervision"),
        [
            (2, "eager", True),
            (3, "eager", False),
            pytest.param(3, "aot_eager", True, marks=pytest.mark.slow),
        ],
    )
    def test_compiles_without_graph_break(self, dimensions, backend, deep_supervision):
        torch._dynamo.reset()
        network = self.gated(dimensions, deep_supervision=deep_supervision)
        compiled = torch.compile(network, fullgraph=True, backend=backend)
        x = self.images(dimensions)
        outputs, expected = compiled(x), network(x)
        for ours, theirs in zip(outputs, expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        (outputs[0] if deep_supervision else outputs).sum().backward()
        assert all(p.grad is not None for p in network.decoder.gates.parameters())

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
    @pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
    def test_a_trace_can_be_saved_and_computes_the_same(self):
        network = self.gated()
        traced = torch.jit.trace(network, self.images())
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer)
        buffer.seek(0)
        loaded = torch.jit.load(buffer)
        torch.testing.assert_close(loaded(self.images()), network(self.images()))

    def test_compiles_once_for_one_size(self):
        torch._dynamo.reset()
        counter = CompileCounter()
        compiled = torch.compile(self.gated(), fullgraph=True, backend=counter)
        for _ in range(3):
            compiled(self.images())
        assert counter.frame_count == 1

    @pytest.mark.slow
    def test_other_sizes_compile_no_more_often_than_without_gates(self):
        sizes = [(4, 8, 16), (8, 8, 16), (8, 16, 16), (12, 16, 32), (4, 24, 48), (16, 8, 16)]
        counts = []
        for network in (self.gated(), self.plain()):
            torch._dynamo.reset()
            counter = CompileCounter()
            compiled = torch.compile(network, fullgraph=True, backend=counter)
            counts.append([])
            for size in sizes:
                compiled(torch.randn(1, 2, *size))
                counts[-1].append(counter.frame_count)
        assert counts[0] == counts[1]
        # By then all axes are known to vary.
        assert counts[0][-1] == counts[0][-2]

    def test_a_network_without_a_skip_to_gate_is_refused(self):
        arguments = self.arguments(3)
        arguments.update(n_stages=2, features_per_stage=[4, 6], n_conv_per_stage_decoder=[1])
        for name in ("kernel_sizes", "strides", *self.blocks):
            arguments[name] = arguments[name][:2]
        with pytest.raises(ValueError, match=r"2 stages.*gate_full_resolution"):
            self.gated_class(**arguments)
        assert len(self.gated_class(**arguments, gate_full_resolution=True).decoder.gates) == 1
