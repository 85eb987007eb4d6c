"""Makes leaderboard, figures and tables from the collected summaries."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.hippocampus.schedules import (
    BFLOAT16,
    IDENTITY,
    OPEN,
    PACED,
    STOCK,
    VARIANTS,
    WIDE,
    Schedule,
)
from benchmarks.hippocampus.training import collected_model
from benchmarks.machine import told
from benchmarks.texts import ends_text, four_places
from nnunet_attention.drawing import LABEL_COLOURS, new_figure, save_png
from nnunet_attention.evaluation.leaderboard.tables import (
    confidence_interval,
    p_text,
    signed,
    value_text,
)
from nnunet_attention.evaluation.statistics.comparisons import Comparison
from nnunet_attention.evaluation.statistics.equivalence import equivalence
from nnunet_attention.evaluation.statistics.estimates import over_units
from nnunet_attention.evaluation.statistics.repeats import Layout, mean_over_repeats
from nnunet_attention.files import read_json, write_text
from nnunet_attention.msd.published import write_published
from nnunet_attention.nnunet.model_folders import validation_summaries

# Margins of equivalence, in Dice. The smaller is the difference that the start `he` made.
MARGINS = (0.005, 0.01)
# Fixed before the runs: a start is called "not behind" stock nnU-Net only if the lower end of the
# interval over seeds and patients is above this, and another start, or stock's pace, becomes the
# default if it is better by more.
NOT_BEHIND = -0.005
BETTER_BY = 0.002
SEEDS_TO_DECIDE = 3


def report(results: Path) -> int:
    """Write leaderboard/, starts.md, published.md, dice.png, dice.md and runs.md."""
    if not (results / "runs.json").is_file():
        print(f"{results} has no runs.json; collect a run first", file=sys.stderr)
        return 2
    from nnunet_attention.cli.leaderboard import show_leaderboard
    from nnunet_attention.evaluation import Request, Settings

    record = read_json(results / "runs.json")
    schedule = schedule_of(record)
    shown = shown_runs(record)
    repeated = any(len(seeds) > 1 for _, seeds in shown.values())
    request = Request(
        (schedule.dataset,),
        (schedule.configuration,),
        tuple(map(str, schedule.folds)),
        named={
            name: [results / variant / f"seed_{seed}" for seed in seeds]
            for name, (variant, seeds) in shown.items()
        },
        label_folders=(results / "labels",),
    )
    show_leaderboard(request, results / "leaderboard", Settings(paired_repeats=repeated))
    summaries = {
        name: [read_summaries(schedule, results, variant, seed) for seed in seeds]
        for name, (variant, seeds) in shown.items()
    }
    labels = read_json(results / "labels" / schedule.dataset / "dataset.json")["labels"]
    draw(summaries, labels, results / "dice.png")
    board = read_json(results / "leaderboard" / "leaderboard.json")
    write_published(board, [schedule.planned], results)
    write_text(results / "dice.md", dice_table(board))
    write_text(results / "runs.md", runs_table(record))
    dice = {
        variant: {
            int(seed): case_dice(read_summaries(schedule, results, variant, int(seed)))
            for seed in seeds
        }
        for variant, seeds in record["runs"].items()
    }
    first = read_summaries(schedule, results, STOCK.folder, min(dice[STOCK.folder]))
    write_text(results / "starts.md", starts_table(dice, case_folds(first)))
    return 0


def schedule_of(record: Mapping) -> Schedule:
    """Return the schedule that a record of runs names."""
    return Schedule(
        **{
            **record["schedule"],
            "folds": tuple(record["schedule"]["folds"]),
            "runs": tuple((variant, seed) for variant, seed in record["schedule"]["runs"]),
        }
    )


def shown_runs(record: Mapping) -> dict[str, tuple[str, list[int]]]:
    """List what the leaderboard compares: the variants that were trained with all stock's seeds.

    The trainings are then paired by their seeds.

    Returns:
        Variant and seeds, by the name in tables.
    """
    runs = {variant: sorted(map(int, seeds)) for variant, seeds in record["runs"].items()}
    wanted = runs.get(STOCK.folder, [])
    return {
        definition.name: (variant, wanted)
        for variant, definition in VARIANTS.items()
        if wanted and set(wanted) <= set(runs.get(variant, []))
    }


def read_summaries(schedule: Schedule, results: Path, variant: str, seed: int) -> list[dict]:
    """Read the summaries of a run's folds."""
    model = collected_model(schedule, results, variant, seed)
    return [read_json(path) for path in validation_summaries(model, schedule.folds)]


def case_dice(summaries: list[dict]) -> dict[str, float]:
    """Return each case's Dice, the mean over the labels for which it is defined."""
    return {
        case["prediction_file"]: float(
            np.nanmean([values["Dice"] for values in case["metrics"].values()])
        )
        for summary in summaries
        for case in summary["metric_per_case"]
    }


def case_folds(summaries: list[dict]) -> dict[str, int]:
    """Return the number of the training that predicted each case, from 0."""
    return {
        case["prediction_file"]: number
        for number, summary in enumerate(summaries)
        for case in summary["metric_per_case"]
    }


def starts_table(
    dice: Mapping[str, Mapping[int, Mapping[str, float]]], folds: Mapping[str, int]
) -> str:
    """Show every variant minus stock nnU-Net of the same seed, as Markdown.

    Args:
        dice: of each case, by variant, seed and case.
        folds: number of the training that predicted each case, from 0, by case.
    """
    stock = dice[STOCK.folder]
    lines = [
        f"| network | seeds | mean Dice | minus {STOCK.name} of the same seed | by seed | "
        "cases above it | 95 % CI, patients | 95 % CI, patients and seeds | "
        + " | ".join(f"p, within ±{_plain(margin)}" for margin in MARGINS)
        + " |",
        "|---|---|---:|---:|---|---|---|---|" + "---:|" * len(MARGINS),
        f"| {STOCK.name} | {_listed(sorted(stock))} | {_mean_dice(stock, sorted(stock))} |"
        + " |" * (5 + len(MARGINS)),
    ]
    lower_ends = {}
    for folder, variant in VARIANTS.items():
        seeds = sorted(set(dice.get(folder, {})) & set(stock))
        if folder == STOCK.folder or not seeds:
            continue
        cases = sorted(folds)
        differences = paired(dice[folder], stock, seeds, cases)
        of_cases = over_units(differences.mean(axis=0))
        layout = Layout(folds=np.array([folds[case] for case in cases]))
        repeated = mean_over_repeats(differences, layout, resamples=0)
        of_both = None if repeated is None else repeated.estimate
        tested = of_both or of_cases
        if of_both is not None:
            lower_ends[folder] = (len(seeds), of_both.interval()[0])
        cells = [
            *(variant.name, _listed(seeds), _mean_dice(dice[folder], seeds)),
            four_places(of_cases.mean),
            ", ".join(four_places(row.mean()) for row in differences),
            ", ".join(f"{int((row > 0).sum())} of {row.size}" for row in differences),
            ends_text(of_cases.interval()),
            ends_text(of_both.interval()) if of_both else "one training",
            *(p_text(equivalence(tested, margin).p_value) for margin in MARGINS),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    decided = verdicts(lower_ends, gains(dice, OPEN.folder), gains(dice, PACED.folder))
    precision = in_bfloat16(dice, folds)
    return "\n".join([*lines, "", *chance(stock), *decided, *precision]) + "\n"


def in_bfloat16(
    dice: Mapping[str, Mapping[int, Mapping[str, float]]], folds: Mapping[str, int]
) -> list[str]:
    """Compare trainings in bfloat16 with those in 32 bits, which are otherwise the same.

    Returns:
        One line of Markdown; nothing if no seed was trained in both precisions.
    """
    ours, theirs = dice.get(BFLOAT16.folder, {}), dice.get(IDENTITY.folder, {})
    seeds, cases = sorted(set(ours) & set(theirs)), sorted(folds)
    if not seeds:
        return []
    differences = paired(ours, theirs, seeds, cases)
    layout = Layout(folds=np.array([folds[case] for case in cases]))
    repeated = mean_over_repeats(differences, layout, resamples=0)
    if repeated is None:
        estimate, of = over_units(differences[0]), "patients"
    else:
        estimate, of = repeated.estimate, "patients and seeds"
    tests = [
        f"p {p_text(equivalence(estimate, margin).p_value)} within ±{_plain(margin)}"
        for margin in MARGINS
    ]
    by_seed = ", ".join(four_places(row.mean()) for row in differences)
    return [
        f"- `{BFLOAT16.folder}` minus `{IDENTITY.folder}` of the same seed (in 32 bits) is "
        f"{four_places(estimate.mean)} (seeds {_listed(seeds)}: {by_seed}), with an interval over "
        f"{of} of {ends_text(estimate.interval())}; TOST: {', '.join(tests)}."
    ]


def chance(stock: Mapping[int, Mapping[str, float]]) -> list[str]:
    """Say how far apart trainings of stock nnU-Net are; nothing for a single one."""
    means = [float(np.mean(list(stock[seed].values()))) for seed in sorted(stock)]
    if len(means) < 2:
        return []
    return [
        f"- By chance alone, the mean Dice of {STOCK.name} with seeds {_listed(sorted(stock))} is "
        f"{', '.join(f'{mean:.4f}' for mean in means)}: up to {max(means) - min(means):.4f} apart."
    ]


def gains(dice: Mapping[str, Mapping[int, Mapping[str, float]]], folder: str) -> list[float]:
    """Return mean Dice of a variant minus `identity`, for each seed that both were trained with."""
    theirs, identity = dice.get(folder, {}), dice.get(IDENTITY.folder, {})
    seeds = sorted(set(theirs) & set(identity))
    if not seeds:
        return []
    return list(paired(theirs, identity, seeds, sorted(identity[seeds[0]])).mean(axis=1))


def verdicts(
    lower_ends: Mapping[str, tuple[int, float]],
    of_open: Sequence[float],
    of_paced: Sequence[float] = (),
) -> list[str]:
    """Write the outcome of each rule that was fixed before the runs, a line each.

    Args:
        lower_ends: number of seeds, at least 2, and the lower end of the interval of the difference
            to stock over patients and seeds, by variant.
        of_open: `open` minus `identity`, by seed.
        of_paced: `paced` minus `identity`, by seed.
    """
    lines = []
    for folder, (seeds, low) in lower_ends.items():
        if folder == WIDE.folder:
            continue
        behind = "is not" if low > NOT_BEHIND else "may be"
        lines.append(
            f"- `{folder}`: the interval's lower end is {four_places(low)}, so that it {behind} "
            f"behind {STOCK.name} by {_plain(-NOT_BEHIND)} or more, with {seeds} trainings of each."
        )
    lines += _outcome(OPEN.folder, of_open, "`identity` stays", "`identity` has to give way as")
    return lines + _outcome(PACED.folder, of_paced, "it does not become", "it becomes")


def _outcome(folder: str, gained: Sequence[float], stays: str, changes: str) -> list[str]:
    """Apply the rule for what may replace the default."""
    if not len(gained):
        return []
    gain = float(np.mean(gained))
    line = f"- `{folder}` minus `identity` of the same seed is {four_places(gain)} in the mean"
    if len(gained) < SEEDS_TO_DECIDE:
        line += f" of {len(gained)}; the rule for the default asks for the mean of "
        return [f"{line}{SEEDS_TO_DECIDE}."]
    outcome = stays if gain <= BETTER_BY else changes
    return [
        f"{line} of {len(gained)} seeds; by the rule of more than {_plain(BETTER_BY)}, {outcome} "
        "the default."
    ]


def paired(
    ours: Mapping[int, Mapping[str, float]],
    theirs: Mapping[int, Mapping[str, float]],
    seeds: Sequence[int],
    cases: Sequence[str],
) -> np.ndarray:
    """Return differences of Dice, (seeds, cases), of the same seed and case."""
    return np.array([[ours[s][case] - theirs[s][case] for case in cases] for s in seeds])


def _mean_dice(dice: Mapping[int, Mapping[str, float]], seeds: list[int]) -> str:
    return f"{np.mean([list(dice[seed].values()) for seed in seeds]):.4f}"


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def _plain(value: float) -> str:
    return f"{value:g}"


def draw(summaries: dict[str, list[list[dict]]], labels: dict[str, int], path: Path) -> None:
    """Draw the Dice of every case and label, each the mean over the trainings.

    A line joins the models' values of one case.

    Args:
        summaries: of the folds of each training, by model.
        labels: of the data set.
        path: of the picture.
    """
    foreground = {name: str(value) for name, value in labels.items() if value}
    figure = new_figure(1.2 * len(foreground) * len(summaries), 4.2, layout="constrained")
    # White, as for a plot of numbers in print; the dark background is for images.
    figure.set_facecolor("white")
    panels = figure.subplots(1, len(foreground), sharey=True, squeeze=False)[0]
    for panel, (name, value) in zip(panels, foreground.items(), strict=True):
        columns = {
            model: _mean_of_label(trainings, value) for model, trainings in summaries.items()
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


def _mean_of_label(trainings: list[list[dict]], value: str) -> dict[str, float]:
    by_case = defaultdict(list)
    for summaries in trainings:
        for summary in summaries:
            for case in summary["metric_per_case"]:
                by_case[case["prediction_file"]].append(case["metrics"][value]["Dice"])
    return {case: float(np.mean(dice)) for case, dice in by_case.items()}


def dice_table(board: dict) -> str:
    """Show means with 95 % intervals, and the tests against the first model, as Markdown.

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
    """Show as Markdown which runs ran on which machine, and how long each fold took."""
    schedule = schedule_of(record)
    batch = f"batch {schedule.batch_size}" if schedule.batch_size else "the plans' batch"
    lines = [
        f"{schedule.epochs} epochs of {schedule.iterations} iterations at {batch}, "
        f"fold{'s' * (len(schedule.folds) > 1)} {', '.join(schedule.folds)}.",
        "",
        "| model | seed | fold | median epoch, s | training, h | validation, s a case | machine |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for folder, variant in VARIANTS.items():
        for seed, folds in sorted(record["runs"].get(folder, {}).items(), key=_number):
            for fold, run in sorted(folds.items()):
                lines.append(
                    f"| {variant.name} | {seed} | {fold} | {run['median_epoch_seconds']:.1f} | "
                    f"{run['hours']:.2f} | {run['validation_seconds_per_case']:.2f} | "
                    f"{told(run['machine'])} |"
                )
    return "\n".join(lines) + "\n"


def _number(item: tuple[str, object]) -> int:
    return int(item[0])
