"""Pieces of the head renderer, each against an independent oracle."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.interpolate import PchipInterpolator

from hpe.synthetic.backdrop import Occluder
from hpe.synthetic.degradation import Degradation
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import curve
from hpe.synthetic.raster import splat
from hpe.synthetic.surfels import grid_normals


def test_curve_is_pchip():
    knots = [(0.0, 1.0), (1.0, 3.0), (2.5, 3.5), (4.0, 2.0), (6.0, 2.0)]
    x = np.linspace(0.0, 6.0, 101)
    inner = (x > 1) & (x < 4)  # the end slopes are simpler here
    np.testing.assert_allclose(curve(x, knots)[inner], PchipInterpolator(*zip(*knots, strict=True))(x)[inner])
    assert curve(np.array([-5.0, 9.0]), knots).tolist() == [1.0, 2.0]


def test_normals_of_a_sphere_point_outward():
    azimuth, down = np.meshgrid(np.linspace(-np.pi, np.pi, 60, endpoint=False), np.linspace(0.3, 2.8, 40))
    ball = np.stack([np.sin(down) * np.sin(azimuth), np.cos(down), np.sin(down) * np.cos(azimuth)]).reshape(3, -1)
    normals = grid_normals(ball.astype(np.float32), 40, 60, closed=True)
    normals = normals / np.linalg.norm(normals, axis=0)
    inner = np.arange(60, 39 * 60)
    np.testing.assert_allclose(normals[:, inner], ball[:, inner], atol=0.01)


def test_splat_shows_the_nearest_and_closes_holes_without_growing():
    row, column = (a.ravel().astype(np.float32) + 0.5 for a in np.mgrid[4:12, 4:12])
    hole = (row == 7.5) & (column == 8.5)
    near, far = np.full(row.size, 100, np.float32), np.full(row.size, -100, np.float32)
    depth = np.concatenate([far, near[~hole]])
    rows, columns = np.concatenate([row, row[~hole]]), np.concatenate([column, column[~hole]])
    covered, number = splat(depth, columns, rows, 16, reach=2)
    assert covered.size == 64  # the silhouette is what was drawn
    assert (number >= 64).all()  # and nothing of the far sheet shows, not even through the hole


def test_blur_keeps_a_flat_picture_and_spreads_a_point():
    still = Draws(0, 0, 0)
    soft = replace(Degradation.draw(still), blur=1.0)
    flat = np.full((3, 64, 64), 0.4, np.float32)
    np.testing.assert_allclose(soft._blur(flat, 64), flat, rtol=1e-5)
    point = np.zeros((3, 64, 64), np.float32)
    point[:, 32, 32] = 1
    spread = soft._blur(point, 64)
    assert spread.sum() == pytest.approx(3, rel=1e-4)
    assert spread[0, 32, 33] / spread[0, 32, 32] == pytest.approx(np.exp(-0.5), rel=1e-4)


def test_jpeg_quantises_the_cosine_blocks():
    degradation = Degradation.draw(Draws(0, 0, 0))
    picture = np.random.default_rng(0).random((3, 30, 30), dtype=np.float32)
    fine = replace(degradation, jpeg_step=1e-6)._jpeg(picture)
    np.testing.assert_allclose(fine, picture, atol=1e-4)
    gray = np.repeat(picture[:1, :8, :8], 3, axis=0)
    coarse = replace(degradation, jpeg_step=0.05)._jpeg(gray)
    steps = 0.05 * (1 + np.arange(8)[:, None] + np.arange(8))
    waves = dctn(coarse[0], norm="ortho") / steps
    np.testing.assert_allclose(waves, np.rint(dctn(gray[0], norm="ortho") / steps), atol=1e-3)


def test_an_occluder_covers_part_of_the_picture():
    skin = np.float32([0.5, 0.3, 0.2])
    absent, present = (Occluder.draw(Draws(0, 0, 0), probability, skin) for probability in (0, 1))
    picture = np.zeros((3, 64, 64), np.float32)
    absent.cover(picture)
    assert not picture.any()
    present.cover(picture)
    assert 0.005 < (picture[0] != 0).mean() < 0.5
