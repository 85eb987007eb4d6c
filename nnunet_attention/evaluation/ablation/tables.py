"""Makes an ablation's tables and its methods text, for every output."""

from __future__ import annotations

from collections.abc import Iterable

from nnunet_attention.evaluation.ablation.building import Ablation
from nnunet_attention.evaluation.ablation.effects import Effect
from nnunet_attention.evaluation.ablation.verdicts import KEEPING_THE_LEVEL, LEVEL
from nnunet_attention.evaluation.leaderboard.grid import DASH, Grid
from nnunet_attention.evaluation.leaderboard.tables import (
    MINUS,
    confidence_interval,
    p_text,
    signed,
    value_text,
)
from nnunet_attention.evaluation.metrics.definitions import METRICS
from nnunet_attention.evaluation.statistics.comparisons import Comparison

MEANINGS = {
    "open": "1 everywhere",
    "mean": "the mean of the image's coefficients, everywhere",
    "shuffled": "the image's coefficients, each at a random place",
    "other_case": "another image's coefficients, resized to this one's size",
    "uniform": "one number for all images, the mean of their means",
    "zero": "0 everywhere",
    "random_weights": "what gates with random weights, drawn once, give",
}


def verdict_grid(ablation: Ablation) -> Grid:
    """Return a table with a row for each verdict."""
    title = f"what the gates do for {METRICS[ablation.metrics[0]].title}"
    return Grid.of_texts(
        title,
        [
            *("gates", "label", "verdict", "replacement"),
            *("difference", "95 % CI", "p (Holm)", "p (idle)"),
        ],
        [
            [
                found.gates,
                found.label,
                found.kind,
                found.effect.replacement,
                *_difference(found.effect.comparison, found.effect.metric),
                p_text(found.effect.adjusted_p_value),
                p_text(found.idle_p_value),
            ]
            for found in ablation.verdicts
        ],
        names=4,
        notes=(verdicts_explained(ablation), *too_few(ablation)),
        folded_heading=("number", ""),
    )


def effect_grid(ablation: Ablation, metric: str) -> Grid:
    """Return a table of one metric with a row for each set of gates, replacement and label."""
    heading = ["gates", "label", "replacement", "n", "left out"]
    heading += ["without", "difference", "95 % CI", "p (Holm)"]
    random = ablation.has_random_gates
    if random:
        heading += ["beyond random gates", "p (Holm)"]
    heading += ["changed (%)", "FP", "FN"]
    ordered = sorted(
        (effect for effect in ablation.effects if effect.metric == metric),
        key=lambda effect: (effect.gates, _place(ablation, effect)),
    )
    return Grid.of_texts(
        f"{METRICS[metric].title}: with the replacement minus without",
        heading,
        [list(_effect_row(effect, random)) for effect in ordered],
        names=3,
        notes=(effects_explained(ablation),),
        folded_heading=("number", ""),
    )


def area_grid(ablation: Ablation) -> Grid:
    """Return a table of the areas between curves; no rows where there are no curves."""
    metric = ablation.metrics[0]
    areas = () if ablation.curves is None else ablation.curves.areas
    return Grid.of_texts(
        "deletion and insertion: area between the curves",
        ["gate", "label", "direction", "against", "n", "area", "95 % CI", "p (Holm)"],
        [
            [
                *(str(area.gate), area.label, area.direction, area.other),
                str(area.comparison.n),
                *_difference(area.comparison, metric),
                p_text(area.adjusted_p_value),
            ]
            for area in areas
        ],
        names=4,
        notes=(AREAS_EXPLAINED,),
        folded_heading=("number", ""),
    )


def violation_grid(ablation: Ablation) -> Grid:
    """Return a table of violations; no rows where there are no curves."""
    found = () if ablation.curves is None else ablation.curves.violations
    return Grid.of_texts(
        "deletion: shutting first what the coefficients call important",
        ["gate", "label", "share shut (%)", "better", "worse", "p, sign test (Holm)"],
        [
            [
                *(str(one.gate), one.label, f"{100 * one.share:.0f}"),
                *(str(one.better), str(one.worse), p_text(one.adjusted_p_value)),
            ]
            for one in found
        ],
        names=2,
        notes=(
            f"Numbers of {ablation.unit}s; one that is better violates what large coefficients "
            "promise.",
        ),
        folded_heading=("number", ""),
    )


AREAS_EXPLAINED = (
    "Area between the curve of the coefficients' order and that of the other order, above 0 where "
    "the coefficients' order is more faithful: shutting what it calls important costs more, "
    "letting it through gains more. cam: Grad-CAM of the same skip connection."
)


def verdicts_explained(ablation: Ablation) -> str:
    """Explain the verdicts."""
    less = f"{METRICS[ablation.metrics[0]].title} by less than {ablation.margin:g}"
    random = ablation.has_random_gates
    idle = f"every such replacement is shown to change {less}"
    shown = f"one-sided t tests over {ablation.unit}s at {'2.5' if random else '5'} %"
    matters = "one costs significantly (Holm)"
    if random:
        idle += (
            ", or to gain less than that, and to cost less than that more than it costs where the "
            "gates' weights are random (one draw)"
        )
        matters += ", and significantly more than where the weights are random"
    return (
        "Verdicts rest on replacements that keep how much a gate passes "
        f"({', '.join(KEEPING_THE_LEVEL)}), and the first that holds is given. idle: {idle} "
        f"({shown}), and no case has the metric in one of both predictions only; matters: "
        f"{matters}; harms: none does, but one improves the segmentation significantly; "
        "undecided: none of these. What is shown to be that small neither matters nor harms."
    )


def too_few(ablation: Ablation) -> tuple[str, ...]:
    """Return a warning if no difference can be significant, whatever its size."""
    if ablation.least_p_value < LEVEL:
        return ()
    return (
        f"With {ablation.units} {ablation.unit}s and {ablation.tests} tests nothing can be "
        f"significant: the smallest possible p-value is {ablation.least_p_value:.2g}. Give more "
        "cases, or fewer gates and replacements.",
    )


def effects_explained(ablation: Ablation) -> str:
    """Explain the columns of the table of effects."""
    text = (
        f"Means over {ablation.unit}s; 95 % intervals by bootstrap; Wilcoxon's signed-rank test, "
        f"Holm over all {ablation.tests} tests, those of curves included. n: {ablation.unit}s; "
        "left out: cases where the metric is undefined, with the replacement or without. changed: "
        "of the voxels that either prediction gives the label, the share that only one does. FP, "
        "FN: voxels gained."
    )
    if ablation.has_random_gates:
        text += (
            " Beyond random gates: the difference minus that in the same network whose gates have "
            "random weights, drawn once."
        )
    return text


def methods(ablation: Ablation) -> list[str]:
    """Describe the methods, one string per paragraph."""
    replacements = list(dict.fromkeys(effect.replacement for effect in ablation.effects))
    named = "; ".join(f"{name}: {MEANINGS[name]}" for name in replacements)
    counted = f"{ablation.cases} cases"
    if ablation.groups is not None:
        counted += f" in {ablation.units} groups, each counted by its mean"
    paragraphs = [
        f"In {counted}, the coefficients of attention gates were replaced, and the segmentation "
        f"was predicted as before ({named}). Replacements are maps of the whole image, made from "
        "the stitched maps of the ordinary prediction in blocks as large as a voxel of the "
        "gate's grid; overlapping patches and mirrored passes see the same values.",
        f"{effects_explained(ablation)} Undefined values are left out for both predictions.",
        verdicts_explained(ablation),
    ]
    if "nsd" in ablation.metrics and ablation.tolerance_mm:
        tolerances = ", ".join(f"{label} {mm:g}" for label, mm in ablation.tolerance_mm.items())
        paragraphs.append(f"Tolerance of normalised surface Dice in mm: {tolerances}.")
    if ablation.curves is not None:
        paragraphs.append(
            "Deletion: a growing share of the blocks is shut, the most important first; insertion: "
            f"all are shut, and a growing share is let through. {AREAS_EXPLAINED} Areas are by the "
            "trapezoidal rule."
        )
    return paragraphs


def _place(ablation: Ablation, effect: Effect) -> int:
    # Within a set of gates, sort by label, then by replacement in the order requested.
    labels = list(dict.fromkeys(one.label for one in ablation.effects))
    return labels.index(effect.label)


def _effect_row(effect: Effect, random: bool) -> Iterable[str]:
    yield from (effect.gates, effect.label, effect.replacement)
    yield from (str(effect.comparison.n), str(effect.left_out))
    yield value_text(effect.ordinary, effect.metric) if effect.comparison.n else DASH
    yield from _difference(effect.comparison, effect.metric)
    yield p_text(effect.adjusted_p_value) if effect.comparison.n else DASH
    if random:
        beyond, p_value = effect.beyond_random, effect.beyond_random_p_value
        yield DASH if beyond is None else " ".join(_difference(beyond, effect.metric))
        yield DASH if p_value is None else p_text(p_value)
    yield f"{100 * effect.changed_share:.1f}"
    yield _voxels(effect.false_positives_gained)
    yield _voxels(effect.false_negatives_gained)


def _voxels(gained: float) -> str:
    whole = round(gained)
    return f"{whole:+,d}".replace("-", MINUS) if whole else "0"


def _difference(comparison: Comparison, metric: str) -> tuple[str, str]:
    if not comparison.n:
        return DASH, DASH
    interval = confidence_interval(comparison.low, comparison.high, metric, signed)
    return signed(comparison.mean_difference, metric), interval
