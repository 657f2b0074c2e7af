"""The paper's figures 2 to 8 from its grid, and below each the same from our runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpe.study.paper import EPOCHS, PaperRow, Settings, distinct, paper_noise
from hpe.study.paper import KINDS as PAPER_KINDS
from hpe.study.plots import FAMILIES, INK, MUTED, legend, new_figure, write_figure
from hpe.study.report_rows import KINDS, Row

Point = tuple[float, float, float | None]
"""Place on the axis, error, spread (degrees)."""
LOOKS = [(FAMILIES[name].colour, FAMILIES[name].marker, dashes)
         for name, dashes in (("magnitude", "-"), ("channel", "--"), ("hybrid", "-."), ("block", ":"))]  # fmt: skip
"""Colour, marker and dashes of a figure's lines, in the order of the grid."""
WINDOWS = [(0, 20), (0, 40), (0, 60), (0, 80), (20, 40), (20, 60), (20, 80), (40, 60), (40, 80), (60, 80)]
HALF = 0.5


@dataclass(frozen=True)
class PaperFigure:
    """One question of the paper."""

    number: int
    """Of the figure."""
    title: str
    """The question."""
    axis: str
    """What is along."""
    place: Callable[[Settings], tuple[str, float] | None]
    """Settings -> line and place on the axis; None where they do not belong here."""
    ticks: Mapping[float, str]
    """Places with their labels."""
    joined: bool = True
    """Whether a line between the points means something."""


def _begin(s: Settings) -> tuple[str, float] | None:
    return (s[0], s[3]) if s[1] == 0 and s[2] == HALF and s[4] == EPOCHS else None


def _end(s: Settings) -> tuple[str, float] | None:
    return (s[0], s[4]) if s[1] == 0 and s[2] == HALF and s[3] == 0 else None


def _window(s: Settings) -> tuple[str, float] | None:
    return (s[0], WINDOWS.index((s[3], s[4]))) if s[1] == 0 and s[2] == HALF else None


def _last(s: Settings) -> tuple[str, float] | None:
    return (s[0], s[2] * 100) if s[1] == 0 and s[3:] == (0, EPOCHS) else None


def _late(s: Settings) -> tuple[str, float] | None:
    return (f"{s[0][:5]}. {s[2] * 100:g} %", s[3]) if s[1] == 0 and s[2] > HALF and s[4] == EPOCHS else None


def _first(s: Settings) -> tuple[str, float] | None:
    return (f"to {s[2] * 100:g} %", s[1] * 100) if s[0] == "polynomial" and s[3:] == (0, EPOCHS) else None


_EPOCHS = {float(n): str(n) for n in (0, 20, 40, 60, 80)}
_SHARES = {0.0: "0 %", 50.0: "50 %", 75.0: "75 %", 87.5: "87.5 %"}
FIGURES = [
    PaperFigure(2, "When should pruning begin?", "first epoch of pruning (50 %, until 80)", _begin, _EPOCHS),
    PaperFigure(3, "When should it end?", "last epoch of pruning (50 %, from 0)", _end, _EPOCHS),
    PaperFigure(4, "Which window is best?", "first and last epoch of pruning (50 %)", _window,
                {float(i): f"{a}\n{b}" for i, (a, b) in enumerate(WINDOWS)}, joined=False),
    PaperFigure(5, "How much can be pruned?", "last sparsity (epochs 0 to 80)", _last, _SHARES),
    PaperFigure(6, "And begin later?", "first epoch of pruning (until 80)", _late, _EPOCHS),
    PaperFigure(7, "Start from a sparse network?", "first sparsity (polynomial, epochs 0 to 80)", _first, _SHARES),
]  # fmt: skip
SIZES = "What does each kind of file weigh?"
"""The question of figure 8."""


def plot_question(figure: PaperFigure, grid: Sequence[PaperRow], ours: Mapping[Settings, Row], path: Path) -> str:
    """PATH.png and PATH.svg of one figure, the paper's above ours; returns the SVG for a page."""
    settings, noise = distinct(grid), paper_noise(grid).sd_deg
    theirs: dict[str, list[Point]] = {}
    mine: dict[str, list[Point]] = {}
    for key, setting in settings.items():
        if (place := figure.place(key)) is None:
            continue
        theirs.setdefault(place[0], []).append((place[1], setting.mae(), noise))
        if key in ours and ours[key]["float_mae_deg"] is not None:
            row = ours[key]
            mine.setdefault(place[0], []).append((place[1], row["float_mae_deg"], row["float_mae_deg_sd"]))
    drawing, axes = new_figure(2, (4.4, 4.6))
    looks = dict(zip(theirs, LOOKS, strict=False))
    for axis, lines, whose in zip(axes, (theirs, mine), ("the paper", "our runs"), strict=True):
        for name, points in lines.items():
            colour, marker, dashes = looks[name]
            _line(axis, sorted(points), (colour, marker, dashes if figure.joined else "none"), name)
        places = [x for points in theirs.values() for x, _, _ in points]
        axis.set_xticks([x for x in figure.ticks if x in places])
        axis.set_xticklabels([figure.ticks[x] for x in figure.ticks if x in places])
        room = (max(places) - min(places)) * 0.08
        axis.set_xlim(min(places) - room, max(places) + room)
        _finish(axis, whose, bool(lines))
    axes[-1].set_xlabel(figure.axis, color=INK, fontsize=9)
    if any("\n" in label for label in figure.ticks.values()):
        drawing.subplots_adjust(bottom=0.13, hspace=0.27)
    legend(drawing, list(zip(*axes[0].get_legend_handles_labels(), strict=True)))
    return write_figure(drawing, path)


def plot_sizes(grid: Sequence[PaperRow], ours: Sequence[Row], path: Path) -> str:
    """PATH.png and PATH.svg of figure 8: error over gzipped size by kind of file, the paper's above ours."""
    drawing, axes = new_figure(2, (4.4, 4.6))
    for (kind, title), look in zip(PAPER_KINDS.items(), LOOKS, strict=False):
        points = [(s.mb(kind, gzip=True), s.mae(kind), None) for s in distinct(grid).values()]
        _line(axes[0], points, (*look[:2], "none"), title)
    titles = dict(zip(KINDS, [*PAPER_KINDS.values(), "full int8"], strict=True))
    drawn = False
    for (kind, title), look in zip(titles.items(), LOOKS, strict=True):
        known = [r for r in ours if r[f"{kind}_gzip_mb"] is not None and r[f"{kind}_mae_deg"] is not None]
        points = [(r[f"{kind}_gzip_mb"], r[f"{kind}_mae_deg"], r[f"{kind}_mae_deg_sd"]) for r in known]
        _line(axes[1], points, (*look[:2], "none"), title)
        drawn = drawn or bool(points)
    _finish(axes[0], "the paper", True)
    _finish(axes[1], "our runs", drawn)
    axes[1].set_xlabel("file after gzip (MB)", color=INK, fontsize=9)
    legend(drawing, list(zip(*axes[1].get_legend_handles_labels(), strict=True)))
    return write_figure(drawing, path)


def _line(axis, points: Sequence[Point], look: tuple[str, str, str], name: str) -> None:
    colour, marker, dashes = look
    x, y = [p[0] for p in points], [p[1] for p in points]
    axis.plot(x, y, color=colour, marker=marker, linestyle=dashes, label=name, markersize=5, linewidth=1.2)
    spreads = [(place, error, spread) for place, error, spread in points if spread is not None]
    if spreads:
        x, y, lengths = zip(*spreads, strict=True)
        axis.errorbar(x, y, yerr=lengths, fmt="none", ecolor=colour, linewidth=1.0, capsize=2)


def _finish(axis, whose: str, drawn: bool) -> None:
    axis.set_ylabel(f"{whose}: degrees", color=INK, fontsize=9)
    axis.margins(y=0.15)
    if not drawn:
        axis.text(0.5, 0.5, "no runs of these rows yet", transform=axis.transAxes, ha="center", color=MUTED, fontsize=9)
        axis.set_yticks([])
