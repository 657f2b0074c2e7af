"""The sketch finds a face in the camera's frame, follows it and says when it is lost, as hpe.inference would."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from export.errors import ExportError
from export.micro.sketch import write_arduino
from export.run.compiled import CompiledRuntime
from hpe.inference.predictor import HeadPosePredictor, corrected
from hpe.model.outputs import PLACE_UNIT, SCORE_UNIT, read_outputs
from hpe.model.preprocess import preprocess
from hpe.pose.crop import narrow, widen
from tests.arduino.test_sketch_sources import area_mean
from tests.sketches import SETTINGS, TESTS, WARNINGS, build_c_sketch, film, needs_gxx, rgb565, run
from tests.tiny_models import Graph

WIDTH, HEIGHT = 160, 120
PLACE = {"first": 3, "place_unit": PLACE_UNIT, "score_unit": SCORE_UNIT, "largest_shift": 0.35}
LOCATES = SETTINGS | {"place": PLACE | {"largest_log_size": math.log(2)}}

needs_compilers = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("g++") is None, reason="gcc and g++ are not installed"
)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/arduino_host.cpp with the sources that find and follow."""
    program = tmp_path_factory.mktemp("host") / "host"
    source = TESTS.parent / "arduino" / "head_pose"
    files = [
        TESTS / "arduino_host.cpp",
        *(source / "src" / f"{n}.cpp" for n in ("image", "frame_parser", "pose", "follow")),
    ]
    checks = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wconversion"]
    command = ["g++", *WARNINGS, *checks, f"-I{source}", *map(str, files), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def scan(host: Path, width: int, height: int) -> np.ndarray:
    return np.array([line.split() for line in run(host, "scan", width, height).decode().splitlines()], int)


@needs_gxx
@pytest.mark.parametrize(("width", "height"), [(160, 120), (120, 160), (96, 96), (40, 30), (320, 240)])
def test_a_scan_covers_the_frame_from_coarse_to_fine(host: Path, width: int, height: int):
    crops = scan(host, width, height)
    assert (crops[:, :2] >= 0).all()
    assert (crops[:, :2] + crops[:, 2:] <= (width, height)).all()
    assert crops[0, 2] == min(width, height)
    assert (np.diff(crops[:, 2]) <= 0).all()
    for size in np.unique(crops[:, 2]):
        same = crops[crops[:, 2] == size]
        for axis, length in ((0, width), (1, height)):
            steps = np.unique(same[:, axis])
            assert (steps[0], steps[-1]) == (0, length - size)  # from edge to edge
            assert (np.diff(steps) <= size / 3 + 1).all()


def follow(host: Path, *sights: tuple[float, float, float, float]) -> list[tuple[str, tuple[int, ...]]]:
    """Verdict and next crop after each look; a sight is shift right, shift down, size, logit of a face."""
    lines = [f"{x * PLACE_UNIT} {y * PLACE_UNIT} {math.log(s) * PLACE_UNIT} {f * SCORE_UNIT}" for x, y, s, f in sights]
    answers = run(host, "follow", WIDTH, HEIGHT, stdin="\n".join(lines).encode()).decode().splitlines()
    return [(line[0], tuple(map(int, line[2:].split()))) for line in answers]


OFF, ON, DOUBTFUL, NONE = (0.1, 0.0, 1.0, 3.2), (0.0, 0.0, 1.0, 3.2), (0.0, 0.0, 1.0, 2.0), (0.0, 0.0, 1.0, -3.0)
"""Shift right, shift down, size, logit of a face."""


@needs_gxx
def test_found_followed_and_lost(host: Path):
    moved, doubtful = (0.2, -0.1, 0.8, 3.2), (0.0, 0.0, 1.0, 0.3)
    crops = scan(host, WIDTH, HEIGHT)
    answers = follow(host, NONE, NONE, moved, ON, ON, moved, moved, doubtful, NONE)
    # nothing in the first two crops; the third shows a face off its middle: a further look, then it is followed, with
    # a second look where it moved, and as long as it is more likely there than not
    assert [verdict for verdict, _ in answers] == list("AAAFFAFFL")
    assert answers[0][1] == tuple(crops[1])
    x, y, side = crops[2]
    expected = corrected(narrow((x, y, x + side, y + side)), read_outputs(_outputs(moved)))
    left, top, right, bottom = widen(expected)
    assert answers[2][1] == pytest.approx((max(0, left), max(0, top), right - left), abs=0.51)
    assert bottom - top == pytest.approx(right - left)
    assert answers[3][1] == answers[2][1] == answers[4][1]
    assert answers[-1][1] == tuple(crops[0])  # lost: the scan begins again


def _outputs(sight: tuple[float, float, float, float]) -> np.ndarray:
    x, y, size, face = sight
    place = [x * PLACE_UNIT, y * PLACE_UNIT, math.log(size) * PLACE_UNIT, face * SCORE_UNIT]
    return np.array([[0, 0, 0, *place]], np.float32)


@needs_gxx
@pytest.mark.parametrize(
    "looks", [[OFF, NONE], [OFF] * 4, [ON, DOUBTFUL, DOUBTFUL, DOUBTFUL], [ON, OFF, DOUBTFUL, NONE]]
)
def test_a_find_that_further_looks_do_not_confirm_goes_on_with_the_scan(host: Path, looks: list):
    answers = follow(host, *looks)
    assert [verdict for verdict, _ in answers] == ["A"] * len(looks)
    assert answers[-1][1] == tuple(scan(host, WIDTH, HEIGHT)[1])


@needs_gxx
def test_a_find_that_a_further_look_confirms_is_a_face(host: Path):
    assert [verdict for verdict, _ in follow(host, DOUBTFUL, OFF, DOUBTFUL, ON)] == list("AAAF")  # the first is none
    assert [verdict for verdict, _ in follow(host, OFF, OFF, OFF, ON)] == list("AAAF")


@needs_gxx
def test_looks_that_lead_nowhere_count_for_the_frame(host: Path):
    answers = follow(host, *[OFF] * 12)
    assert "".join(verdict for verdict, _ in answers) == "AAAAAAASAAAA"


@needs_gxx
def test_a_frame_without_a_face_is_scanned_over_several_frames_and_told_once(host: Path):
    crops = scan(host, WIDTH, HEIGHT)
    answers = follow(host, *[(0.0, 0.0, 1.0, -3.0)] * (2 * len(crops)))
    verdicts = "".join(verdict for verdict, _ in answers)
    assert verdicts.count("N") == 2
    assert verdicts[len(crops) - 1] == verdicts[-1] == "N"
    assert verdicts[:8] == "AAAAAAAS"
    assert [crop for _, crop in answers[: len(crops) - 1]] == [tuple(crop) for crop in crops[1:]]


@needs_gxx
def test_a_crop_never_leaves_the_frame(host: Path):
    rng = np.random.default_rng(0)
    sights = [
        tuple(row)
        for row in np.column_stack([*rng.uniform(-1, 1, (2, 300)), rng.uniform(0.3, 3, 300), rng.normal(2, 2, 300)])
    ]
    for _, (x, y, size) in follow(host, *sights):
        assert x >= 0
        assert y >= 0
        assert x + size <= WIDTH
        assert y + size <= HEIGHT
        assert size >= 48


# ---- the whole sketch, with a network that knows one synthetic head

HEAD_SIDE = 60
"""Of the head's standard crop in the frame, pixels."""


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    """A synthetic head with its surroundings: uint8 (76, 76, 3), whose central 60 pixels are the standard crop."""
    pytest.importorskip("numba")
    from hpe.synthetic import render

    return render([3], seed=1, preset="easy", size=HEAD_SIDE, margin=8)[0][0]


def frame_with(head: np.ndarray | None, x: int = 0, y: int = 0) -> np.ndarray:
    """A dark frame (120, 160, 3) in which the head's standard crop begins at x, y; as RGB565 keeps it."""
    frame = np.full((HEIGHT, WIDTH, 3), 24, np.uint8)
    if head is not None:
        frame[y - 8 : y + 68, x - 8 : x + 68] = head
    return rgb565(frame)[1]


def seen(frame: np.ndarray, crop: tuple[int, int, int]) -> np.ndarray:
    """What the model sees of a crop: uint8 (64, 64, 3)."""
    x, y, side = crop
    return area_mean(frame[y : y + side, x : x + side], 64)


@pytest.fixture(scope="module")
def locating(head: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An int8 file of seven outputs, linear in 8x8 blocks of the crop, fitted to tell where this one head is."""
    rng = np.random.default_rng(0)
    crops, wanted = [], []
    for index in range(700):
        x, y = int(rng.integers(8, WIDTH - 68)), int(rng.integers(8, HEIGHT - 68))
        near = index % 2 == 0
        side = int(rng.integers(46, 84)) if near else int(rng.integers(48, 121))
        spread = 0.2 * side if near else 80
        left = int(np.clip(x + 30 - side / 2 + rng.uniform(-spread, spread), 0, WIDTH - side))
        top = int(np.clip(y + 30 - side / 2 + rng.uniform(-spread, spread), 0, HEIGHT - side))
        right, down = (x + 30 - left) / side - 0.5, (y + 30 - top) / side - 0.5
        face = max(abs(right), abs(down)) < 0.22 and abs(math.log(HEAD_SIDE / side)) < 0.35
        crops.append(seen(frame_with(head if index % 8 else None, x, y), (left, top, side)))
        place = [right * PLACE_UNIT, down * PLACE_UNIT, math.log(HEAD_SIDE / side) * PLACE_UNIT]
        wanted.append([*np.clip(place, -110, 110), 40 if face and index % 8 else -40])
    blocks = preprocess(np.stack(crops)).reshape(-1, 8, 8, 8, 8, 3).mean((2, 4)).reshape(-1, 192)  # (N, 192)
    table = np.column_stack([blocks, np.ones(len(blocks))])
    targets = np.array(wanted)
    face = targets[:, 3] > 0
    weights = np.empty((193, 4))
    for output in range(4):
        rows = face if output < 3 else slice(None)
        gram = table[rows].T @ table[rows] + 3 * np.eye(193)
        weights[:, output] = np.linalg.solve(gram, table[rows].T @ targets[rows, output])
    pose = rng.normal(0, 3, (193, 3))
    file = tmp_path_factory.mktemp("locating") / "locating.tflite"
    file.write_bytes(linear_net(np.column_stack([pose, weights])))
    return file


def linear_net(weights: np.ndarray) -> bytes:
    """A net (1, 64, 64, 3) -> (1, K) from weights (193, K) of the means of 8x8 blocks, and an offset."""
    g = Graph(0)
    outputs = weights.shape[1]
    image = g.tensor([1, 64, 64, 3], 0.0186, -14)
    flat = g.tensor([1, 12288], 0.0186, -14)
    options = g.schema.ReshapeOptionsT()
    options.newShape = np.array([1, 12288], np.int32)
    g.op("RESHAPE", [image, g.tensor([2], kind="INT32", data=options.newShape)], flat, options)
    wide = weights[:192].T.reshape(outputs, 8, 1, 8, 1, 3) / 64
    wide = np.broadcast_to(wide, (outputs, 8, 8, 8, 8, 3)).reshape(outputs, 12288)
    scale = np.abs(wide).max() / 127
    w = g.tensor([outputs, 12288], scale, 0, data=np.round(wide / scale).astype(np.int8))
    bias = np.round(weights[192] / (scale * 0.0186)).astype(np.int32)
    b = g.tensor([outputs], scale * 0.0186, 0, "INT32", bias)
    y = g.tensor([1, outputs], 1.0, 0)
    return g.finish(image, g.op("FULLY_CONNECTED", [flat, w, b], y, g.schema.FullyConnectedOptionsT(), version=4))


@needs_compilers
def test_the_sketch_finds_follows_and_loses_a_synthetic_head(head: np.ndarray, locating: Path, tmp_path: Path):
    write_arduino(locating, tmp_path / "head_pose", "nano33ble", LOCATES)
    program = build_c_sketch(tmp_path / "head_pose", "-DHEAD_POSE_CAMERA=1")
    path = [(70, 30), (70, 30), (73, 32), (76, 34), (80, 36)]
    frames = [frame_with(None)] * 8 + [frame_with(head, *path[0])] * 8
    frames += [frame_with(head, x, y) for x, y in path[1:]] + [frame_with(None)] * 2
    lines = film(program, tmp_path, frames)
    messages = [line for line in lines[1:] if line.startswith("#")]
    assert messages[0] == "# no face"
    found = re.fullmatch(r"# face found at (\d+),(\d+), side (\d+)", messages[1])
    assert found is not None
    assert messages[2:] == ["# face lost"]
    x, y, side = map(int, found.groups())
    assert (x, y, side) == pytest.approx((*path[0], HEAD_SIDE), abs=6)

    # followed with every frame until it goes
    rows = [[float(value) for value in line.split(",")] for line in lines if not line.startswith("#")]
    numbers = [int(row[4]) for row in rows]
    assert numbers == list(range(numbers[0], len(frames) - 2))

    # the frame after: the crop that was told, seen by the same model
    outputs = CompiledRuntime(locating, fine=True)(preprocess(seen(frames[8], (x, y, side))[None]))[0]
    reading = read_outputs(outputs[None])
    assert reading.face[0] > 0.5
    assert np.abs(reading.place[0] - (0, 0, 1)).max() < 0.06  # so near that there is no second look
    np.testing.assert_allclose(rows[1][:3], outputs[:3], atol=0.0051)

    # hpe.inference on the last frame, from where the head was: its crops are resampled by another filter
    frame = frames[-3]
    box = narrow((path[-2][0], path[-2][1], path[-2][0] + HEAD_SIDE, path[-2][1] + HEAD_SIDE))
    predictor = HeadPosePredictor(locating)
    face = predictor.look(frame, predictor.look(frame, box).box, looks=1)
    assert face.score > 0.5
    np.testing.assert_allclose(rows[-1][:3], face.pose_deg, atol=3)


@needs_compilers
def test_without_outputs_for_the_place_the_middle_is_taken(head: np.ndarray, locating: Path, tmp_path: Path):
    write_arduino(locating, tmp_path / "head_pose", "nano33ble", SETTINGS)
    program = build_c_sketch(tmp_path / "head_pose", "-DHEAD_POSE_CAMERA=1")
    frames = [frame_with(None), frame_with(head, 50, 30)]
    lines = film(program, tmp_path, frames)
    assert len(lines) == 3
    for frame, line in zip(frames, lines[1:], strict=True):
        outputs = CompiledRuntime(locating, fine=True)(preprocess(seen(frame, (20, 0, 120))[None]))[0]
        np.testing.assert_allclose([float(v) for v in line.split(",")[:3]], outputs[:3], atol=0.0051)


@pytest.mark.parametrize("place", [{}, PLACE | {"largest_log_size": -1}, PLACE | {"largest_log_size": 1, "first": 4}])
def test_settings_that_do_not_suit_the_model_are_refused(locating: Path, tmp_path: Path, place: dict[str, float]):
    with pytest.raises(ExportError, match=r"settings\['place'\]"):
        write_arduino(locating, tmp_path / "head_pose", "nano33ble", SETTINGS | {"place": place})
