"""What all plots share: colours, labels that do not collide, PNG and SVG of one drawing."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpe.io.files import write_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

INK, MUTED, LINE, PAPER = "#24292f", "#6a737d", "#d8dee4", "#ffffff"


@dataclass(frozen=True)
class Style:
    """How a family is drawn: colours after Okabe and Ito (2008), and a shape for print and for those who see no hue."""

    title: str
    """In words."""
    colour: str
    """On white; page.css has one for dark."""
    marker: str
    """Of matplotlib."""
    dashes: str
    """Line style of matplotlib."""


FAMILIES = {
    "dense": Style("dense", "#4a5261", "s", ":"),
    "magnitude": Style("unstructured", "#c64f00", "o", "--"),
    "channel": Style("structured", "#0067a5", "^", "-"),
    "hybrid": Style("both", "#9c2f78", "D", "-."),
    "block": Style("whole blocks", "#00805e", "P", ":"),
}
"""By the name that a study gives them."""
COLOURS = {style.colour: name for name, style in FAMILIES.items()}
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper"} | COLOURS
"""Which colour the page takes from which of its variables, so that it can be dark."""


def family(name: str) -> str:
    """A family of FAMILIES; what was pruned in several ways is a hybrid."""
    return name if name in FAMILIES else "hybrid"


def new_figure(rows: int = 1, size: tuple[float, float] = (4.4, 3.5)) -> tuple[Figure, list[Axes]]:
    """An empty figure of axes one under the other, with the look of all plots. Sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, facecolor=PAPER)
    axes = [figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
    figure.subplots_adjust(left=0.155, right=0.985, top=1 - 0.34 / size[1], bottom=0.46 / size[1], hspace=0.17)
    for axis in axes:
        axis.set_facecolor(PAPER)
        axis.grid(color=LINE, linewidth=0.7)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(MUTED)
        axis.tick_params(colors=INK, labelsize=8.5, color=MUTED)
    return figure, axes


def legend(figure: Figure, entries: Sequence[tuple[Any, str]]) -> None:
    """Handles and their names in a row above the axes."""
    handles, names = zip(*entries, strict=True)
    figure.legend(handles, names, loc="upper left", bbox_to_anchor=(0.08, 1.01), ncols=5, frameon=False, fontsize=8,
                  labelcolor=INK, handlelength=1.3, handletextpad=0.3, columnspacing=0.75)  # fmt: skip


def label_points(axis: Axes, points: Sequence[tuple[float, float, str]], taken: Sequence[Sequence[float]]) -> list:
    """Write a name beside each point, where it covers no other name and nothing of `taken`; the rest stays unnamed.

    `taken`: (x, y) of markers, and (x, y, x, y) of the ends of lines that are level or upright. Call it last: limits
    and scales must not change after it. Returns the texts.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(axis.figure).get_renderer()  # type: ignore[arg-type]
    scale = float(axis.figure.dpi) / 72
    boxes = [_box(axis, place, scale) for place in taken]
    frame = axis.get_window_extent(renderer)
    texts = []
    for x, y, name in points:
        for dx, dy, where, line in _places():
            text = axis.annotate(
                name.replace(" | ", "\n"), (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=7.5, color=INK,
                ha=where, va="center",
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6} if line else None,
            )  # fmt: skip
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in boxes):
                boxes.append(box)
                texts.append(text)
                break
            text.remove()
    return texts


def _box(axis: Axes, place: Sequence[float], scale: float) -> Bbox:
    """What a marker (x, y) or a line (x, y, x, y) covers, in pixels."""
    from matplotlib.transforms import Bbox

    first, last = axis.transData.transform(place[:2]), axis.transData.transform(place[-2:])
    room = (5 if len(place) == 2 else 1) * scale
    low = (min(first[0], last[0]) - room, min(first[1], last[1]) - room)
    return Bbox.from_extents(*low, max(first[0], last[0]) + room, max(first[1], last[1]) + room)


def _places() -> list[tuple[float, float, str, bool]]:
    """Offsets in points, near ones first, with the side that the text is tied to and whether a line is needed."""
    near = [(8, 0, "left"), (8, 8, "left"), (8, -8, "left"), (-8, 0, "right"), (-8, 8, "right"), (-8, -8, "right")]
    near += [(0, 11, "center"), (0, -11, "center")]
    places = [(float(dx), float(dy), where, False) for dx, dy, where in near]
    for radius in (18, 28, 40, 54):
        places += [(radius * x, radius * y, where, True) for x, y, where in
                   ((0.7, 0.7, "left"), (0.7, -0.7, "left"), (-0.7, 0.7, "right"), (-0.7, -0.7, "right"),
                    (0.0, 1.0, "center"), (0.0, -1.0, "center"))]  # fmt: skip
    return places


def write_figure(figure: Figure, path: Path, titles: dict[str, str] | None = None) -> str:
    """PATH.png and PATH.svg; returns the SVG as a page holds it. `titles`: what pointing at an element (gid) tells."""
    from io import BytesIO

    import matplotlib

    png, svg = BytesIO(), BytesIO()
    figure.savefig(png, format="png", dpi=150)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    drawing = _titled(svg.getvalue().decode(), titles or {})
    write_all({path.with_suffix(".png"): png.getvalue(), path.with_suffix(".svg"): drawing})
    return for_page(drawing, path.name)


def for_page(svg: str, name: str) -> str:
    """An SVG as part of a page: its colours from the page's variables, its width from the page, its ids its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', r'<svg viewBox="\1" role="img">', svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, count=1, flags=re.S)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, count=1, flags=re.S)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'href="#{name}-', svg)
    return re.sub(r"#[0-9a-f]{6}\b", lambda hit: f"var(--{VARIABLES[hit[0]]})" if hit[0] in VARIABLES else hit[0], svg)


def _titled(svg: str, titles: dict[str, str]) -> str:
    """Give groups a <title>, which browsers show when the pointer rests on them."""
    replace: Callable[[re.Match[str]], str] = lambda hit: (  # noqa: E731
        f"{hit[0]}<title>{html.escape(titles[hit[1]])}</title>" if hit[1] in titles else hit[0]
    )
    return re.sub(r'<g id="([^"]+)">', replace, svg)
