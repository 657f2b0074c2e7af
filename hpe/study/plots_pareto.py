"""Error of the int8 files against what they cost: points with their spread, and the step front of each family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from hpe.study.plots import FAMILIES, INK, MUTED, family, label_points, legend, new_figure, write_figure
from hpe.study.report_rows import Row

Cost = Callable[[Row], float | None]
ERROR = "int8_mae_deg"
ALIKE = 1.03
"""Costs within this ratio are one on a plot: of such points on a front only the best is named."""
WIDE = 12
"""A logarithmic axis from this ratio of the largest to the smallest on."""


def costs(rows: Sequence[Row], board: str | None) -> dict[str, tuple[str, Cost]]:
    """What the plots are of: name, axis label and value; those that no row has are left out."""
    found: dict[str, tuple[str, Cost]] = {
        "int8_bytes": ("int8 file (MB)", lambda row: row["int8_mb"]),
        "gzip_bytes": ("int8 file after gzip -9 (MB)", lambda row: row["int8_gzip_mb"]),
        "macs": ("multiply-accumulates (millions)", lambda row: row["macs"] / 1e6),
        "ms": ("int8, one image, this machine (ms)", lambda row: row["int8_ms"]),
    }
    for key, label, unit in (("flash_bytes", "flash (kB)", 1e3), ("ram_bytes", "RAM (kB)", 1e3), ("ms", "ms", 1)):
        name, label = f"board_{key}", f"{board}: {label}, each on its best engine"
        found[name] = (label, lambda row, key=key, unit=unit: _on_board(row, board, key, unit))
    return {name: entry for name, entry in found.items() if any(entry[1](row) is not None for row in rows)}


def _on_board(row: Row, board: str | None, key: str, unit: float) -> float | None:
    engine = best_engine(row["boards"].get(board, {}))
    value = engine[key] if engine else None
    return None if value is None else value / unit


def best_engine(engines: dict[str, Row]) -> Row | None:
    """The cost with the engine that suits a model: it fits, then it is fast, then it is small."""
    infinite = float("inf")

    def order(cost: Row) -> tuple[bool, float, float]:
        ms, flash = (infinite if cost[key] is None else cost[key] for key in ("ms", "flash_bytes"))
        return not cost["fits"], ms, flash

    return min(engines.values(), key=order) if engines else None


def pareto(points: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """The points (cost, error, name) that no other one beats in both, by rising cost."""
    front: list[tuple[float, float, str]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def worth_naming(front: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """The points of a front but those that a hardly dearer one beats."""
    return [a for a, b in pairwise(front) if b[0] > a[0] * ALIKE] + list(front[-1:])


def plot_pareto(rows: Sequence[Row], path: Path, label: str, cost: Cost) -> str:
    """PATH.png and PATH.svg of the error over one cost; returns the SVG for a page. Controls are hollow."""
    known = [row for row in rows if cost(row) is not None and row[ERROR] is not None]
    figure, (axis,) = new_figure()
    points = [_point(axis, row, float(cost(row) or 0), f"point-{index}") for index, row in enumerate(known)]
    titles = {f"point-{index}": f"{about(row)}; {label}: {points[index][0]:.4g}" for index, row in enumerate(known)}
    _scale(axis, [x for x, _, _ in points])
    axis.set_xlabel(label, color=INK, fontsize=9)
    axis.set_ylabel("mean error, int8 (degrees)", color=INK, fontsize=9)
    named, taken, entries = worth_naming(pareto(points)), [point[:2] for point in points], []
    taken += [(p[0], p[1] - sd, p[0], p[1] + sd) for row, p in zip(known, points, strict=True)
              if (sd := row[f"{ERROR}_sd"])]  # fmt: skip
    for name, style in FAMILIES.items():
        mine = [(row, p) for row, p in zip(known, points, strict=True) if family(row["family"]) == name]
        front = pareto([p for row, p in mine if row["role"] != "control"])
        taken += _step(axis, front, color=style.colour, linestyle=style.dashes, linewidth=1.2, alpha=0.75, zorder=2)
        named += worth_naming(front)
        bars = [(x, y, sd) for row, (x, y, _) in mine if (sd := row[f"{ERROR}_sd"]) is not None]
        if bars:
            x, y, sd = zip(*bars, strict=True)
            axis.errorbar(x, y, yerr=sd, fmt="none", ecolor=style.colour, linewidth=1.1, capsize=2.5, zorder=3)
        if mine:
            (handle,) = axis.plot([], [], style.marker, color=style.colour, markersize=6.5)
            entries.append((handle, style.title))
    _step(axis, pareto(points), color=MUTED, linewidth=4.5, alpha=0.22, zorder=1, solid_joinstyle="miter")
    legend(figure, entries)
    label_points(axis, list(dict.fromkeys(named)), taken)
    return write_figure(figure, path, titles)


def _point(axis, row: Row, x: float, name: str) -> tuple[float, float, str]:
    """Draw one model; `name` is what the drawing calls it."""
    style, y = FAMILIES[family(row["family"])], row[ERROR]
    face = "none" if row["role"] == "control" else style.colour
    (drawn,) = axis.plot([x], [y], style.marker, color=style.colour, markerfacecolor=face, markersize=6.5,
                         markeredgewidth=1.3, zorder=4)  # fmt: skip
    drawn.set_gid(name)
    return x, y, row["model"]


def about(row: Row) -> str:
    """A model and its error in words."""
    sd = row[f"{ERROR}_sd"]
    spread = f" ± {sd:.2f}, n = {row['n']}" if sd is not None else ", n = 1"
    return f"{row['model']}: {row[ERROR]:.2f} degrees{spread}"


def _scale(axis, values: Sequence[float]) -> None:
    """Room for names; logarithmic where the values are far apart. An axis never begins left of 0."""
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axis.margins(x=0.16, y=0.18)
    if values and min(values) > 0 and max(values) / min(values) > WIDE:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.autoscale_view()
    if axis.get_xscale() == "linear":
        axis.locator_params(axis="x", nbins=6)
        axis.set_xlim(left=max(0.0, axis.get_xlim()[0]))


def _step(axis, front: Sequence[tuple[float, float, str]], **look) -> list[tuple[float, ...]]:
    """A front as what can be had: each error from its cost on, until the next point; level to the right edge.

    Returns its lines as (x, y, x, y).
    """
    if not front:
        return []
    limits = axis.get_xlim(), axis.get_ylim()
    corners = [front[0][:2]]
    for x, y, _ in front[1:]:
        corners += [(x, corners[-1][1]), (x, y)]
    corners.append((limits[0][1], corners[-1][1]))
    axis.plot(*zip(*corners, strict=True), **look)
    axis.set(xlim=limits[0], ylim=limits[1])
    return [(*a, *b) for a, b in pairwise(corners)]
