"""Leaderboard, figure and tables from the collected summaries."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.hippocampus.schedules import DATASET, MODELS
from nnunet_attention.drawing import new_figure, save_png
from nnunet_attention.files import read_json, write_text


def report(results: Path) -> int:
    """Writes leaderboard/, dice.png and table.md into the folder of results."""
    if not (results / "runs.json").is_file():
        print(f"{results} has no runs.json; collect a run first", file=sys.stderr)
        return 2
    from nnunet_attention.cli.main import main

    record = read_json(results / "runs.json")
    folds = [str(fold) for fold in record["schedule"]["folds"]]
    batch_size = record["schedule"]["batch_size"]
    configuration = "3d_fullres" + (f"_batch{batch_size}" if batch_size else "")
    named = [f"{name}={results / trainer}" for name, trainer in MODELS.items()]
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
    for name, trainer in MODELS.items():
        model = results / trainer / DATASET / configuration
        paths = [model / f"fold_{fold}" / "validation" / "summary.json" for fold in folds]
        summaries[name] = [read_json(path) for path in paths]
    labels = read_json(results / "labels" / DATASET / "dataset.json")["labels"]
    draw(summaries, labels, results / "dice.png")
    write_text(results / "table.md", cost_table(record))
    return 0


def draw(summaries: dict[str, list[dict]], labels: dict[str, int], path: Path) -> None:
    """Dice of every case and label; a line joins the models' values of one case."""
    foreground = {name: str(value) for name, value in labels.items() if value}
    figure = new_figure(3.6 * len(foreground), 4.2, layout="constrained")
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
            panel.scatter([place] * len(dice), dice.values(), s=8, zorder=2)
            average = sum(dice.values()) / len(dice)
            panel.hlines(average, place - 0.2, place + 0.2, color="black", zorder=3)
            panel.annotate(
                f"{average:.3f}".removeprefix("0"), (place + 0.22, average), va="center", fontsize=8
            )
        panel.set_xticks(range(len(columns)), columns)
        panel.set_xlim(-0.4, len(columns) - 0.4)
        panel.set_title(name)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("Dice of a case")
    save_png(figure, path)


def cost_table(record: dict) -> str:
    """What each fold took, as Markdown."""
    lines = [
        "| model | fold | median epoch, s | training, h | validation, s a case |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, trainer in MODELS.items():
        for fold, run in sorted(record["runs"][trainer].items()):
            lines.append(
                f"| {name} | {fold} | {run['median_epoch_seconds']:.1f} | {run['hours']:.2f} | "
                f"{run['validation_seconds_per_case']:.2f} |"
            )
    return "\n".join(lines) + "\n"
