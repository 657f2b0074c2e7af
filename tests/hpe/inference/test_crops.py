"""Crops with a border, of which a dataset.json tells: `hpe predict --crops` sees what training and evaluation see."""

import numpy as np
import pytest
from PIL import Image

from hpe.data.faces import load_faces
from hpe.inference.app import PredictOptions, run_predict
from hpe.inference.predictor import HeadPosePredictor, read_crop
from hpe.io.errors import FileError
from hpe.pose.crop import centre_crop
from tests.drawn_faces import MODEL


@pytest.fixture
def folder(tmp_path):
    """A data set of two pictures with a border, one of them in a folder of its own."""
    (tmp_path / "more").mkdir()
    rng = np.random.default_rng(0)
    for name, side in (("a.png", 80), ("more/b.png", 120)):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,yaw,pitch,roll\na.png,1,2,3\nmore/b.png,4,5,6\n")
    (tmp_path / "dataset.json").write_text('{"central_crop": 0.8}')
    return tmp_path


def test_the_border_is_cut_off_as_for_training(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HPE_CACHE", str(tmp_path / "cache"))
    stored = centre_crop(load_faces(f"csv:{folder}").images)
    for name, wanted in zip(("a.png", "more/b.png"), stored, strict=True):
        np.testing.assert_array_equal(read_crop(folder / name), wanted)
    pixels = np.asarray(Image.open(folder / "a.png"))
    np.testing.assert_array_equal(read_crop(folder / "a.png"), pixels[8:72, 8:72])


def test_without_a_dataset_json_the_whole_picture_is_the_crop(folder):
    (folder / "dataset.json").unlink()
    assert read_crop(folder / "a.png").shape == (80, 80, 3)
    (folder / "dataset.json").write_text("{}")
    assert read_crop(folder / "more" / "b.png").shape == (120, 120, 3)


def test_predict_tells_the_pose_of_the_inner_part(folder):
    rows = []
    run_predict(MODEL, [folder / "a.png"], options=PredictOptions(crops=True), write=rows.append, report=len)
    inner = np.asarray(Image.open(folder / "a.png"))[8:72, 8:72]
    found = [rows[0][f"{name}_deg"] for name in ("yaw", "pitch", "roll")]
    np.testing.assert_allclose(found, HeadPosePredictor(MODEL)(inner), atol=0.0051)


def test_a_bad_dataset_json_is_named(folder):
    (folder / "dataset.json").write_text('{"central_crop": 7}')
    with pytest.raises(FileError, match=r"dataset\.json: central_crop is 7"):
        read_crop(folder / "a.png")
    outcome = run_predict(MODEL, [folder / "a.png"], options=PredictOptions(crops=True), report=len)
    assert "dataset.json" in outcome.faults[0]
