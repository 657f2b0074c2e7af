"""Poses from pictures: the Python API, and what it says of bad input."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from export.run.runtime import load_runtime
from hpe.inference.predictor import BoxError, HeadPosePredictor, PredictError, load_predictor, read_image
from hpe.io.images import ImageError
from hpe.model.preprocess import preprocess
from hpe.pose import crop as crop_module
from hpe.pose.crop import crop_face
from tests.drawn_faces import MODEL, picture


def test_a_box_is_cropped_by_the_rule_of_training():
    pixels = picture((40, 60, 160))
    box = (60.0, 100.0, 170.0, 200.0)
    crop = crop_face(pixels, box, size=64, margin=0)
    expected = load_runtime(MODEL)(preprocess(crop[None]))[0]
    np.testing.assert_array_equal(HeadPosePredictor(MODEL)(pixels, box), expected)
    np.testing.assert_array_equal(HeadPosePredictor(MODEL)(crop), expected)


def test_faces_have_the_pose_of_their_boxes():
    pytest.importorskip("cv2")
    predictor, pixels = HeadPosePredictor(str(MODEL)), picture((40, 60, 160), (300, 120, 110))
    faces = predictor.faces(pixels)
    assert len(faces) == 2
    for face in faces:
        np.testing.assert_array_equal(face.pose_deg, predictor(pixels, face.box))
    assert predictor.faces(picture()) == []


@pytest.mark.parametrize(
    "image",
    [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32), np.zeros((0, 9, 3), np.uint8)],
    ids=["gray", "float", "empty"],
)
def test_an_image_of_another_kind(image):
    with pytest.raises(PredictError, match="RGB uint8"):
        HeadPosePredictor(MODEL)(image)
    with pytest.raises(PredictError, match="RGB uint8"):
        HeadPosePredictor(MODEL).faces(image)


def test_a_box_outside_the_image():
    with pytest.raises(ValueError, match="outside"):
        HeadPosePredictor(MODEL)(picture(), (900.0, 900.0, 990.0, 990.0))


def test_models_of_another_kind(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"PK")
    with pytest.raises(PredictError, match="not a model this program knows"):
        load_predictor(tmp_path / "model.pt")
    (tmp_path / "broken.tflite").write_bytes(b"nonsense")
    with pytest.raises(RuntimeError, match=r"broken\.tflite"):
        load_predictor(tmp_path / "broken.tflite")
    with pytest.raises(ValueError, match=r"absent\.tflite: no such model"):
        load_predictor(tmp_path / "absent.tflite")


def test_a_network_that_is_no_head_pose_model(monkeypatch):
    from export.run.runtime import TFLiteRuntime

    monkeypatch.setattr(TFLiteRuntime, "run_one", None)
    original = TFLiteRuntime.__init__

    def other(self, *arguments):
        original(self, *arguments)
        self.input_shape, self.output_size = (96, 96, 1), 2

    monkeypatch.setattr(TFLiteRuntime, "__init__", other)
    with pytest.raises(PredictError, match="takes 96x96x1 and gives 2 numbers"):
        load_predictor(MODEL)


def test_an_output_that_is_no_number_is_a_message(monkeypatch, tmp_path):
    """In every command that runs a model; a face found at its edge would be left out instead."""
    from export.run.runtime import TFLiteRuntime
    from hpe.deploy.evaluate import run_evaluate

    crop = picture((0, 0, 64), size=(64, 64))
    Image.fromarray(crop).save(tmp_path / "a.png")
    predictor, predict = HeadPosePredictor(MODEL), load_predictor(MODEL)
    monkeypatch.setattr(TFLiteRuntime, "__call__", lambda self, inputs: np.full((len(inputs), 3), np.nan))
    message = "tiny_relu6_se.tflite: its output holds a value that is no number"
    with pytest.raises(PredictError, match=message) as raised:
        predictor(crop)
    assert not isinstance(raised.value, BoxError)
    for use in (lambda: predict(crop[None]), lambda: run_evaluate(MODEL, "synthetic:easy:8:1")):
        with pytest.raises(PredictError, match=message):
            use()


def test_pictures_are_read_upright_and_bad_ones_named(tmp_path):
    pixels = picture((40, 60, 160))
    image = Image.fromarray(pixels).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees clockwise to see it upright
    image.save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "phone.png"), pixels)
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ImageError, match=r"text\.jpg: the image cannot be decoded"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "absent.jpg")


def test_the_whole_way_never_imports_torch(tmp_path):
    pytest.importorskip("cv2")
    Image.fromarray(picture((40, 60, 160))).save(tmp_path / "selfie.png")
    code = (
        "import sys; from hpe.cli.main import main; "
        f"main(['predict', r'{tmp_path / 'selfie.png'}', '--model', r'{MODEL}', '--draw', r'{tmp_path / 'drawn'}']); "
        "print({'torch', 'tensorflow', 'scipy', 'matplotlib', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert (tmp_path / "drawn" / "selfie.png").exists()


def test_a_frame_of_a_video_is_cropped_searched_and_drawn_as_a_copy_of_it_would_be():
    pytest.importorskip("cv2")
    from hpe.inference.annotation import draw_seen
    from hpe.inference.detector import FaceDetector
    from hpe.inference.seen import Seen, SeenFace

    copy = picture((40, 60, 160))
    view = np.ascontiguousarray(copy[..., ::-1])[..., ::-1]  # as frames are
    detector, predictor = FaceDetector(), HeadPosePredictor(MODEL)
    (found,) = detector(view)
    assert [found] == detector(copy)
    face, same = predictor.face(view, found), predictor.face(copy, found)
    assert face.box == same.box
    np.testing.assert_array_equal(face.pose_deg, same.pose_deg)
    np.testing.assert_array_equal(predictor(view), predictor(copy))
    told = (SeenFace(face, 0, face.pose_deg, 1.0),)
    drawn = [np.asarray(draw_seen(Seen("a", 0, 0.0, pixels, told, 1.0))).tobytes() for pixels in (view, copy)]
    assert drawn[0] == drawn[1]
    assert (view == copy).all()


def test_a_frame_is_never_copied_whole(monkeypatch):
    """The pixels that Pillow is given for one face of a 1080p frame are those of the crop's rectangle."""
    given = []
    whole = crop_module.as_picture
    monkeypatch.setattr(crop_module, "as_picture", lambda pixels: given.append(pixels.shape) or whole(pixels))
    frame = np.zeros((1080, 1920, 3), np.uint8)[..., ::-1]
    HeadPosePredictor(MODEL)(frame, (800.0, 400.0, 1000.0, 600.0))
    assert given == [(304, 360, 3)]
