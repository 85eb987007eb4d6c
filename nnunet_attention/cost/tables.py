"""Shows the costs as tables in the terminal."""

from rich.table import Table

from nnunet_attention.cost.measure import ConfigurationCost

_GIBIBYTE = 2**30
_STARTS = {
    "identity": "identity (every coefficient 0.5; the network computes what the plain one does)",
    "open": "open (every coefficient 0.95)",
    "he": "he (as any convolution; coefficients anywhere between 0.2 and 0.8)",
}


def network_table(cost: ConfigurationCost) -> Table:
    """Make a table with a row for each network, the growth over the plain one in brackets."""
    table = Table(
        title=f"{cost.configuration}: patch {_by(cost.patch_size)}, batch {cost.batch_size}",
        caption=f"features per stage, plain and attention: {_features(cost, 'plain')}\n"
        f"features per stage, wide: {_features(cost, 'wide')}",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("network")
    for heading in (
        "parameters (M)",
        "GFLOPs / patch",
        "activations (GiB)",
        "VRAM (GB)",
    ):
        table.add_column(heading, justify="right")
    plain = cost.networks["plain"]
    for name, network in cost.networks.items():
        table.add_row(
            name,
            _grown(network.parameters, plain.parameters, 1e6),
            _grown(network.flops, plain.flops, 1e9),
            _grown(network.saved_bytes, plain.saved_bytes, _GIBIBYTE),
            _grown(network.vram_gb, plain.vram_gb, 1),
        )
    return table


def gate_table(cost: ConfigurationCost) -> Table:
    """Make a table with a row for each gate, the highest resolution first."""
    table = Table(
        title=f"{cost.configuration}: gates, channels and cost",
        caption=f"start of a new training: {_STARTS[cost.gate_start]}",
        title_justify="left",
        caption_justify="left",
    )
    for heading in (
        "stage",
        "skip",
        "gating",
        "inside",
        "stride",
        "parameters (k)",
        "MFLOPs / patch",
    ):
        table.add_column(heading, justify="right")
    for gate in cost.gates:
        table.add_row(
            str(gate.stage),
            str(gate.skip_channels),
            str(gate.gating_channels),
            str(gate.inter_channels),
            _by(gate.stride),
            f"{gate.parameters / 1e3:.1f} ({gate.parameter_share:.2%})",
            f"{gate.flops / 1e6:.1f} ({gate.flop_share:.2%})",
        )
    return table


def _features(cost: ConfigurationCost, network: str) -> str:
    return " ".join(map(str, cost.networks[network].features_per_stage))


def _grown(value: float, plain: float, unit: float) -> str:
    growth = "" if value == plain else f" ({value / plain - 1:+.2%})"
    return f"{value / unit:.2f}{growth}"


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
