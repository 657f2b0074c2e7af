import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hpe.data.faces import Faces
from hpe.deploy.evaluate import evaluate, run_evaluate
from hpe.io.errors import ConfigError
from hpe.io.files import read_json
from hpe.pose.metrics import pose_metrics
from tests.drawn_faces import MODEL

RANDOM = np.random.default_rng(0)


def test_errors_are_mean_absolute_differences():
    true = RANDOM.uniform(-60, 60, (50, 3))
    metrics = pose_metrics(true + np.array([1.0, -2.0, 3.0]), true)
    np.testing.assert_allclose([metrics.mae_deg[k] for k in ("yaw", "pitch", "roll", "mean")], [1, 2, 3, 2])
    assert metrics.n == 50


def test_only_whole_turns_are_wrapped():
    true = np.array([[-179.0, 0.0, 0.0], [90.0, 0.0, 0.0]])
    predicted = np.array([[179.0, 0.0, 0.0], [-90.0, 0.0, 0.0]])
    metrics = pose_metrics(predicted, true)
    assert metrics.mae_deg["yaw"] == pytest.approx((2 + 180) / 2)  # half a turn stays an error of 180, never 0


def test_geodesic_against_scipy():
    true, predicted = RANDOM.uniform(-70, 70, (2, 40, 3))

    def rotation(pose):  # R = Rx(-pitch) Ry(-yaw) Rz(-roll)
        yaw, pitch, roll = pose.T
        return Rotation.from_euler("XYZ", np.stack([-pitch, -yaw, -roll], 1), degrees=True)

    expected = np.rad2deg((rotation(predicted).inv() * rotation(true)).magnitude()).mean()
    assert pose_metrics(predicted, true).geodesic_deg == pytest.approx(expected, abs=1e-6)


def test_evaluate_shows_the_central_crop_and_counts():
    images = np.zeros((5, 80, 80, 3), np.uint8)
    images[:, 8:72, 8:72] = 7
    faces = Faces(images, RANDOM.uniform(-40, 40, (5, 3)).astype(np.float32), [str(i) for i in range(5)], 2, 1)
    seen = []

    def predict(crops):
        seen.append(crops)
        return np.zeros((len(crops), 3))

    metrics = evaluate(predict, faces, batch_size=2)
    assert [len(crops) for crops in seen] == [2, 2, 1]
    assert all(crops.shape[1:] == (64, 64, 3) and (crops == 7).all() for crops in seen)
    assert metrics.mean_deg == pytest.approx(np.abs(faces.pose_deg).mean(), rel=1e-6)
    assert metrics.to_dict().keys() == {"mae_deg", "geodesic_deg", "n", "dropped", "skipped"}
    assert (metrics.dropped, metrics.skipped) == (2, 1)


def test_bad_outputs_are_refused():
    with pytest.raises(ValueError, match="no number"):
        pose_metrics(np.full((2, 3), np.nan), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="equal arrays"):
        pose_metrics(np.zeros((2, 2)), np.zeros((2, 3)))


def test_each_engine_has_an_entry_of_its_own(tmp_path):
    file = tmp_path / "model_int8.tflite"
    file.write_bytes(MODEL.read_bytes())
    (tmp_path / "result.json").write_text("{}")
    for engine in ("litert", "reference"):
        run_evaluate(file, "synthetic:easy:2:1", engine=engine)
    entries = read_json(tmp_path / "result.json")["evaluations"].values()
    assert [(entry["file"], entry["engine"]) for entry in entries] == [
        ("model_int8.tflite", "litert"),
        ("model_int8.tflite", "reference"),
    ]
    with pytest.raises(ConfigError, match="runs model files"):
        run_evaluate(tmp_path, "synthetic:easy:2:1", engine="c")
