"""Plots of the report: every system of a board with its interval, as SVG for the page and as files beside it.

Knows rows of names and figures. On the page, text takes the page's own colour, so that it is read in light and dark.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the page's text colour until the SVG is inlined."""
COLOURS = {"rapport": "#d1603d", "baseline": "#5b7f95", "published": "#9a8fb0"}
WIDTH, ROW, REST = 7.2, 0.32, 0.9
"""Inches: the plot, a row of it, and what is around the rows."""
LONGEST = 46
"""Characters of a name on an axis."""


@dataclass(frozen=True, slots=True)
class Dot:
    name: str
    kind: str
    figure: float
    low: float
    high: float


def intervals(dots: Sequence[Dot], measure: str, bar: float | None) -> Plot:
    """A forest plot: a dot and its 95 % interval a row, the bar as a dashed line."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(WIDTH, ROW * len(dots) + REST), layout="constrained")
    axes = canvas.subplots()
    for at, dot in enumerate(dots):
        colour = COLOURS[dot.kind]
        axes.plot([dot.low, dot.high], [at, at], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot(dot.figure, at, "o" if dot.kind != "published" else "D", color=colour, markersize=6)
    if bar is not None:
        axes.axvline(bar, color=COLOURS["rapport"], linestyle="--", linewidth=1)
        axes.annotate("bar", (bar, -0.6), color=COLOURS["rapport"], fontsize=8, ha="center", annotation_clip=False)
    axes.set_yticks(range(len(dots)), [shortened(dot.name) for dot in dots], fontsize=8)
    axes.set_xlabel(measure, fontsize=9)
    # Set, because the limits of a single row would leave the word above it far outside.
    axes.set_ylim(len(dots) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return Plot(canvas)


def shortened(name: str) -> str:
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn plot."""

    canvas: Figure

    def inline(self) -> str:
        """SVG to stand in a page: no prolog, no fixed size, text in the page's colour."""
        written = self._written("svg", INK)
        start = written.index("<svg")
        return written[start:].replace(INK, "currentColor").replace("<svg ", '<svg class="plot" ', 1)

    def save(self, stem: Path) -> list[Path]:
        """PNG and SVG on white."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        made = []
        for kind in ("svg", "png"):
            path = stem.with_suffix(f".{kind}")
            canvas = self._inked("#222222")
            canvas.savefig(path, format=kind, facecolor="white", dpi=150, metadata=UNDATED.get(kind))
            made.append(path)
        return made

    def _written(self, kind: str, ink: str) -> str:
        buffer = io.BytesIO()
        self._inked(ink).savefig(buffer, format=kind, transparent=True, metadata=UNDATED[kind])
        return buffer.getvalue().decode()

    def _inked(self, ink: str) -> Figure:
        """The plot with its text and axis in this colour."""
        for axes in self.canvas.axes:
            axes.tick_params(colors=ink)
            axes.xaxis.label.set_color(ink)
            axes.spines["bottom"].set_color(ink)
        return self.canvas


UNDATED: dict[str, dict[str, None]] = {"svg": dict.fromkeys(("Date", "Creator", "Format", "Type"))}
"""The same figures give the same file, and the page names nobody else's address."""
