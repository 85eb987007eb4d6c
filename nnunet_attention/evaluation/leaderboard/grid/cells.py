"""Defines the grid: the content of a table, independent of how it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

DASH = "\N{EN DASH}"
"""The text of a cell without a value."""
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """Holds the content of one cell of a table.

    Attributes:
        text: a name or a number.
        spread: the number after a plus-minus sign; empty if there is none.
        bold: whether the text is emphasised, as the best or as significantly better.
        mark: stars of significance.
    """

    text: str
    spread: str = ""
    bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """Holds a table.

    Attributes:
        title: title of the table.
        heading: headings of the columns.
        rows: each as long as the heading.
        names: how many of the first columns are names, set flush left; numbers follow.
        groups: indices of the rows that begin a group.
        notes: sentences below the table.
        kept: how many of the first columns stay side by side even if there is no room for all
            columns; see `folded`.
        folded_heading: headings of the two columns that then replace the others.
    """

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    names: int
    groups: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    kept: int = 1
    folded_heading: tuple[str, str] = ("", "")

    @classmethod
    def of_texts(
        cls,
        title: str,
        heading: Iterable[str],
        rows: Iterable[Iterable[str]],
        names: int,
        notes: tuple[str, ...] = (),
        folded_heading: tuple[str, str] = ("", ""),
    ) -> Grid:
        """Make a grid of plain texts, without groups.

        Args:
            title: title of the table.
            heading: headings of the columns.
            rows: texts.
            names: how many of the first columns are names; these are kept.
            notes: sentences below the table.
            folded_heading: see `Grid`.
        """
        cells = tuple(tuple(map(Cell, row)) for row in rows)
        return cls(
            title,
            tuple(heading),
            cells,
            names,
            notes=notes,
            kept=names,
            folded_heading=folded_heading,
        )

    @property
    def texts(self) -> list[list[str]]:
        """The texts alone, row by row."""
        return [[cell.text for cell in row] for row in self.rows]

    @property
    def mark_widths(self) -> list[int]:
        """The length of each column's longest mark."""
        return [max((len(cell.mark) for cell in column), default=0) for column in self._columns]

    @property
    def _columns(self) -> list[Sequence[Cell]]:
        return [[row[place] for row in self.rows] for place in range(len(self.heading))]

    def folded(self) -> Grid:
        """Return a narrower grid, in which each cell of the columns not kept has its own line.

        The cells of the kept columns appear once, in the first of these lines.
        """
        kept = self.kept
        blanks = (Cell(""),) * kept
        rows = [
            (*(row[:kept] if place == kept else blanks), Cell(self.heading[place]), row[place])
            for row in self.rows
            for place in range(kept, len(self.heading))
        ]
        lines = len(self.heading) - kept
        return replace(
            self,
            heading=(*self.heading[:kept], *self.folded_heading),
            rows=tuple(rows),
            groups=frozenset(lines * row for row in self.groups),
        )
