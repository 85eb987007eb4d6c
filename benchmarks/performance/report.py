"""Shows the measurements as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.machine import told
from benchmarks.performance.isolated import WAYS
from benchmarks.performance.timing import Estimate, difference, median, ratio
from benchmarks.performance.variants import ATTENTION, PLAIN, VARIANTS

_MEBIBYTE = 2**20
# Operations with a smaller share of the gates' time are added up.
_SMALL_SHARE = 0.02


def markdown(cases: Sequence[dict]) -> str:
    """Show the tables of all cases."""
    parts = []
    for case in cases:
        lines = _networks(case)
        if "isolated" in case:
            lines += ["", *_gates_alone(case), "", *_profile(case)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _networks(record: dict) -> list[str]:
    case = record["case"]
    size = _size(case["batch_size"], case["patch_size"])
    reduced = f", reduced from {_size(*case['planned'])}" if case["planned"] else ""
    variants = record["variants"]
    compiled = record["compiled"]
    head = [
        "network", "parameters", "saved activations", "peak memory", "train step", "inference",
        "inference peak",
    ]  # fmt: skip
    if compiled:
        head.append("first step")
    lines = [
        f"### {case['name']}, {size}{reduced}",
        "",
        _origin(record),
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * (len(head) - 1) + "|",
    ]
    # JSON has its own order.
    for name in (variant.name for variant in VARIANTS if variant.name in variants):
        row = variants[name]
        base = variants[row["baseline"]]
        if row is base:
            cells = [
                f"{row['parameters'] / 1e6:.3f} M",
                f"{row['saved_bytes'] / _MEBIBYTE:.1f} MiB",
                f"{row['peak_bytes'] / _MEBIBYTE:.1f} MiB",
                _seconds(median(row["train_step_seconds"])),
                _seconds(median(row["inference_seconds"])),
                f"{row['inference_peak_bytes'] / _MEBIBYTE:.1f} MiB",
            ]
        else:
            cells = [
                *(
                    f"{row[what] / base[what]:.4f}"
                    for what in ("parameters", "saved_bytes", "peak_bytes")
                ),
                _ratio(ratio(row["train_step_seconds"], base["train_step_seconds"])),
                _ratio(ratio(row["inference_seconds"], base["inference_seconds"])),
                f"{row['inference_peak_bytes'] / base['inference_peak_bytes']:.4f}",
            ]
        if compiled:
            cells.append(f"{row['first_step_seconds']:.0f} s")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _origin(record: dict) -> str:
    machine = record["machine"]
    return f"{told(machine)}; {record['rounds']} rounds. `{machine['command']}`"


def _gates_alone(record: dict) -> list[str]:
    alone, plain = record["isolated"], record["variants"][PLAIN]
    lines = [
        "| gates alone | training, ms | of a stock step | times the floor | inference, ms | "
        "of a stock inference | times the floor |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    columns = (
        ("training_seconds", plain["train_step_seconds"], "floor_training_bytes"),
        ("inference_seconds", plain["inference_seconds"], "floor_inference_bytes"),
    )
    for name in WAYS:
        if name == PLAIN:
            continue
        cells = []
        for what, stock, floor in columns:
            cost = difference(alone[what][name], alone[what][PLAIN])
            whole = median(stock).value
            floor_seconds = alone[floor] / alone["bandwidth_bytes_per_second"]
            share = Estimate(cost.value / whole, cost.low / whole, cost.high / whole)
            cells += [
                f"{1000 * cost.value:.2f}",
                f"{share.value:.2%} ({share.low:.2%} to {share.high:.2%})",
                f"{cost.value / floor_seconds:.1f}" if name.startswith(ATTENTION) else "",
            ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    gigabytes = alone["bandwidth_bytes_per_second"] / 1e9
    lines += [
        "",
        f"Floor: {alone['floor_training_bytes'] / _MEBIBYTE:.1f} MiB in training and "
        f"{alone['floor_inference_bytes'] / _MEBIBYTE:.1f} MiB in inference, at {gigabytes:.1f} "
        "GB/s, as a large copy on this machine.",
    ]
    return lines


def _profile(record: dict) -> list[str]:
    gated = record["isolated"]["profile_training"]
    plain = {name: seconds for name, seconds, _ in record["isolated"]["profile_training_plain"]}
    extra = [(name, seconds - plain.get(name, 0.0)) for name, seconds, _ in gated]
    total = sum(seconds for _, seconds in extra)
    lines = [
        "| operation of gates in training, less those of the concatenation | ms | share |",
        "|---|---:|---:|",
    ]
    rest = total
    for name, seconds in sorted(extra, key=lambda row: -row[1]):
        if seconds / total < _SMALL_SHARE:
            continue
        rest -= seconds
        lines.append(f"| `{name}` | {1000 * seconds:.2f} | {seconds / total:.0%} |")
    lines.append(f"| all others | {1000 * rest:.2f} | {rest / total:.0%} |")
    return lines


def _size(batch_size: int, patch_size: Sequence[int]) -> str:
    return f"batch {batch_size}, patch " + "x".join(map(str, patch_size))


def _seconds(estimate: Estimate) -> str:
    if estimate.value < 1:
        return f"{1000 * estimate.value:.1f} ms"
    return f"{estimate.value:.2f} s"


def _ratio(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
