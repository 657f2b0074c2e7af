"""The One Euro filter against the paper's formula, and faces told apart."""

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from hpe.inference.tracking import LEFT_AND_CAME, LOST_AFTER_S, OneEuro, Tracks, match, overlap


def paper(times, values, min_cutoff, beta, speed_cutoff):
    """Casiez et al. 2012, algorithms 1 and 2, for one number, written out with the rate instead of the period."""
    filtered, speed, answers = None, 0.0, []
    for i, x in enumerate(values):
        if filtered is None:
            filtered = x
        else:
            rate = 1.0 / (times[i] - times[i - 1])

            def alpha(cutoff, rate=rate):
                tau = 1.0 / (2 * math.pi * cutoff)
                return 1.0 / (1.0 + tau * rate)

            dx = (x - filtered) * rate
            speed = alpha(speed_cutoff) * dx + (1 - alpha(speed_cutoff)) * speed
            cutoff = min_cutoff + beta * abs(speed)
            filtered = alpha(cutoff) * x + (1 - alpha(cutoff)) * filtered
        answers.append(filtered)
    return answers


def test_is_the_papers_filter():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.2, 60))
    poses = np.cumsum(rng.normal(0, 4, (60, 3)), axis=0)
    smooth = OneEuro(1.3, 0.02, 0.8)
    answers = np.stack([smooth(time, pose) for time, pose in zip(times, poses, strict=True)])
    for angle in range(3):
        np.testing.assert_allclose(answers[:, angle], paper(times, poses[:, angle], 1.3, 0.02, 0.8), rtol=1e-12)


def test_quiet_at_rest_and_quick_in_motion():
    rng = np.random.default_rng(1)
    times = np.arange(200) / 30
    noise = rng.normal(0, 2, (200, 1))
    smooth = OneEuro()
    rest = np.stack([smooth(t, v) for t, v in zip(times, noise, strict=True)])
    assert rest[50:].std() < 0.55 * noise[50:].std()
    smooth = OneEuro()
    turning = [smooth(t, np.array([90 * t])) for t in times[:60]]  # 90 degrees a second
    assert abs(turning[-1][0] - 90 * times[59]) < 6


def test_a_time_that_stands_still_changes_nothing():
    smooth = OneEuro()
    smooth(1.0, np.array([3.0]))
    assert smooth(1.0, np.array([9.0])) == 3.0
    assert smooth(0.5, np.array([9.0])) == 3.0


def test_overlap():
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 30, 10)) == 0


def test_two_faces_keep_their_numbers_and_come_back_anew():
    tracks = Tracks()
    left, right = (0.0, 0.0, 50.0, 50.0), (200.0, 0.0, 250.0, 50.0)
    poses = [np.array([10.0, 0, 0]), np.array([-10.0, 0, 0])]
    assert [number for number, _ in tracks.update(0.0, [left, right], poses)] == [0, 1]
    assert [number for number, _ in tracks.update(0.1, [right, left], poses[::-1])] == [1, 0]
    assert tracks.yaw_near((5.0, 0.0, 55.0, 50.0)) == 10.0
    assert tracks.yaw_near((500.0, 0.0, 550.0, 50.0)) is None
    assert tracks.update(1.5, [], []) == []
    assert [number for number, _ in tracks.update(3.0, [left], poses[:1])] == [2]


@pytest.mark.parametrize("period_s", [0.1, 1.5, 60.0])
def test_a_face_keeps_its_number_however_slow_the_frames_come(period_s):
    """A video of a frame each minute, or a network that takes longer than a second for a camera's."""
    tracks, box = Tracks(), (0.0, 0.0, 50.0, 50.0)
    told = [tracks.update(i * period_s, [box], [np.zeros(3)])[0][0] for i in range(4)]
    assert told == [0] * 4
    assert tracks.update(4 * period_s, [], []) == []
    ((number, _),) = tracks.update(5 * period_s, [box], [np.zeros(3)])
    assert number == (0 if 2 * period_s < LOST_AFTER_S else 1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("apart", "moved"), [(60, 40), (60, -40), (72, 50)])
def test_neighbours_keep_their_numbers_while_the_camera_pans(order, apart, moved):
    """Faces 100 pixels wide, so close that each comes to lie where the other was."""
    tracks = Tracks()
    for frame in range(4):
        left = 200.0 - moved * frame
        boxes = [(x, 0.0, x + 100, 100.0) for x in (left, left + apart)]
        told = tracks.update(frame / 10, [boxes[face] for face in order], [np.full(3, 60.0 * face) for face in order])
        assert [number for number, _ in told] == [0, 1]
        np.testing.assert_array_equal([pose[0] for _, pose in told], [60.0 * face for face in order])


def test_a_face_keeps_its_number_when_a_neighbour_leaves_and_another_comes():
    tracks = Tracks()
    at = {name: (x, 0.0, x + 100, 100.0) for name, x in (("left", 200.0), ("middle", 260.0), ("right", 320.0))}
    for time_s, names, numbers in ((0.0, ["left", "middle"], [0, 1]), (0.1, ["right", "middle"], [2, 1])):
        told = tracks.update(time_s, [at[name] for name in names], [np.zeros(3)] * 2)
        assert [number for number, _ in told] == numbers


@pytest.mark.parametrize("seed", range(20))
def test_faces_and_tracks_are_matched_as_scipy_would(seed):
    rng = np.random.default_rng(seed)
    faces, tracks = rng.integers(1, 8, 2)
    table = rng.uniform(0.2, 1, (faces, tracks)) * (rng.uniform(size=(faces, tracks)) < 0.5)
    gains = np.concatenate([np.where(table > 0, table + LEFT_AND_CAME, -9), np.zeros((faces, faces))], 1)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    expected = {int(row): int(column) for row, column in zip(rows, columns, strict=True) if column < tracks}
    assert match({(int(face), int(track)): table[face, track] for face, track in np.argwhere(table)}) == expected
