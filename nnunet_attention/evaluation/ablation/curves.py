"""Compares deletion and insertion curves of two orders: the area between them."""

from __future__ import annotations

DELETION, INSERTION = "deletion", "insertion"
ORDERS = ("attention", "random", "cam")
CURVE_COLUMNS = ("case", "gate", "order", "direction", "share", "label", "value")
