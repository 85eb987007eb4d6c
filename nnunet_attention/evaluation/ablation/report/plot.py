"""Draws deletion and insertion curves as SVG, to be embedded in a page and scaled."""

from __future__ import annotations

from html import escape

import pandas as pd

from nnunet_attention.evaluation.ablation.curves import ORDERS
from nnunet_attention.evaluation.leaderboard.tables import MINUS

# Okabe and Ito's colours; dashes distinguish the lines in black and white, too.
_STYLES = {
    "attention": ("#0072B2", ""),
    "random": ("#5d6978", "6 4"),
    "cam": ("#D55E00", "2 3"),
}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420, 280, 48, 40, 30, 20


def curve_plot(means: pd.DataFrame, title: str, metric: str) -> str:
    """Return an SVG with one line for each order.

    Args:
        means: values of one gate, direction and label, with the columns order, share and value.
        title: shown above the plot.
        metric: label of the vertical axis.
    """
    low, high = float(means["value"].min()), float(means["value"].max())
    room = (high - low) * 0.05 or 0.01
    low, high = low - room, high + room

    def x(share: float) -> float:
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<text x="{_LEFT}" y="16" class="title">{escape(title)}</text>']
    for tick in range(5):
        value, share = low + tick / 4 * (high - low), tick / 4
        number = f"{value:.2f}".replace("-", MINUS)
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>',
            f'<text x="{_LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{number}</text>',
            f'<text x="{x(share):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
            f"{share:.0%}</text>",
        ]
    direction = "shut" if title.endswith("deletion") else "let through"
    parts += [
        f'<text x="{x(0.5):.1f}" y="{_HEIGHT - 6}" text-anchor="middle">share of the skip '
        f"{direction}</text>",
        f'<text x="12" y="{y((low + high) / 2):.1f}" text-anchor="middle" '
        f'transform="rotate(-90 12 {y((low + high) / 2):.1f})">{escape(metric)}</text>',
    ]
    for place, order in enumerate(ORDERS):
        line = means[means["order"] == order].sort_values("share")
        colour, dashes = _STYLES[order]
        points = " ".join(
            f"{x(share):.1f},{y(value):.1f}"
            for share, value in zip(line["share"], line["value"], strict=True)
        )
        at = _WIDTH - _RIGHT - 250 + 85 * place
        style = f'stroke="{colour}" stroke-dasharray="{dashes}"'
        parts += [
            f'<polyline points="{points}" {style}/>',
            f'<polyline points="{at},12 {at + 20},12" {style}/>',
            f'<text x="{at + 24}" y="16">{order}</text>',
        ]
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
