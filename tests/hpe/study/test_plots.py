"""Pareto fronts, labels that do not collide, and drawings that a page can hold."""

import re

import numpy as np
import pytest

from hpe.study.plots import FAMILIES, VARIABLES, family, for_page, label_points, new_figure, write_figure
from hpe.study.plots_pareto import _step, best_engine, costs, pareto, worth_naming


def test_pareto_front_by_hand():
    points = [(1, 9, "a"), (2, 5, "b"), (3, 6, "c"), (4, 5, "d"), (1, 9.5, "e")]
    assert [name for _, _, name in pareto(points)] == ["a", "b"]


def test_of_points_that_cost_alike_the_best_is_named():
    front = [(1.0, 9.0, "a"), (1.02, 8.0, "b"), (1.04, 7.0, "c"), (2.0, 6.0, "d")]
    assert [name for _, _, name in worth_naming(front)] == ["c", "d"]
    assert worth_naming([]) == []


def test_pareto_front_is_what_no_other_point_beats():
    points = [(x, y, str(i)) for i, (x, y) in enumerate(np.random.default_rng(0).uniform(size=(200, 2)).tolist())]
    beaten = {p for p in points for q in points if q != p and q[0] <= p[0] and q[1] <= p[1]}
    assert set(pareto(points)) == set(points) - beaten


def test_fronts_are_steps_that_promise_nothing_between_points():
    _, (axis,) = new_figure()
    axis.set_xlim(0, 10)
    lines = _step(axis, [(1, 9, "a"), (2, 5, "b")])
    assert lines == [(1, 9, 2, 9), (2, 9, 2, 5), (2, 5, 10, 5)]


@pytest.mark.parametrize("count", [5, 40])
def test_no_label_covers_another_a_marker_or_a_line(count):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure, (axis,) = new_figure()
    points = [
        (x, y, f"model number {i}")
        for i, (x, y) in enumerate(np.random.default_rng(count).uniform(size=(count, 2)).tolist())
    ]
    axis.plot([x for x, _, _ in points], [y for _, y, _ in points], "o", markersize=6.5)
    line = (0.0, 0.5, 1.0, 0.5)
    axis.plot(line[::2], line[1::2])
    axis.set(xlim=(-0.1, 1.1), ylim=(-0.1, 1.1))
    texts = label_points(axis, points, [*(p[:2] for p in points), line])
    assert len(texts) == count if count == 5 else len(texts) > 5
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [Text.get_window_extent(text, renderer) for text in texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.contains(*axis.transData.transform(point[:2])) for point in points)
        low, high = axis.transData.inverted().transform([(box.x0, box.y0), (box.x1, box.y1)])[:, 1]
        assert not low <= 0.5 <= high


def test_families_differ_in_colour_shape_and_lightness():
    assert len({style.colour for style in FAMILIES.values()}) == len(FAMILIES)
    assert len({style.marker for style in FAMILIES.values()}) == len(FAMILIES)
    grey = {}
    for name in ("dense", "magnitude", "channel"):
        red, green, blue = (int(FAMILIES[name].colour[i : i + 2], 16) for i in (1, 3, 5))
        grey[name] = 0.299 * red + 0.587 * green + 0.114 * blue
    assert abs(grey["magnitude"] - grey["channel"]) > 15
    assert family("channel+magnitude") == "hybrid"


def test_a_drawing_in_a_page_takes_its_colours_and_keeps_its_ids_to_itself(tmp_path):
    figure, (axis,) = new_figure()
    (drawn,) = axis.plot([1], [2], "o", color=FAMILIES["magnitude"].colour)
    drawn.set_gid("point-0")
    svg = write_figure(figure, tmp_path / "one", {"point-0": "a <b>: 2.00"})
    assert (tmp_path / "one.png").stat().st_size > 1000
    assert "<title>a &lt;b&gt;: 2.00</title>" in (tmp_path / "one.svg").read_text()
    assert 'id="one-point-0"' in svg
    assert "var(--magnitude)" in svg
    assert not [colour for colour in VARIABLES if colour in svg]
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    assert {name for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', svg) for name in pair if name} <= ids
    assert all(name.startswith("one-") for name in ids)
    assert svg == for_page((tmp_path / "one.svg").read_text(), "one")


def test_the_best_engine_fits_then_is_fast_then_small():
    slow = {"fits": True, "ms": 90.0, "flash_bytes": 10}
    fast = {"fits": True, "ms": 9.0, "flash_bytes": 20}
    large = {"fits": False, "ms": 1.0, "flash_bytes": 30}
    unknown = {"fits": True, "ms": None, "flash_bytes": 5}
    assert best_engine({"a": slow, "b": fast, "c": large, "d": unknown}) is fast
    assert best_engine({"a": large, "d": unknown}) is unknown
    assert best_engine({}) is None


def test_what_no_row_was_measured_for_is_not_plotted():
    row = {"int8_mb": 1.0, "int8_gzip_mb": None, "macs": 5_000_000, "int8_ms": None, "boards": {}}
    assert list(costs([row], None)) == ["int8_bytes", "macs"]
    row["boards"] = {"pi4": {"tflm": {"fits": True, "flash_bytes": None, "ram_bytes": None, "cycles": None, "ms": 3.0}}}
    found = costs([row], "pi4")
    assert list(found) == ["int8_bytes", "macs", "board_ms"]
    assert found["board_ms"][1](row) == 3.0
