"""Leaderboard, figure and tables from the collected summaries."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.hippocampus.schedules import COMPARED, DATASET, Schedule, folder_of
from benchmarks.machine import told
from nnunet_attention.crossval.published import write_published
from nnunet_attention.drawing import LABEL_COLOURS, new_figure, save_png
from nnunet_attention.evaluation.statistics import Comparison
from nnunet_attention.evaluation.tables import confidence_interval, p_text, signed, value_text
from nnunet_attention.files import read_json, write_text


def report(results: Path) -> int:
    """Writes leaderboard/, published.md, dice.png, dice.md and runs.md beside the summaries."""
    if not (results / "runs.json").is_file():
        print(f"{results} has no runs.json; collect a run first", file=sys.stderr)
        return 2
    from nnunet_attention.cli.main import main

    record = read_json(results / "runs.json")
    schedule = Schedule(**record["schedule"])
    folds, configuration = schedule.folds, schedule.configuration
    models = [name for name in COMPARED if name in record["runs"]]
    named = [f"{name}={results / folder_of(name)}" for name in models]
    code = main(
        [
            *("leaderboard", "-d", DATASET, "-c", configuration, "-f", *folds),
            *("--results", *named, "--label-names", str(results / "labels")),
            *("-o", str(results / "leaderboard")),
        ]
    )
    if code:
        return code
    summaries = {}
    for name in models:
        model = results / folder_of(name) / DATASET / configuration
        paths = [model / f"fold_{fold}" / "validation" / "summary.json" for fold in folds]
        summaries[name] = [read_json(path) for path in paths]
    labels = read_json(results / "labels" / DATASET / "dataset.json")["labels"]
    draw(summaries, labels, results / "dice.png")
    board = read_json(results / "leaderboard" / "leaderboard.json")
    write_published(board, ["3d_fullres"], results)
    write_text(results / "dice.md", dice_table(board))
    write_text(results / "runs.md", runs_table(record))
    return 0


def draw(summaries: dict[str, list[dict]], labels: dict[str, int], path: Path) -> None:
    """Dice of every case and label; a line joins the models' values of one case."""
    foreground = {name: str(value) for name, value in labels.items() if value}
    figure = new_figure(1.2 * len(foreground) * len(summaries), 4.2, layout="constrained")
    # On paper, as a plot of numbers; the dark ground is for images.
    figure.set_facecolor("white")
    panels = figure.subplots(1, len(foreground), sharey=True, squeeze=False)[0]
    for panel, (name, value) in zip(panels, foreground.items(), strict=True):
        columns = {
            model: {
                case["prediction_file"]: case["metrics"][value]["Dice"]
                for summary in found
                for case in summary["metric_per_case"]
            }
            for model, found in summaries.items()
        }
        first = next(iter(columns.values()))
        for case in first:
            panel.plot(
                range(len(columns)), [dice[case] for dice in columns.values()],
                color="0.6", linewidth=0.5, alpha=0.6, zorder=1,
            )  # fmt: skip
        for place, dice in enumerate(columns.values()):
            colour = LABEL_COLOURS[place % len(LABEL_COLOURS)]
            panel.scatter([place] * len(dice), dice.values(), s=8, color=colour, zorder=2)
            average = sum(dice.values()) / len(dice)
            panel.hlines(average, place - 0.2, place + 0.2, color="black", zorder=3)
            panel.annotate(
                f"{average:.3f}".removeprefix("0"), (place + 0.22, average), va="center", fontsize=8
            )
        names = [model.replace(", ", ",\n").replace(" U", "\nU") for model in columns]
        panel.set_xticks(range(len(columns)), names)
        panel.set_xlim(-0.4, len(columns) - 0.4)
        panel.set_title(name)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("Dice of a case")
    save_png(figure, path)


def dice_table(board: dict) -> str:
    """Means with 95 % intervals, and the tests against the first model, as Markdown.

    Args:
        board: content of leaderboard.json.
    """
    baseline = board["models"][0]
    lines = [
        f"| label | model | n | mean ± SD | 95 % CI | minus {baseline} | 95 % CI | "
        "wins/ties/losses | p | p (Holm) |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in board["rows"]:
        if row["metric"] != "dice":
            continue
        for model in board["models"]:
            values = row["models"][model]
            cells = [row["label"], model, str(values["n"])]
            cells.append(f"{_text(values['mean'])} ± {_text(values['sd'])}")
            cells.append(confidence_interval(values["low"], values["high"], "dice"))
            cells += [""] * 5 if model == baseline else _against(row, model, baseline)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _against(row: dict, model: str, baseline: str) -> list[str]:
    for pair in row["comparisons"]:
        sides = pair["first"], pair["second"]
        if sides not in ((model, baseline), (baseline, model)):
            continue
        comparison = Comparison(**{name: pair[name] for name in Comparison.__annotations__})
        if pair["first"] == baseline:
            comparison = comparison.turned()
        return [
            signed(comparison.mean_difference, "dice"),
            confidence_interval(comparison.low, comparison.high, "dice", signed),
            f"{comparison.wins}/{comparison.zeros}/{comparison.losses}",
            p_text(comparison.p_value),
            p_text(pair["adjusted_p_value"]),
        ]
    raise ValueError(f"{model} and {baseline} are not compared on {row['label']}")


def _text(value: float) -> str:
    return value_text(value, "dice")


def runs_table(record: dict) -> str:
    """What was run on which machine, and what each fold took, as Markdown."""
    schedule = Schedule(**record["schedule"])
    batch = f"batch {schedule.batch_size}" if schedule.batch_size else "the plans' batch"
    seeds = f"seed {schedule.seed} (other seed: {schedule.of_controls().seed})"
    lines = [
        f"{schedule.epochs} epochs of {schedule.iterations} iterations at {batch}, {seeds}, "
        f"folds {', '.join(schedule.folds)}. {told(record['machine'])}.",
        "",
        "| model | fold | median epoch, s | training, h | validation, s a case |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in COMPARED:
        for fold, run in sorted(record["runs"].get(name, {}).items()):
            lines.append(
                f"| {name} | {fold} | {run['median_epoch_seconds']:.1f} | {run['hours']:.2f} | "
                f"{run['validation_seconds_per_case']:.2f} |"
            )
    return "\n".join(lines) + "\n"
