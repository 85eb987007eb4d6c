"""Makes tables of the costs."""

from dataclasses import replace

from nnunet_attention.cost.measure import ConfigurationCost
from nnunet_attention.evaluation.leaderboard.grid import Grid

_GIBIBYTE = 2**30
_FOLDED = ("cost", "number")
_STARTS = {
    "identity": "identity (every coefficient 0.5; the network computes what the plain one does)",
    "open": "open (every coefficient 0.95)",
    "he": "he (as any convolution; coefficients anywhere between 0.2 and 0.8)",
}
# A norm after the product cannot keep the function, and the next weights stay as they are.
_IDENTITY_WITH_NORM = "identity (every coefficient 0.5; the output transform's norm follows)"


def network_table(cost: ConfigurationCost) -> Grid:
    """Return a table with a row per network and its growth over the plain one in brackets."""
    plain = cost.networks["plain"]
    return Grid.of_texts(
        f"{cost.configuration}: patch {_by(cost.patch_size)}, batch {cost.batch_size}",
        ["network", "parameters (M)", "GFLOPs / patch", "activations (GiB)", "VRAM (GB)"],
        [
            [
                name,
                _grown(network.parameters, plain.parameters, 1e6),
                _grown(network.flops, plain.flops, 1e9),
                _grown(network.saved_bytes, plain.saved_bytes, _GIBIBYTE),
                _grown(network.vram_gb, plain.vram_gb, 1),
            ]
            for name, network in cost.networks.items()
        ],
        names=1,
        notes=(
            f"features per stage, plain and attention: {_features(cost, 'plain')}",
            f"features per stage, wide: {_features(cost, 'wide')}",
        ),
        folded_heading=_FOLDED,
    )


def gate_table(cost: ConfigurationCost) -> Grid:
    """Return a table with a row for each gate, the highest resolution first."""
    sizes = ("skip", "gating", "inside", "stride")
    grid = Grid.of_texts(
        f"{cost.configuration}: gates, channels and cost",
        ["stage", *sizes, "parameters (k)", "MFLOPs / patch"],
        [
            [
                str(gate.stage),
                str(gate.skip_channels),
                str(gate.gating_channels),
                str(gate.inter_channels),
                _by(gate.stride),
                f"{gate.parameters / 1e3:.1f} ({gate.parameter_share:.2%})",
                f"{gate.flops / 1e6:.1f} ({gate.flop_share:.2%})",
            ]
            for gate in cost.gates
        ],
        names=0,
        notes=(f"start of a new training: {_start(cost)}",),
        folded_heading=_FOLDED,
    )
    # The stage identifies the row, although it is a number.
    return replace(grid, kept=1)


def _start(cost: ConfigurationCost) -> str:
    if cost.output_transform and cost.gate_start == "identity":
        return _IDENTITY_WITH_NORM
    return _STARTS[cost.gate_start]


def _features(cost: ConfigurationCost, network: str) -> str:
    return " ".join(map(str, cost.networks[network].features_per_stage))


def _grown(value: float, plain: float, unit: float) -> str:
    growth = "" if value == plain else f" ({value / plain - 1:+.2%})"
    return f"{value / unit:.2f}{growth}"


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
