"""Turns results into tables, for the documents or, from a CPU, for a separate report."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

import numpy as np

from benchmarks import documents, resampling
from benchmarks.gpu.stages import CASES, GROUPS, MODELS, best_workers
from benchmarks.gpu.work import Work
from benchmarks.machine import told
from benchmarks.performance import levers
from benchmarks.performance.report import markdown
from benchmarks.performance.timing import median
from benchmarks.performance.variants import ATTENTION, PLAIN
from nnunet_attention.evaluation.leaderboard.tables import (
    confidence_interval,
    p_text,
    signed,
    value_text,
)
from nnunet_attention.evaluation.statistics.comparisons import summarise_and_compare
from nnunet_attention.files import write_json, write_text

_MEBIBYTE = 2**20
_FIRST = "hippocampus", "gates"


def report(work: Work) -> int:
    """Write the available results; only numbers of a GPU go into the documents."""
    finished = work.finished()
    if not finished:
        print(f"{work.results} has no results; `run` makes them", file=sys.stderr)
        return 2
    tables = all_tables(finished)
    if any(record["machine"]["device"] == "cpu" for record in finished.values()):
        path = work.root / "report.md"
        head = "# Tried out on a CPU\n\nEverything is reduced: none of these numbers says anything."
        parts = [f"## {title}\n\n{text.strip()}" for title, text in tables.items()]
        write_text(path, "\n\n".join([head, *parts]) + "\n")
        print(f"report: {path}")
        return 0
    for name, record in finished.items():
        documents.GPU.joinpath("results").mkdir(parents=True, exist_ok=True)
        write_json(documents.GPU / "results" / f"{name}.json", record)
    for title, text in tables.items():
        path = documents.OF_GPU[title]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        print(f"report: {path}")
    return documents.main([])


def all_tables(finished: Mapping[str, dict]) -> dict[str, str]:
    """Return Markdown by title; leave out what was not measured, and list what failed."""
    made = {
        "tests": tests_table(finished),
        "loading": loading_table(finished),
        "speed and memory": markdown(list(merged(finished))),
        "kernels": "\n\n".join(map(kernels_table, _with_gates(finished))),
        "levers": levers_table(finished),
        "resampling": resampling_table(finished),
        "trainings": trainings_table(finished),
        "failures": failures(finished),
    }
    return {title: text for title, text in made.items() if text.strip()}


def _of(finished: Mapping[str, dict], prefix: str) -> list[dict]:
    return [record for name, record in finished.items() if name.startswith(prefix) and record["ok"]]


def _origin(records: list[dict]) -> str:
    """Name cards and versions, each once."""
    return ". ".join(dict.fromkeys(told(record["machine"]) for record in records)) + "."


def failures(finished: Mapping[str, dict]) -> str:
    """List the stages without a result."""
    lines = [
        f"- {name}: {record['reason']}" for name, record in finished.items() if not record["ok"]
    ]
    return "\n".join(lines) + "\n" if lines else ""


def tests_table(finished: Mapping[str, dict]) -> str:
    """Show outcomes by file, and each failure by name."""
    records = {
        name.removeprefix("tests_"): record
        for name, record in finished.items()
        if name.startswith("tests_") and record["ok"]
    }
    if not records:
        return ""
    lines = [
        _origin(list(records.values())),
        "",
        "| tests of | passed | failed | skipped | s |",
        "|---|---:|---:|---:|---:|",
    ]
    bad = []
    for name, record in records.items():
        tests = record["found"]["tests"]
        counts = [
            sum(test["outcome"] == outcome for test in tests)
            for outcome in ("passed", "failed", "skipped")
        ]
        seconds = sum(test["seconds"] for test in tests)
        lines.append(f"| {name} | {' | '.join(map(str, counts))} | {seconds:.0f} |")
        bad += [
            f"- {test['name']}: {test['outcome']}, {test['message']}"
            for test in tests
            if test["outcome"] != "passed"
        ]
    # The reasons of skipped tests repeat.
    return "\n".join([*lines, *([""] if bad else []), *dict.fromkeys(bad)]) + "\n"


def loading_table(finished: Mapping[str, dict]) -> str:
    """Show batches per second by number of workers, beside the steps that a GPU takes."""
    records = _of(finished, "loading_")
    if not records:
        return ""
    lines = [
        f"{_origin(records)} {records[0]['found']['cpus']} CPUs.",
        "",
        "| `nnUNet_n_proc_DA` | batches a second |",
        "|---:|---:|",
    ]
    for record in sorted(records, key=lambda record: record["found"]["workers"]):
        rate = record["found"]
        lines.append(f"| {rate['workers']} | {rate['batches_per_second']:.1f} |")
    lines += ["", f"Trainings are run with {best_workers(finished)}."]
    table = finished.get("table_{}_{}".format(*_FIRST))
    if table and table["ok"]:
        rates = {
            name: 1 / median(table["found"]["variants"][name]["train_step_seconds"]).value
            for name in (PLAIN, ATTENTION)
        }
        lines[-1] += (
            f" Without waiting, stock nnU-Net takes {rates[PLAIN]:.1f} steps a second, the "
            f"attention U-Net {rates[ATTENTION]:.1f}."
        )
    return "\n".join(lines) + "\n"


def merged(finished: Mapping[str, dict]) -> Iterator[dict]:
    """Merge to a record for each case and card; a group keeps the plain network of its timing."""
    for case in CASES:
        by_card: dict[str, dict] = {}
        for group in GROUPS:
            record = finished.get(f"table_{case}_{group.replace(' ', '_')}")
            if record is None or not record["ok"]:
                continue
            measured = record["found"]
            card = measured["machine"]["kind"]
            if card not in by_card:
                by_card[card] = {**measured, "variants": dict(measured["variants"])}
                continue
            rows = by_card[card]["variants"]
            by_card[card].setdefault("isolated", measured.get("isolated"))
            for name, row in measured["variants"].items():
                baseline = row["baseline"]
                if baseline == PLAIN:
                    # Not shown: names of its own are none of the table's.
                    baseline = f"{PLAIN}, beside {group}"
                rows[baseline if name == PLAIN else name] = {**row, "baseline": baseline}
        for record in by_card.values():
            if record.get("isolated") is None:
                record.pop("isolated", None)
            record["machine"] = {**record["machine"], "command": "python -m benchmarks.gpu run"}
            yield record


def _with_gates(finished: Mapping[str, dict]) -> Iterator[dict]:
    return (record for record in merged(finished) if "isolated" in record)


def kernels_table(record: dict) -> str:
    """Show the kernels of a training step's gates, beside the bytes a copy moves in their time."""
    alone = record["isolated"]
    rate = alone["bandwidth_bytes_per_second"]
    must = alone["floor_training_bytes"] / _MEBIBYTE
    lines = [
        f"{record['case']['name']}: gates and concatenation, forward and backward. Beyond the "
        f"concatenation, gates must move {must:.1f} MiB, in "
        f"{1000 * must * _MEBIBYTE / rate:.3f} ms at the {rate / 1e9:.0f} GB/s of a large copy. "
        f"{told(record['machine'])}.",
        "",
        "| | kernel | ms | MiB of a copy in that time |",
        "|---|---|---:|---:|",
    ]
    profiles = {
        "eager": "profile_training",
        "compiled": "profile_training_compiled",
        "concatenation alone": "profile_training_plain",
    }
    for title, key in profiles.items():
        rows = alone.get(key, [])
        for name, seconds, share in rows:
            if share >= 0.02:
                lines.append(_kernel(title, f"`{name[:80]}`".replace("|", "/"), seconds, rate))
        if rows:
            lines.append(_kernel(title, "all", sum(row[1] for row in rows), rate))
    return "\n".join(lines) + "\n"


def _kernel(title: str, name: str, seconds: float, rate: float) -> str:
    return f"| {title} | {name} | {1000 * seconds:.3f} | {seconds * rate / _MEBIBYTE:.1f} |"


def levers_table(finished: Mapping[str, dict]) -> str:
    """Return the table as `benchmarks.performance.levers` prints it."""
    parts = [
        f"{told(record['found']['machine'])}.\n\n{levers.table(record['found']['seconds'])}"
        for record in _of(finished, "levers")
    ]
    return "\n".join(parts)


def resampling_table(finished: Mapping[str, dict]) -> str:
    """Return the table as `benchmarks.resampling` prints it."""
    parts = [
        f"{told(record['found']['machine'])}.\n\n{resampling.table(record['found']['rows'])}"
        for record in _of(finished, "resampling")
    ]
    return "\n".join(parts)


def trainings_table(finished: Mapping[str, dict]) -> str:
    """Show what each training took and reached, and how those of one seed and fold differ."""
    records = _of(finished, "training_")
    if not records:
        return ""
    first = records[0]["found"]
    lines = [
        f"{first['dataset']}: {first['epochs']} epochs of {first['iterations']} iterations. "
        f"{_origin(records)}",
        "",
        "| model | seed | fold | median epoch, s | validation, s a case | n | Dice | 95 % CI |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    baseline, other = MODELS
    paired = [
        *(f"| seed | fold | {other} minus {baseline} | 95 % CI | wins/ties/losses | p |",),
        "|---:|---:|---:|---:|---:|---:|",
    ]
    pairs: dict[tuple[int, int], dict[str, dict]] = {}
    for record in sorted(records, key=_place):
        training = record["found"]
        pairs.setdefault((training["seed"], training["fold"]), {})[training["model"]] = training
        dice = means_over_labels(training["dice"])
        summary = summarise_and_compare(np.array([list(dice.values())]), True, 0)[0][0]
        per_case = training["seconds_per_case"]
        cells = [
            *(training["model"], str(training["seed"]), str(training["fold"])),
            f"{training['median_epoch_seconds']:.1f}",
            "" if per_case is None else f"{per_case:.2f}",
            str(summary.n),
            value_text(summary.mean, "dice"),
            confidence_interval(summary.low, summary.high, "dice"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for (seed, fold), models in pairs.items():
        if set(models) != set(MODELS):
            continue
        both = [means_over_labels(models[name]["dice"]) for name in (other, baseline)]
        cases = sorted(set(both[0]) & set(both[1]))
        values = np.array([[dice[case] for case in cases] for dice in both])
        comparison = summarise_and_compare(values, True, 0)[1][0, 1]
        cells = [
            *(str(seed), str(fold), signed(comparison.mean_difference, "dice")),
            confidence_interval(comparison.low, comparison.high, "dice", signed),
            f"{comparison.wins}/{comparison.zeros}/{comparison.losses}",
            p_text(comparison.p_value),
        ]
        paired.append(f"| {' | '.join(cells)} |")
    if len(paired) > 2:
        lines += ["", *paired]
    lines += [
        "",
        "Dice is a case's mean over the labels. Intervals and tests (Wilcoxon's, not corrected for "
        "their number) are about these trained networks on these cases; what another seed gives, "
        "the rows of other seeds tell.",
    ]
    return "\n".join(lines) + "\n"


def _place(record: dict) -> tuple:
    training = record["found"]
    return training["fold"], training["seed"], list(MODELS).index(training["model"])


def means_over_labels(dice: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Average over labels, by case; leave out cases without a value for any label."""
    defined = {
        case: [value for value in labels.values() if value is not None]
        for case, labels in dice.items()
    }
    return {case: sum(values) / len(values) for case, values in defined.items() if values}
