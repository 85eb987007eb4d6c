"""Makes all tables of the study from the collected results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks.machine import told
from benchmarks.texts import ends_text, four_places
from benchmarks.where_gates_help.coefficients import APART_BY
from benchmarks.where_gates_help.collected import read_cases, read_trainings
from benchmarks.where_gates_help.collecting import (
    ABLATIONS,
    COEFFICIENTS,
    PICTURED,
    SIDE_BY_SIDE,
)
from benchmarks.where_gates_help.comparing import (
    SECONDARY,
    Difference,
    Finding,
    Interaction,
    differences,
    findings,
    interactions,
    values_by_network,
)
from benchmarks.where_gates_help.deciding import (
    is_mattering,
    not_claimed,
    null_control,
    outcome,
    recommendation,
    rules,
)
from benchmarks.where_gates_help.design import (
    DOMAINS,
    MARGIN,
    NETWORKS,
    PARTS,
    PHANTOM_2D,
    PHANTOMS,
    SEEDS,
    SUPERVISED,
    Part,
)
from benchmarks.where_gates_help.floor import below_floor
from benchmarks.where_gates_help.pilot import pilot_told, read_pilot
from nnunet_attention.evaluation.leaderboard.tables import p_text, signed, value_text
from nnunet_attention.evaluation.statistics.equivalence import equivalence
from nnunet_attention.evaluation.statistics.estimates import over_units
from nnunet_attention.files import read_json, write_text

_WITHOUT_PILOT = SEEDS[1:]
_STRATA = ("smallest third", "middle third", "largest third")
_DASH = "—"
_COUNTS = {True: "yes", False: "no: ceiling or floor", None: "not known yet"}
_OTHERS = {"outside": "all else", "distractors": "distractors"}
_TITLES = {data.dataset: data.title for data in PHANTOMS}


def report(results: Path) -> int:
    """Write the tables of all parts with collected results."""
    tables = results / "tables"
    written = all_tables(results)
    tables.mkdir(parents=True, exist_ok=True)
    for path in tables.glob("*.md"):
        if path.stem not in written:
            # Of results that are no longer there, or no longer suffice.
            path.unlink()
    for name, table in written.items():
        write_text(tables / f"{name}.md", table)
        print(tables / f"{name}.md")
    if not written:
        print("nothing was collected yet")
    return 0


def all_tables(results: Path) -> dict[str, str]:
    """Make the tables, by name; those of which nothing was collected are left out."""
    cases = {name: read_cases(results, part) for name, part in PARTS.items()}
    rows = [row for name, part in PARTS.items() for row in differences(part, cases[name])]
    found, dependent = findings(rows), interactions(rows)
    _, chance = null_control(found)
    trainings = {name: entries for name in PARTS if (entries := read_trainings(results / name))}
    of_maps = results / PHANTOM_2D.name
    contrasts, ablations = (
        read_json(of_maps / name) if (of_maps / name).is_file() else {}
        for name in (COEFFICIENTS, ABLATIONS)
    )
    later = [
        row
        for name, part in PARTS.items()
        for row in differences(part, cases[name], _WITHOUT_PILOT)
    ]
    made = {
        **{name: differences_table([row for row in rows if row.part == name]) for name in PARTS},
        "primary": findings_table([one for one in found if one.family is not None], chance),
        "secondary": findings_table([one for one in found if one.family is None]),
        "without_pilot": findings_table(
            [
                replace(one, family=None)
                for one in findings(later, _WITHOUT_PILOT)
                if one.family is not None
            ]
        ),
        "interactions": interactions_table(dependent, chance),
        "strata": strata_table(cases),
        "trainings": trainings_table(trainings),
        "floor": below_floor(cases, rows),
        "coefficients": coefficients_table(contrasts),
        "ablations": ablations_table(ablations),
        "maps": maps_picture(of_maps / SIDE_BY_SIDE),
        "pilot": pilot_told(read_pilot(results)),
        "rules": rules(found, dependent),
        "recommendation": recommendation(found) if rows else "",
    }
    return {name: table for name, table in made.items() if table}


def differences_table(rows: Sequence[Difference]) -> str:
    """Show differences on single data sets as Markdown, a row each."""
    if not rows:
        return ""
    lines = [
        "| data | network | mean Dice | minus | difference | by seed | 95 % CI, patients and "
        "trainings | p, uncorrected | counts |",
        "|---|---|---:|---|---:|---|---|---:|---|",
    ]
    for row in rows:
        cells = [
            row.data.title + DOMAINS[row.domain],
            NETWORKS[row.first].name,
            value_text(row.mean, "dice"),
            NETWORKS[row.second].name,
            four_places(row.estimate.mean),
            ", ".join(four_places(value) for value in row.of_seeds),
            ends_text(row.estimate.interval()),
            p_text(row.estimate.p_value),
            _COUNTS[row.is_informative],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def findings_table(found: Sequence[Finding], chance: float = 0.0) -> str:
    """Show differences on groups of data sets as Markdown, a row each.

    Args:
        found: the differences.
        chance: the largest difference of the null control (rule 5).
    """
    if not found:
        return ""
    lines = [
        "| data | count | network | mean Dice | minus | difference | 95 % CI, patients and "
        f"trainings | p | p (Holm) | p, within ±{MARGIN:g} | verdict |",
        "|---|---:|---|---:|---|---:|---|---:|---:|---:|---|",
    ]
    for one in found:
        name, other = NETWORKS[one.first].name, NETWORKS[one.second].name
        of = f"{one.counted} of {len(one.group.data)}"
        cells = [one.group.title + DOMAINS[one.domain], of, name]
        if one.estimate is None:
            cells += [_DASH, other, *[_DASH] * 5]
        else:
            cells += [
                value_text(one.mean, "dice"),
                other,
                four_places(one.estimate.mean),
                ends_text(one.estimate.interval()),
                p_text(one.estimate.p_value),
                _DASH if one.family is None else p_text(one.adjusted),
                p_text(equivalence(one.estimate, MARGIN).p_value),
            ]
        lines.append(f"| {' | '.join([*cells, outcome(one, chance)])} |")
    return "\n".join(lines) + "\n"


def interactions_table(found: Sequence[Interaction], chance: float = 0.0) -> str:
    """Show as Markdown how differences to stock depend on distractors and size.

    Args:
        found: the questions.
        chance: the largest difference of the null control (rule 5).
    """
    if not found:
        return ""
    lines = [
        "| phantoms | network minus nnU-Net | question | fractions | estimate, Dice | 95 % CI, "
        "patients and trainings | p | p (Holm) | decided |",
        "|---|---|---|---:|---:|---|---:|---:|---|",
    ]
    for one in found:
        is_primary = one.family is not None
        cells = [
            PARTS[one.part].planned + DOMAINS[one.domain],
            NETWORKS[one.network].name,
            one.question,
            str(one.counted),
        ]
        if one.estimate is None:
            cells += [*[_DASH] * 4, "does not count"]
        else:
            cells += [
                four_places(one.estimate.mean),
                ends_text(one.estimate.interval()),
                p_text(one.estimate.p_value),
                p_text(one.adjusted) if is_primary else _DASH,
                _outcome_of(one, chance),
            ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _outcome_of(one: Interaction, chance: float) -> str:
    if one.family is None:
        return SECONDARY
    if not one.matters:
        return "undecided"
    return "it matters" if is_mattering(one, chance) else not_claimed(chance)


def strata_table(cases: Mapping[str, pd.DataFrame]) -> str:
    """Show differences to stock in thirds of the patients by size; empty if there are none.

    The thirds are those of all patients of a part in its domain, on the data sets that count. A
    part that is not finished is left out, for its patients would be those that happen to be
    finished.
    """
    lines = []
    for name, part in PARTS.items():
        for domain, told_domain in DOMAINS.items():
            rows = cases[name][cases[name]["domain"] == domain]
            table = _size_and_differences(part, rows)
            if len(table) < 2 * len(_STRATA):
                continue
            ranks = table["voxels"].rank(method="first")
            table["stratum"] = pd.qcut(ranks, len(_STRATA), labels=_STRATA)
            for network in [column for column in table if column in NETWORKS]:
                for stratum in _STRATA:
                    chosen = table[table["stratum"] == stratum].dropna(subset=[network])
                    estimate = over_units(chosen[network].to_numpy())
                    if estimate is None:
                        continue
                    low, high = chosen["voxels"].min(), chosen["voxels"].max()
                    lines.append(
                        f"| {part.name}{told_domain} | {NETWORKS[network].name} | {stratum}, "
                        f"{low:.0f} to {high:.0f} | {len(chosen)} | {four_places(estimate.mean)} | "
                        f"{ends_text(estimate.interval())} |"
                    )
    if not lines:
        return ""
    head = [
        "| part | network minus nnU-Net | voxels | patients | difference | 95 % CI, patients |",
        "|---|---|---|---:|---:|---|",
    ]
    return "\n".join([*head, *lines]) + "\n"


def _size_and_differences(part: Part, rows: pd.DataFrame) -> pd.DataFrame:
    """Return for each patient the voxels of the reference, and each network minus stock.

    It is empty unless all trainings of the part are there.
    """
    tables = []
    for data in part.data:
        of_data = rows[rows["dataset"] == data.dataset]
        values = values_by_network(of_data)
        if not all(
            network.folder in values and set(SEEDS) <= set(values[network.folder].index)
            for network in part.networks
        ):
            return pd.DataFrame()
        if not data.is_informative(float(values["stock"].to_numpy().mean())):
            continue
        labels = of_data.drop_duplicates(["case", "label"])
        table = pd.DataFrame({"voxels": labels.groupby("case")["reference_voxels"].sum()})
        for network, _ in (pair for pair in part.comparisons if pair[1] == "stock"):
            table[network] = (values[network] - values["stock"]).mean()
        tables.append(table.loc[values["stock"].columns])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def coefficients_table(contrasts: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Show as Markdown how much coefficients of unseen cases differ between the target and others.

    Args:
        contrasts: by data set, network, `outside` or `distractors`, and gate.
    """
    if not contrasts:
        return ""
    found_all = [of for nets in contrasts.values() for found in nets.values()
                 for of in found.values()]  # fmt: skip
    gates = sorted({gate for of in found_all for gate in of})
    lines = [
        f"| data | network | target minus | {' | '.join(gates)} | every gate by {APART_BY:g} or "
        "more |",
        f"|---|---|---|{'---:|' * len(gates)}---|",
    ]
    for dataset, networks in sorted(contrasts.items()):
        for network, found in sorted(networks.items()):
            for other, values in found.items():
                if not values:
                    continue
                cells = [_TITLES[dataset], NETWORKS[network].name, _OTHERS[other]]
                cells += [signed(values[gate], "dice") if gate in values else "" for gate in gates]
                is_required = (network, other) == (SUPERVISED.folder, "outside")
                cells.append(_are_apart(values) if is_required else _DASH)
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _are_apart(values: Mapping[str, float]) -> str:
    apart = all(value >= APART_BY for gate, value in values.items() if gate.startswith("gate_"))
    return "yes" if apart else "no"


def ablations_table(ablations: Mapping[str, Mapping[str, Mapping]]) -> str:
    """Show as Markdown the verdicts of `nnunet-attention ablate` on the gates."""
    if not ablations:
        return ""
    lines = [
        "| data | network | cases | gates | verdict | replaced by | difference | 95 % CI, patients "
        "| p (Holm) | p (idle) |",
        "|---|---|---:|---|---|---|---:|---|---:|---:|",
    ]
    for dataset, networks in sorted(ablations.items()):
        for network, found in sorted(networks.items()):
            for one in found["verdicts"]:
                change, ends = one["mean_difference"], (one["low"], one["high"])
                cells = [
                    _TITLES[dataset],
                    NETWORKS[network].name,
                    str(found["cases"]),
                    one["gates"],
                    one["verdict"],
                    one["replacement"],
                    _DASH if change is None else four_places(change),
                    _DASH if None in ends else ends_text(ends),
                    p_text(one["adjusted_p_value"]),
                    p_text(one["idle_p_value"]),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def maps_picture(picture: Path) -> str:
    """Show the picture of both networks' maps, as a link from the page; empty if there is none."""
    if not picture.is_file():
        return ""
    place = f"../benchmarks/where_gates_help/results/{PHANTOM_2D.name}/{SIDE_BY_SIDE.as_posix()}"
    return f"![Maps of the same case, unsupervised and supervised]({place})\n\n{PICTURED.title}\n"


def trainings_table(trainings: Mapping[str, Sequence[Mapping]]) -> str:
    """Show as Markdown the trainings, and how long they took on which machines."""
    if not trainings:
        return ""
    lines = [
        "| part | trained | schedule | median of a training without validation, min | machines |",
        "|---|---:|---|---:|---|",
    ]
    for name, entries in trainings.items():
        part = PARTS[name]
        machines = "; ".join(sorted({told(entry["machine"]) for entry in entries}))
        folds = f", {len(part.folds)} folds" if len(part.folds) > 1 else ""
        lines.append(
            f"| {name} | {len(entries)} of {part.trainings} | {part.epochs} epochs of "
            f"{part.iterations} iterations at batch {part.batch_size}{folds} | "
            f"{median(entry['minutes'] for entry in entries):.1f} | {machines} |"
        )
    return "\n".join(lines) + "\n"
