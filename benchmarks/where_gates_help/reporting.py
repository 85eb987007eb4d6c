"""Makes all tables of the study from the collected results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.machine import told
from benchmarks.texts import ends_text, four_places
from benchmarks.where_gates_help.coefficients import APART_BY
from benchmarks.where_gates_help.collecting import (
    COEFFICIENTS,
    IN_DOMAIN,
    OUT_OF_DOMAIN,
    TRAININGS,
    read_cases,
)
from benchmarks.where_gates_help.design import (
    HIPPOCAMPUS,
    INFORMATIVE,
    MARGIN,
    NETWORKS,
    PARTS,
    PHANTOM_2D,
    PHANTOMS,
    SEEDS,
    Data,
    Part,
)
from nnunet_attention.evaluation.leaderboard.tables import (
    p_text,
    signed,
    value_text,
)
from nnunet_attention.evaluation.statistics.comparisons import holm
from nnunet_attention.evaluation.statistics.equivalence import equivalence, verdict
from nnunet_attention.evaluation.statistics.estimates import Estimate, over_units
from nnunet_attention.evaluation.statistics.repeats import Layout, compare_repeats
from nnunet_attention.files import read_json, write_text

_DOMAINS = {IN_DOMAIN: "", OUT_OF_DOMAIN: ", out of domain"}
_STRATA = ("smallest third", "middle third", "largest third")


@dataclass(frozen=True)
class Difference:
    """Holds the difference of two networks on one data set, first minus second.

    Attributes:
        part: its name.
        data: the data set.
        domain: `in` or `out`.
        first: folder of the network.
        second: likewise.
        mean: Dice of the first, over patients and seeds.
        stock: Dice of the stock network, likewise.
        seeds: that both were trained with.
        of_seeds: difference of each seed.
        estimate: over patients and trainings.
        adjusted: p-value after Holm's correction.
    """

    part: str
    data: Data
    domain: str
    first: str
    second: str
    mean: float
    stock: float
    seeds: tuple[int, ...]
    of_seeds: tuple[float, ...]
    estimate: Estimate
    adjusted: float = 1.0

    @property
    def verdict(self) -> str:
        """Return the verdict of rule 1 on the first network."""
        return verdict(self.estimate, MARGIN, p_value=self.adjusted)

    @property
    def is_informative(self) -> bool:
        """Tell by rule 6 whether the row counts."""
        return INFORMATIVE[0] <= self.stock <= INFORMATIVE[1]


def report(results: Path) -> int:
    """Write the tables of all parts with collected results."""
    tables = results / "tables"
    cases = {name: read_cases(results, part) for name, part in PARTS.items()}
    main, warm = (
        corrected(
            difference
            for name, part in PARTS.items()
            if part.warm == is_warm
            for difference in differences(part, cases[name])
        )
        for is_warm in (False, True)
    )
    written = {}
    for name in PARTS:
        rows = [row for row in (*main, *warm) if row.part == name]
        if rows:
            written[name] = differences_table(rows)
    trainings = {
        name: read_json(results / name / TRAININGS)["trainings"]
        for name in PARTS
        if (results / name / TRAININGS).is_file()
    }
    if trainings:
        written["trainings"] = trainings_table(trainings)
    if slopes := slopes_table(main):
        written["slopes"] = slopes
    if strata := strata_table(cases):
        written["strata"] = strata
    coefficients = results / PHANTOM_2D.name / COEFFICIENTS
    if coefficients.is_file():
        written["coefficients"] = coefficients_table(read_json(coefficients))
    if main:
        written["rules"] = rules(main, warm)
    tables.mkdir(parents=True, exist_ok=True)
    for name, table in written.items():
        write_text(tables / f"{name}.md", table)
        print(tables / f"{name}.md")
    if not written:
        print("nothing was collected yet")
    return 0


def differences(part: Part, cases: pd.DataFrame) -> list[Difference]:
    """Compare the networks of a part on every data set with two or more trainings."""
    found = []
    for data in part.data:
        for domain in _DOMAINS:
            rows = cases[(cases["dataset"] == data.dataset) & (cases["domain"] == domain)]
            values = values_by_network(rows)
            for first, second in part.comparisons:
                compared = _compared(values, rows, first, second)
                if compared is not None:
                    found.append(Difference(part.name, data, domain, first, second, **compared))
    return found


def values_by_network(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return by network the Dice of each seed and case, (seeds, cases), the mean of its labels.

    A case is left out where it is undefined for any training.
    """
    if rows.empty:
        return {}
    table = rows.pivot_table(index=["network", "seed"], columns="case", values="dice")
    table = table.dropna(axis=1)
    return {network: table.xs(network) for network in table.index.unique("network")}


def corrected(rows: Iterable[Difference]) -> list[Difference]:
    """Correct the p-values of all rows together, by Holm."""
    listed = list(rows)
    if not listed:
        return []
    adjusted = holm([row.estimate.p_value for row in listed])
    return [replace(row, adjusted=float(p)) for row, p in zip(listed, adjusted, strict=True)]


def _compared(
    values: Mapping[str, pd.DataFrame], rows: pd.DataFrame, first: str, second: str
) -> dict[str, Any] | None:
    """Return the contents of a Difference from two networks' values; None if there are too few."""
    if first not in values or second not in values:
        return None
    seeds = sorted(set(values[first].index) & set(values[second].index))
    if len(seeds) < 2:
        return None
    mine, theirs = values[first].loc[seeds], values[second].loc[seeds]
    of_case = rows.drop_duplicates("case").set_index("case")["fold"]
    folds = np.unique([str(of_case[case]) for case in mine.columns], return_inverse=True)[1]
    repeated = compare_repeats(
        mine.to_numpy(), theirs.to_numpy(), (seeds, seeds), Layout(folds), resamples=0
    )
    if repeated is None:
        return None
    stock = values.get("stock", theirs)
    return {
        "mean": float(mine.to_numpy().mean()),
        "stock": float(stock.to_numpy().mean()),
        "seeds": tuple(map(int, seeds)),
        "of_seeds": repeated.training_means,
        "estimate": repeated.estimate,
    }


def differences_table(rows: Sequence[Difference]) -> str:
    """Show differences as Markdown, a row each."""
    lines = [
        "| data | network | mean Dice | minus | difference | by seed | 95 % CI, patients and "
        f"trainings | p (Holm) | p, within ±{MARGIN:g} | verdict |",
        "|---|---|---:|---|---:|---|---|---:|---:|---|",
    ]
    for row in rows:
        counts = "" if row.is_informative else " (does not count: ceiling or floor)"
        cells = [
            row.data.title + _DOMAINS[row.domain],
            NETWORKS[row.first].name,
            value_text(row.mean, "dice"),
            NETWORKS[row.second].name,
            four_places(row.estimate.mean),
            ", ".join(four_places(value) for value in row.of_seeds),
            ends_text(row.estimate.interval()),
            p_text(row.adjusted),
            p_text(equivalence(row.estimate, MARGIN).p_value),
            row.verdict + counts,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def slope_over_sizes(rows: Sequence[Difference]) -> Estimate | None:
    """Estimate how a difference changes where the foreground doubles, by least squares.

    Args:
        rows: of one pair of networks, on phantoms with different shares of foreground; each seed
            of each is a point.
    """
    points = [
        (np.log2(row.data.recipe.foreground), value)
        for row in rows
        if row.data.recipe is not None
        for value in row.of_seeds
    ]
    if len({share for share, _ in points}) < 3:
        return None
    line = stats.linregress(*zip(*points, strict=True))
    return Estimate(float(line.slope), float(line.stderr), len(points) - 2)


def slopes_table(rows: Sequence[Difference]) -> str:
    """Show as Markdown how differences to stock change with size; empty if too little is there."""
    lines = []
    for part in PARTS.values():
        for distractors in sorted({data.recipe.distractors for data in PHANTOMS if data.recipe}):
            for domain, told_domain in _DOMAINS.items():
                for network in ("wide", "attention", "supervised"):
                    chosen = [
                        row
                        for row in rows
                        if (row.part, row.domain) == (part.name, domain)
                        and (row.first, row.second) == (network, "stock")
                        and row.data.recipe is not None
                        and row.data.recipe.distractors == distractors
                    ]
                    slope = slope_over_sizes(chosen)
                    if slope is None:
                        continue
                    low, high = slope.interval()
                    decision = "leaves out 0" if low > 0 or high < 0 else "holds 0"
                    lines.append(
                        f"| {part.planned}, {distractors} distractors{told_domain} | "
                        f"{NETWORKS[network].name} | {len(chosen)} | {four_places(slope.mean)} | "
                        f"{ends_text((low, high))} | {decision} |"
                    )
    if not lines:
        return ""
    head = [
        "| phantoms | network minus nnU-Net | shares | slope, Dice for a doubled foreground | "
        "95 % CI, trainings | interval |",
        "|---|---|---:|---:|---|---|",
    ]
    return "\n".join([*head, *lines]) + "\n"


def strata_table(cases: Mapping[str, pd.DataFrame]) -> str:
    """Show differences to stock in thirds of the patients by size; empty if there are none.

    The thirds are those of all patients of a part in its domain.
    """
    lines = []
    for name, part in PARTS.items():
        for domain, told_domain in _DOMAINS.items():
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
    """Return for each patient the voxels of the reference, and each network minus stock."""
    tables = []
    for _, of_data in rows.groupby("dataset"):
        values = values_by_network(of_data)
        if "stock" not in values:
            continue
        labels = of_data.drop_duplicates(["case", "label"])
        table = pd.DataFrame({"voxels": labels.groupby("case")["reference_voxels"].sum()})
        for network, _ in (pair for pair in part.comparisons if pair[1] == "stock"):
            if network in values:
                # Over the seeds that both have.
                table[network] = (values[network] - values["stock"]).dropna().mean()
        tables.append(table.loc[values["stock"].columns])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def coefficients_table(contrasts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Show as Markdown how much coefficients of unseen cases differ, inside minus outside."""
    gates = sorted({g for nets in contrasts.values() for of in nets.values() for g in of})
    lines = [
        f"| data | network | {' | '.join(gates)} | every gate by {APART_BY:g} or more |",
        f"|---|---|{'---:|' * len(gates)}---|",
    ]
    titles = {data.dataset: data.title for data in PHANTOMS}
    for dataset, networks in sorted(contrasts.items()):
        for network, found in sorted(networks.items()):
            apart = all(v >= APART_BY for gate, v in found.items() if gate.startswith("gate_"))
            values = [signed(found[gate], "dice") if gate in found else "" for gate in gates]
            cells = [titles[dataset], NETWORKS[network].name, *values, "yes" if apart else "no"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def trainings_table(trainings: Mapping[str, Sequence[Mapping]]) -> str:
    """Show as Markdown the trainings, and how long they took on which machines."""
    lines = [
        "| part | trained | schedule | median of a training, min | machines |",
        "|---|---:|---|---:|---|",
    ]
    for name, entries in trainings.items():
        part = PARTS[name]
        machines = "; ".join(sorted({told(entry["machine"]) for entry in entries}))
        wanted = part.trainings // len(part.folds)
        folds = f", {len(part.folds)} folds" if len(part.folds) > 1 else ""
        lines.append(
            f"| {name} | {len(entries)} of {wanted} | {part.epochs} epochs of {part.iterations} "
            f"iterations at batch {part.batch_size}{folds} | "
            f"{median(entry['minutes'] for entry in entries):.1f} | {machines} |"
        )
    return "\n".join(lines) + "\n"


def rules(main: Sequence[Difference], warm: Sequence[Difference]) -> str:
    """Return the outcome of the rules of `design` for the tables, a line each."""
    lines = []
    for network in ("attention", "supervised"):
        for domain, told_domain in _DOMAINS.items():
            rows = _rows(main, network, "stock", domain)
            if not rows:
                continue
            counted = [row for row in rows if row.is_informative]
            where = {
                kind: [row.data.title for row in counted if row.verdict == kind]
                for kind in ("better", "worse", "equivalent", "undecided")
            }
            parts = [
                f"{kind} on {len(titles)}{f' ({_listed(titles)})' if titles else ''}"
                for kind, titles in where.items()
            ]
            lines.append(
                f"- {NETWORKS[network].name} against nnU-Net{told_domain}: of {len(rows)} rows "
                f"{len(counted)} count; {'; '.join(parts)}."
            )
            gates = [
                row for row in counted if row.verdict == "better" and _is_better(main, row, "wide")
            ]
            lines.append(
                f"- It is better than the wide U-Net too on {len(gates)} of "
                f"{len(where['better'])} of these."
            )
    helped = [row for row in _rows(main, "supervised", "attention") if row.is_informative]
    if helped:
        better = sum(row.verdict == "better" for row in helped)
        lines.append(
            f"- Supervision: better than the unsupervised network on {better} of {len(helped)} "
            "rows that count."
        )
    if any(row.data == HIPPOCAMPUS for row in main):
        control, largest = null_control(main)
        lines.append(
            "- Null control: no network is better or worse than another."
            if not control
            else f"- Null control: {control} of its rows differ, by up to {largest:.4f}; "
            "nothing is claimed from differences that are not larger."
        )
    lines += [
        f"- Warm start, {NETWORKS[row.first].name} against {NETWORKS[row.second].name}: "
        f"{row.verdict}."
        for row in warm
    ]
    lines.append(f"- {recommendation(main)}")
    return "\n".join(lines) + "\n"


def null_control(main: Sequence[Difference]) -> tuple[int, float]:
    """Return how many rows of the null control differ, and by how much the largest (rule 5)."""
    sizes = [
        abs(row.estimate.mean)
        for row in main
        if row.data == HIPPOCAMPUS and row.verdict in ("better", "worse")
    ]
    return len(sizes), max(sizes, default=0.0)


def recommendation(main: Sequence[Difference]) -> str:
    """Apply rule 8; it needs all rows of the main table."""
    wanted = sum(
        len(part.data) * (1 if part.data[0].recipe is None else 2) * len(part.comparisons)
        for part in PARTS.values()
        if not part.warm
    )
    complete = [row for row in main if row.seeds == SEEDS]
    if len(complete) < wanted:
        return (
            f"Recommendation: not decided yet, {len(complete)} of {wanted} rows of the main table "
            "are complete."
        )
    # Every claimed difference must be larger than that of the null control.
    _, chance = null_control(main)
    counted = [row for row in main if row.is_informative]
    against_stock = _rows(counted, "supervised", "stock")
    worse = [row for row in against_stock if row.verdict == "worse"]
    helped = [
        row
        for row in _rows(counted, "supervised", "stock", IN_DOMAIN)
        if row.verdict == "better"
        and row.estimate.mean > chance
        and _is_better(main, row, "wide")
        and row.data != HIPPOCAMPUS
    ]
    crowded = [
        row
        for row in _rows(counted, "supervised", "stock", IN_DOMAIN)
        if row.data.recipe is not None and row.data.recipe.distractors
    ]
    on_phantoms = sum(row in helped for row in crowded)
    is_helpful = any(row.data.recipe is None for row in helped) or (
        bool(crowded) and 2 * on_phantoms >= len(crowded)
    )
    decision = "is" if is_helpful and not worse else "is not"
    return (
        f"Recommendation: the supervised trainer {decision} recommended; it is better than stock "
        f"and wide on {on_phantoms} of {len(crowded)} phantoms with distractors and on "
        f"{sum(row.data.recipe is None for row in helped)} real data sets, and worse than stock on "
        f"{len(worse)} rows."
    )


def _rows(
    rows: Iterable[Difference], first: str, second: str, domain: str | None = None
) -> list[Difference]:
    return [
        row
        for row in rows
        if (row.first, row.second) == (first, second) and domain in (None, row.domain)
    ]


def _is_better(rows: Iterable[Difference], row: Difference, than: str) -> bool:
    """Tell whether the first network of a row is better than another one there too."""
    return any(
        other.verdict == "better"
        for other in _rows(rows, row.first, than, row.domain)
        if (other.part, other.data) == (row.part, row.data)
    )


def _listed(titles: Iterable[str]) -> str:
    return "; ".join(titles)
