"""Synthetic heads: reproducible to the byte, labels and crop exact, proportions as published, a face in every crop."""

import ast
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dctn
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from hpe.synthetic import PRESETS, prepare, render
from hpe.synthetic import anatomy as an
from hpe.synthetic.backdrop import Occluder
from hpe.synthetic.camera import standard_box
from hpe.synthetic.compiled import compiled
from hpe.synthetic.degradation import Degradation
from hpe.synthetic.draws import Draws
from hpe.synthetic.geometry import POSITION, curve
from hpe.synthetic.raster import splat
from hpe.synthetic.scene import ZERO_PITCH_DEG, Scene, _rotations
from hpe.synthetic.surface import head_surface
from hpe.synthetic.surfels import grid_normals

PEERS = Path(__file__).resolve().parents[2] / "shared" / "data" / "peers"
NOSE_TIP, LEFT_EYE, RIGHT_EYE = 30, slice(36, 42), slice(42, 48)


def head_rotation(*pose_deg: float) -> np.ndarray:
    return _rotations(np.array([pose_deg]))[0]


def landmarks_at(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Image positions (68, 2), x right and y down, of one head in this pose."""
    scene = replace(Scene.draw(3, 5, PRESETS["clean"]), pose_deg=np.array([yaw, pitch, roll], np.float32))
    return np.stack(scene.camera.look(scene.build()[1]), axis=1)


# Reproducible to the byte


def test_an_image_depends_on_seed_index_and_preset_alone():
    images, pose_deg = render(range(12), 7, "full", margin=8)
    for chunk in ([11, 0, 4], [4], range(3, 9)):
        again, again_deg = render(chunk, 7, "full", margin=8)
        np.testing.assert_array_equal(again, images[list(chunk)])
        np.testing.assert_array_equal(again_deg, pose_deg[list(chunk)])


def test_threads_do_not_change_a_byte():
    images, _ = render(range(8), 1, "full")
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: render([i], 1, "full")[0], range(8)))
    np.testing.assert_array_equal(np.concatenate(parts), images)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blas_threads_do_not_change_a_byte(threads):
    code = "from hpe.synthetic import render; import sys; sys.stdout.buffer.write(render(range(4), 2, 'full')[0])"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert hashlib.sha256(output).digest() == hashlib.sha256(render(range(4), 2, "full")[0].tobytes()).digest()


def test_seeds_presets_and_indices_differ():
    pictures = [render([i], seed, preset)[0].tobytes() for i in (0, 1) for seed in (0, 1) for preset in PRESETS]
    assert len(set(pictures)) == len(pictures)


def test_clean_shows_the_heads_of_full():
    clean, full = (render(range(40), 0, preset) for preset in ("clean", "full"))
    np.testing.assert_array_equal(clean[1], full[1])
    assert np.abs(clean[0].astype(int) - full[0]).mean() > 3


def test_draws_are_clipped_counted_and_independent_of_each_other():
    first, other = Draws(5, 1, 2), Draws(5, 2, 2)
    assert first.uniform() != other.uniform()
    assert max(abs(first.normal()) for _ in range(100)) <= 2.3
    with pytest.raises(RuntimeError, match="enlarge the block"):
        sum(first.uniform() for _ in range(10_000))


def test_it_imports_nothing_heavy():
    code = (
        "import sys, hpe.synthetic; print([m for m in ('torch', 'scipy', 'tensorflow', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Compiled loops


def compiled_functions() -> list:
    modules = [module for name, module in sys.modules.items() if name.startswith("hpe.synthetic.")]
    functions = [value for module in modules for value in vars(module).values() if hasattr(value, "py_func")]
    return list(dict.fromkeys(functions))


def test_preparing_compiles_all_that_heads_need():
    prepare()
    before = {function: len(function.signatures) for function in compiled_functions()}
    for preset in PRESETS:
        render(range(100, 250), 3, preset, margin=8)
    assert len(before) > 20
    assert {function: len(function.signatures) for function in compiled_functions()} == before


def test_compiled_code_uses_nothing_of_another_file():
    """Numba's cache would not notice a change there."""
    folder = Path(compiled.__code__.co_filename).parent
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        foreign = {alias.name for node in imports if (node.module or "").startswith("hpe.") for alias in node.names}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and "compiled" in map(ast.unparse, function.decorator_list):
                used = {node.id for line in function.body for node in ast.walk(line) if isinstance(node, ast.Name)}
                assert not used & foreign, f"{path.name}: {function.name}"


def test_without_a_cache_folder_the_loops_still_compile(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    assert compiled(lambda x: x + 1)(2) == 3


def test_without_numba_the_error_names_the_extra():
    code = "import sys; sys.modules['numba'] = None; from hpe.synthetic import PRESETS, render; render([0], 0, 'easy')"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
    assert output.rstrip().endswith(
        "RuntimeError: drawn heads need numba, which is not installed; pip install 'head-pose-edge[train]'"
    )


# Arguments and shapes


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_types(preset):
    images, pose_deg = render([3, 1], 0, preset, size=48, margin=4)
    assert images.shape == (2, 56, 56, 3)
    assert images.dtype == np.uint8
    assert pose_deg.shape == (2, 3)
    assert pose_deg.dtype == np.float32


def test_no_indices_give_empty_arrays():
    images, pose_deg = render([], 0, "easy")
    assert images.shape == (0, 64, 64, 3)
    assert pose_deg.shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], 0, "hard"), "use one of easy, full, clean"),
        (([0], -1, "easy"), "must not be negative"),
        (([-3], 0, "easy"), "must not be negative"),
        (([0], 0, "easy", 8), "size must be"),
        (([0], 0, "easy", 64, -1), "margin"),
    ],
)
def test_bad_arguments_say_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        render(*arguments)


# Labels


def test_full_reaches_profiles_and_easy_does_not():
    full, easy = (np.array([Scene.draw(0, i, PRESETS[p]).pose_deg for i in range(600)]) for p in ("full", "easy"))
    assert 90 < np.abs(full[:, 0]).max() <= 99
    assert (np.abs(full[:, 0]) > 45).mean() > 0.25
    assert np.abs(full[:, 1:]).max() <= 60
    assert np.abs(easy[:, 0]).max() <= 60
    assert np.abs(easy[:, 1:]).max() <= 35


def test_rotation_is_the_documented_one():
    yaw, pitch, roll = 31.0, -22.0, 17.0
    expected = Rotation.from_euler("XYZ", [-pitch, -yaw, -roll], degrees=True)
    zero = Rotation.from_euler("X", -ZERO_PITCH_DEG, degrees=True)
    rotation = head_rotation(yaw, pitch, roll)
    np.testing.assert_allclose(rotation, (expected * zero).as_matrix(), atol=1e-6)


def test_positive_yaw_turns_the_nose_to_the_images_left():
    for sign in (1, -1):
        points = landmarks_at(40 * sign, 0, 0)
        eyes = (points[LEFT_EYE].mean(0) + points[RIGHT_EYE].mean(0)) / 2
        assert sign * (points[NOSE_TIP] - eyes)[0] < -5


def test_positive_pitch_looks_up():
    up, level, down = (landmarks_at(0, pitch, 0) for pitch in (30, 0, -30))
    drop = [p[NOSE_TIP, 1] - (p[LEFT_EYE, 1].mean() + p[RIGHT_EYE, 1].mean()) / 2 for p in (up, level, down)]
    assert drop[0] < drop[1] - 5 < drop[2] - 10


def test_positive_roll_is_clockwise_as_seen():
    for sign in (1, -1):
        points = landmarks_at(0, 0, 30 * sign)
        assert sign * (points[RIGHT_EYE].mean(0) - points[LEFT_EYE].mean(0))[1] > 20


def test_a_mirrored_head_has_negated_yaw_and_roll():
    mirror = np.diag([-1, 1, 1])
    for pose in ((25, 10, -15), (-80, -30, 40)):
        yaw, pitch, roll = pose
        there = mirror @ head_rotation(*pose) @ mirror
        np.testing.assert_allclose(there, head_rotation(-yaw, pitch, -roll), atol=1e-6)


@pytest.mark.skipif(not PEERS.is_dir(), reason="FSA-Net is not in ../shared/data/peers")
def test_an_independent_network_reads_the_poses():
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    nets = [onnxruntime.InferenceSession(str(path), options) for path in sorted(PEERS.glob("fsanet-*.onnx"))]
    images, pose_deg = render(range(48), 0, "easy")
    batch = ((images[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)
    read_deg = np.mean([[net.run(None, {"input": x[None]})[0][0] for x in batch] for net in nets], axis=0)
    correlation = [np.corrcoef(pose_deg[:, k], read_deg[:, k])[0, 1] for k in range(3)]
    assert correlation[0] > 0.95
    assert correlation[1] > 0.75
    assert correlation[2] > 0.85


# The crop


def test_the_box_follows_the_published_rule():
    # landmarks 100..200 by 50..130: 2k = 0.4 of the size to the left, right and top, 0.6k = 0.12 to the bottom
    assert standard_box(np.array([100.0, 200.0]), np.array([130.0, 50.0])) == pytest.approx((60, 18, 240, 139.6))


@pytest.mark.parametrize("margin", [0, 8])
def test_the_nose_is_where_the_crop_puts_it(margin):
    """A red dot painted on the nose tip shows up where the crop rule says."""
    scene = Scene.draw(0, 0, PRESETS["easy"])
    scene = replace(scene, pose_deg=np.array([20, -5, 10], np.float32), glasses=replace(scene.glasses, worn=False))
    surfel, landmarks = scene.build()
    x, y = scene.camera.look(landmarks)
    left, top, right, bottom = standard_box(x, y)
    expected = margin + 64 * np.array([(x[NOSE_TIP] - left) / (right - left), (y[NOSE_TIP] - top) / (bottom - top)])
    covered, number, fine_side = scene.rasterise(surfel, landmarks, 64, margin)
    tip = landmarks[:, NOSE_TIP]
    near = ((surfel[POSITION][:, number] - tip[:, None]) ** 2).sum(0) < 5**2
    row, column = np.divmod(covered[near], fine_side)
    found = (np.array([column.mean(), row.mean()]) + 0.5) * (64 + 2 * margin) / fine_side
    np.testing.assert_allclose(found, expected, atol=1.0)


def test_every_crop_shows_a_face():
    """Skin of the face, brow to chin, not under hair, hat, an occluder or a cut, fills at least a twentieth."""
    head = head_surface()
    face = (head.relief["front"] > 0.5) & (head.flat[1] < 30) & (head.flat[1] > -108)
    shares = []
    for index in range(150):
        scene = Scene.draw(11, index, PRESETS["full"])
        surfel, landmarks = scene.build()
        covered, number, side = scene.rasterise(surfel, landmarks, 64, 0)
        bare = face & (scene.hair.cover()[0] < 0.5) & (scene.hat.cover()[0] < 0.5)
        seen = np.zeros(side * side, bool)
        seen[covered] = np.concatenate([bare, np.zeros(surfel.shape[1] - bare.size, bool)])[number]
        blank = np.full((3, side, side), -1, np.float32)
        scene.occluder.cover(blank)
        seen = seen.reshape(side, side) & (blank[0] < -0.9)
        if scene.degradation is not None:
            left, right, bottom = (int(share * side) for share in scene.degradation.cut)
            seen = seen[: side - bottom, left : side - right]
        shares.append(seen.sum() / side**2)
    assert min(shares) > 0.05
    assert np.median(shares) > 0.2


def test_pictures_are_neither_black_nor_white_and_vary():
    images, _ = render(range(60), 4, "full")
    means = images.reshape(60, -1).mean(1)
    assert means.min() > 15
    assert means.max() < 235
    assert means.std() > 20
    assert images.reshape(60, -1).std(1).min() > 8


# Proportions


def test_the_mean_head_has_the_published_proportions():
    head = head_surface()
    mark = head.points[:, head.landmarks]

    def distance(a, b):
        return np.linalg.norm(mark[:, a] - mark[:, b])

    x, y, z = head.points
    measured = {
        "head_breadth": np.ptp(x),
        "head_length": np.ptp(z[np.abs(y - 30) < 15]),
        "tragion_to_top": y.max() - an.TRAGION_Y,
        "face_breadth": distance(0, 16),
        "jaw_breadth": distance(4, 12),
        "face_height": an.NASION_Y - mark[1, 8],
        "inner_eye_distance": distance(39, 42),
        "outer_eye_distance": distance(36, 45),
        "mouth_breadth": distance(48, 54),
    }
    for name, value in measured.items():
        assert value == pytest.approx(an.MEASURES[name].mean, abs=4), name  # vertices are 2 to 4 mm apart


# Pieces, against independent oracles


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
