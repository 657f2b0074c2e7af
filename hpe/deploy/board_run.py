"""`hpe serial`: feed a board over the serial line with faces from a data set or a camera, or with inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from hpe.deploy.board_link import LinkError, Port, SerialLink, open_port
from hpe.inference.detector import load_opencv
from hpe.inference.predictor import face_crop
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import PoseMetrics, pose_metrics


def run_serial(
    port: str | Port, data: str | None, camera: int | None, count: int, report: Callable[[str], None] = print
) -> PoseMetrics | None:
    """Send up to `count` crops to the board on `port` and report each answer.

    Returns the errors in degrees for `data`, None for a camera. Raises LinkError for a count below 1, and where the
    board or camera fails.
    """
    _check_count(count)
    if (data is None) == (camera is None):
        raise LinkError("give one of --data SPEC, --camera N and --inputs FILE, so that there is something to send")
    poses = []
    with SerialLink(open_port(port) if isinstance(port, str) else port) as link:
        if data is not None:
            from hpe.data.faces import load_faces

            faces = load_faces(data)
            crops: Iterator[np.ndarray] = iter(centre_crop(faces.images[:count]))
        else:
            crops = camera_crops(camera or 0, count)
        for crop in crops:
            answer = link.predict(np.ascontiguousarray(crop))
            poses.append((answer.yaw_deg, answer.pitch_deg, answer.roll_deg))
            report(f"{answer.yaw_deg:.2f},{answer.pitch_deg:.2f},{answer.roll_deg:.2f},{answer.latency_us}")
    return pose_metrics(np.array(poses), faces.pose_deg[:count], faces.dropped) if data is not None else None


def run_inputs(port: str | Port, path: Path, count: int, report: Callable[[str], None] = print) -> None:
    """Send up to `count` arrays of a NumPy file to a board that runs any model, and report each answer.

    Raises:
        LinkError: the file holds no int8 or uint8 arrays or not the type that the sketch takes, the count is below 1,
            or the board fails.
    """
    _check_count(count)
    try:
        inputs = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LinkError(f"--inputs {path} cannot be read as a .npy file: {error}") from error
    if not isinstance(inputs, np.ndarray) or inputs.dtype not in (np.int8, np.uint8) or inputs.ndim < 2:
        raise LinkError(
            f"--inputs {path}: give an array (N, ...) of the model's inputs, int8 or uint8 as the sketch's README says"
        )
    with SerialLink(open_port(port) if isinstance(port, str) else port) as link:
        for values in inputs[:count]:
            answer = link.ask(values)
            report(f"{answer.outputs},{answer.latency_us}")


def _check_count(count: int) -> None:
    if count < 1:
        raise LinkError(f"--count {count} sends nothing; give 1 or more")


def camera_crops(index: int, count: int) -> Iterator[np.ndarray]:
    """The middle square of `count` pictures of a camera as crops (64, 64, 3); hold the face there."""
    device = load_opencv().VideoCapture(index)
    try:
        for _ in range(count):
            whole, frame = device.read()
            if not whole:
                raise LinkError(f"camera {index} gives no picture; is it plugged in and free?")
            height, width = frame.shape[:2]
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            yield face_crop(np.ascontiguousarray(frame[top : top + side, left : left + side, ::-1]), None)
    finally:
        device.release()
