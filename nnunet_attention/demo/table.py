"""The demo's numbers as a table for the terminal and for a Markdown file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from nnunet_attention.demo.results import Dice, Results


def table_rows(results: Results) -> list[list[str]]:
    """A heading and a text for each model: Dice by organ, their mean, parameters, seconds."""
    models = results.models
    cases = len(results.held_out_cases)
    rows = [
        [f"Dice {organ}", *(_dice(model.dice[organ], cases) for model in models)]
        for organ in models[0].dice
    ]
    rows.append(["Dice, mean of organs", *(_number(model.foreground_dice) for model in models)])
    rows.append(["parameters (millions)", *(f"{model.parameters / 1e6:.3f}" for model in models)])
    rows.append(["training (s)", *(f"{model.training_seconds:.0f}" for model in models)])
    rows.append(
        [
            "prediction (s a case, start included)",
            *(f"{model.prediction_seconds_per_case:.1f}" for model in models),
        ]
    )
    return rows


def caption(results: Results) -> str:
    """What the numbers are good for."""
    settings = results.settings
    cases = len(results.held_out_cases)
    memory_gb = settings["planned_memory_gb"]
    patches = "" if memory_gb is None else f", patches planned for {memory_gb} GB instead of 8"
    return (
        f"Mean over {cases} held-out case{'s' if cases > 1 else ''} of {results.data}; "
        f"{results.training_cases} cases for training (fold {', '.join(settings['folds'])}), "
        f"{settings['epochs']} epochs of {settings['iterations']} steps where nnU-Net takes 1000 "
        f"of 250{patches}. These short runs show that everything works; differences "
        "between the two networks mean nothing. Full length: nnUNetv2_train DATASET "
        f"{settings['configuration']} FOLD -tr AttentionUNetTrainer"
    )


def rich_table(results: Results) -> Table:
    """For the terminal."""
    from rich.table import Table

    table = Table(title=results.data)
    table.add_column("")
    for model in results.models:
        table.add_column(model.name, justify="right")
    rows = table_rows(results)
    for number, row in enumerate(rows):
        # A line below the organs, and one below their mean.
        table.add_row(*row, end_section=number in (len(rows) - 5, len(rows) - 4))
    return table


def markdown_table(results: Results) -> str:
    """For results.md."""
    names = [model.name for model in results.models]
    lines = [["", *names], ["---", *("---:" for _ in names)], *table_rows(results)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _dice(dice: Dice, cases: int) -> str:
    defined = "" if dice.cases == cases else f" ({dice.cases} of {cases} cases)"
    return _number(dice.mean) + defined


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
