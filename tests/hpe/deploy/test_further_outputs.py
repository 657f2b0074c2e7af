"""Files with more than three outputs: evaluated, compiled to C, put into sketches, exported."""

import shutil

import numpy as np
import pytest

from export.convert.tflite import read_metadata
from export.errors import ModelFileError
from export.micro.footprint import footprint
from export.micro.sketch import write_arduino
from export.run.compiled import CompiledRuntime
from export.run.runtime import load_runtime
from hpe.data.faces import load_faces
from hpe.deploy.board_link import encode_frame
from hpe.deploy.evaluate import run_evaluate
from hpe.deploy.export import model_metadata
from hpe.inference.predictor import HeadPosePredictor, PredictError, load_network, load_predictor
from hpe.model.outputs import read_outputs
from hpe.model.preprocess import preprocess
from hpe.pose.crop import centre_crop
from hpe.pose.metrics import pose_metrics
from tests.sketches import SETTINGS, build_c_sketch, run
from tests.tiny_models import image_net

DATA = "synthetic:easy:9:5"


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    file = tmp_path_factory.mktemp("models") / "ten.tflite"
    file.write_bytes(image_net(seed=3, activation="relu6", squeeze=False, outputs=10))
    return file


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(6).integers(0, 256, (4, 64, 64, 3), np.uint8)


@pytest.mark.parametrize("engine", ["litert", "reference", "c"])
def test_every_engine_gives_all_outputs_and_the_angles_first(ten, crops, engine):
    if engine == "c" and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    outputs = load_network(ten, engine=engine)(crops)
    assert outputs.shape == (4, 10)
    np.testing.assert_array_equal(load_predictor(ten, engine=engine)(crops), outputs[:, :3])
    predictor = HeadPosePredictor(ten, engine=engine)
    assert (predictor.locates, predictor.tells_spread) == (True, True)
    face = predictor.known(crops[0], None)
    assert face.box == (0, 0, 64, 64)
    np.testing.assert_array_equal(face.spread_deg, read_outputs(outputs).spread_deg[0])
    if engine == "c":
        np.testing.assert_array_equal(outputs, load_runtime(ten, reference_kernels=True)(preprocess(crops)))


def test_the_error_is_that_of_the_angles(ten):
    faces = load_faces(DATA)
    wanted = pose_metrics(load_network(ten)(centre_crop(faces.images))[:, :3], faces.pose_deg)
    assert run_evaluate(ten, DATA).mae_deg == pytest.approx(wanted.mae_deg)


@pytest.mark.parametrize("outputs", [2, 4, 11])
def test_files_with_another_number_are_refused(tmp_path, outputs):
    file = tmp_path / "other.tflite"
    file.write_bytes(image_net(seed=3, activation="relu6", squeeze=False, outputs=outputs))
    with pytest.raises(PredictError, match=rf"gives {outputs} numbers; a head-pose model .* gives 3, 6, 7 or 10"):
        load_predictor(file)


@pytest.mark.parametrize("engine", ["c", "tflm"])
def test_a_sketch_reads_the_first_three(ten, tmp_path, without_wheel, engine):
    assert footprint(ten, "nano33ble").fits
    write_arduino(ten, tmp_path / "head_pose", "nano33ble", SETTINGS, engine)
    assert "kOutputs = 10;" in (tmp_path / "head_pose" / "model_settings.h").read_text()
    two = tmp_path / "two.tflite"
    two.write_bytes(image_net(seed=3, activation="relu6", squeeze=False, outputs=2))
    with pytest.raises(ModelFileError, match="reads three angles"):
        write_arduino(two, tmp_path / "other", "nano33ble", SETTINGS, engine)


@pytest.mark.skipif(shutil.which("g++") is None or shutil.which("gcc") is None, reason="gcc and g++ are not installed")
def test_the_c_sketch_prints_the_angles(ten, crops, tmp_path):
    write_arduino(ten, tmp_path / "head_pose", "nano33ble", SETTINGS)
    stream = b"".join(encode_frame(image, index) for index, image in enumerate(crops))
    lines = run(build_c_sketch(tmp_path / "head_pose"), stdin=stream).decode().splitlines()
    found = np.array([[float(v) for v in line.split(",")[:3]] for line in lines if not line.startswith("#")])
    np.testing.assert_allclose(found, CompiledRuntime(ten, fine=True)(preprocess(crops))[:, :3], atol=0.0051)


def test_the_metadata_name_what_follows():
    assert "further" not in model_metadata("")["output"]
    output = model_metadata("", 10)["output"]
    assert output["order"] == ["yaw", "pitch", "roll"]
    assert len(output["further"]) == 7
    assert output["further"][3] == "face_logit"


@pytest.mark.slow
def test_a_network_that_locates_is_exported_with_all_its_outputs(tmp_path):
    from hpe.cli.main import main
    from hpe.deploy.export import run_export
    from hpe.model.net import load_model, outputs_of

    run = tmp_path / "run"
    form = ["--act", "relu6", "--no-se", "--width", "0.25", "--locate", "--spread", "--no-face", "0.2"]
    main(["train", "--data", "synthetic:easy:64:5", "--epochs", "1", "--batch-size", "8", *form, "--out", str(run)])
    files = run_export(run, report=lambda line: None)
    crops = centre_crop(load_faces(DATA).images)
    expected = outputs_of(load_model(run), crops)
    np.testing.assert_allclose(load_network(files["fp32"])(crops), expected, atol=0.05)
    assert np.abs(load_network(files["int8"])(crops) - expected).mean() < 2
    assert len(read_metadata(files["int8"])["output"]["further"]) == 7
    assert HeadPosePredictor(files["int8"]).look(load_faces(DATA).images[0], (20, 20, 60, 66)).score is not None
