"""`hpe export` around a converter that only copies files: what is checked, kept, recorded and said."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.convert import tflite
from export.convert.tflite import read_metadata
from export.run import parity
from export.run.parity import Deviation, ParityError
from hpe.data.faces import load_faces
from hpe.deploy import export
from hpe.deploy.export import ExportJob, export_all, run_export
from hpe.deploy.learnt import known_ranges
from hpe.io.errors import ConfigError
from hpe.io.files import merge_result, read_json, write_json
from hpe.model.outputs import PLACE_UNIT, read_outputs
from hpe.training.runs import RANGES
from tests.conftest import TINY_DATA
from tests.sketches import RELU6


@pytest.fixture
def run(tiny_run, tmp_path):
    """A copy of a trained run."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    return folder


@pytest.fixture
def seen(monkeypatch):
    """Conversion and comparison without their work: {"parity": samples, "deviation": {format: mean}, ...}."""
    seen = {"deviation": {}, "conversions": []}

    def convert_all(conversions):
        seen["conversions"].append(conversions)
        made = []
        for conversion in conversions:
            files = {fmt: conversion.out_dir / f"model_{fmt}.tflite" for fmt in conversion.formats}
            for path in files.values():
                shutil.copyfile(RELU6, path)
            made.append(files)
        return made

    def check_parity(files, samples, expected, tolerance, evidence_dir):
        seen.update(parity=samples, tolerance=tolerance, recorded=dict(read_json(evidence_dir / "result.json")))
        means = {fmt: seen["deviation"].get(fmt, 0.01) for fmt in files}
        found = {fmt: Deviation(2 * mean, mean, [mean] * 3, len(samples)) for fmt, mean in means.items()}
        failed = [fmt for fmt, mean in means.items() if not mean <= tolerance[fmt]]
        if failed:
            raise ParityError(f"Exported files differ from torch: {failed}.", found, failed)
        return found

    monkeypatch.setattr(tflite, "convert_all", convert_all)
    monkeypatch.setattr(parity, "check_parity", check_parity)
    return seen


def test_parity_is_measured_on_other_images_than_those_that_calibrate(run, seen):
    run_export(run, report=lambda line: None)
    ((conversion,),) = seen["conversions"]
    calibrate = {image.tobytes() for image in conversion.calibration}
    assert len(conversion.calibration) == 36
    assert len(seen["parity"]) == 12
    assert not any(image.tobytes() in calibrate for image in seen["parity"])
    assert seen["tolerance"] == {"onnx": 0.05, "fp32": 0.05, "int8": 1.0}
    low, high = conversion.output_range
    poses = load_faces(TINY_DATA).pose_deg
    assert low < poses.min()
    assert high > poses.max()
    assert high - low >= 1.04 * (poses.max() - poses.min()) - 1e-6
    assert read_json(run / "result.json")["parity"]["model_int8.tflite"]["sparse_kernels"]["engage"] is False


def test_the_int8_output_holds_labels_and_outputs_with_some_room():
    assert export._output_range((-80.0, 70.0), np.array([[-10.0, 5.0, 20.0]])) == pytest.approx((-83.0, 73.0))
    assert export._output_range((-10.0, 10.0), np.array([[-90.0, 5.0, 30.0]])) == pytest.approx((-92.4, 32.4))
    assert export._output_range((0.0, 0.0), np.zeros((2, 3))) is None


@pytest.mark.parametrize("outputs", [7, 10])
def test_the_int8_output_holds_places_that_no_calibrating_face_shows(outputs):
    far = np.zeros((1, outputs))
    far[0, 3:6] = PLACE_UNIT * np.array([0.25, -0.25, -0.25])
    low, high = export._output_range((-20.0, 20.0), np.zeros((2, outputs)))
    np.testing.assert_array_equal(read_outputs(far.clip(low, high)).place, read_outputs(far).place)
    assert export._output_range((-99.0, 99.0), np.zeros((2, outputs))) == pytest.approx((-102.96, 102.96))


def test_a_released_model_takes_no_ranges_of_a_folder_of_its_name(tmp_path, monkeypatch):
    write_json(tmp_path / "b0-nano" / RANGES, {"round_images": [-1.0, 1.0]})
    monkeypatch.chdir(tmp_path)
    assert known_ranges(Path("b0-nano"), np.zeros((2, 64, 64, 3), np.uint8)) is None


def test_sizes_are_recorded_after_the_checks_and_only_of_what_passed(run, seen):
    merge_result(run, "files", {"model_int8.tflite": {"size_bytes": 7}})
    (run / "model_int8.tflite").write_bytes(b"the one before")
    seen["deviation"] = {"int8": 1.7}
    with pytest.raises(ParityError, match=r"Kept: onnx, fp32\..*--tolerance-deg 1\.8 accepts") as caught:
        run_export(run, report=lambda line: None)
    assert caught.value.failed == ["int8"]
    assert seen["recorded"]["files"] == {"model_int8.tflite": {"size_bytes": 7}}
    result = read_json(run / "result.json")
    assert result["files"]["model_int8.tflite"] == {"size_bytes": 7}  # what was there is what still is
    assert (run / "model_int8.tflite").read_bytes() == b"the one before"
    assert result["files"]["model_fp32.tflite"]["size_bytes"] == (run / "model_fp32.tflite").stat().st_size
    assert result["parity"].keys() == {"model.onnx", "model_fp32.tflite"}
    assert not [path for path in run.iterdir() if path.name.startswith(".")]

    lines = []
    files = run_export(run, tolerance_deg=1.8, report=lines.append)
    assert files["int8"].read_bytes() == RELU6.read_bytes()
    assert read_json(run / "result.json")["files"]["model_int8.tflite"]["size_bytes"] == RELU6.stat().st_size
    assert read_metadata(files["int8"])["calibration"] == TINY_DATA
    assert any("int8 deviates from torch by 1.7 deg" in line for line in lines)


def test_what_was_measured_of_a_file_goes_with_it(run, seen):
    measured = {
        "evaluations": {f"{name} on faces": {"file": name} for name in ("model.safetensors", "model_int8.tflite")},
        "latency": {"model_int8.tflite": {"median_ms": 1.0}, "model_fp32.tflite": {"median_ms": 2.0}},
        "predictions": {"model_int8.tflite": {"data": "faces", "poses_deg": []}},
        "footprint": {"nano33ble": {"c": {}}},
    }
    run_export(run, report=lambda line: None)
    for section, entries in measured.items():
        merge_result(run, section, entries)
    run_export(run, report=lambda line: None)  # the same bytes: nothing is lost
    assert {section: read_json(run / "result.json")[section] for section in measured} == measured

    merge_result(run, "files", {"model_int8.tflite": {"size_bytes": 7, "sha256": "another file"}})
    run_export(run, report=lambda line: None)
    assert {section: read_json(run / "result.json")[section] for section in measured} == {
        "evaluations": {"model.safetensors on faces": {"file": "model.safetensors"}},
        "latency": {"model_fp32.tflite": {"median_ms": 2.0}},
        "predictions": {},
        "footprint": {},
    }


def test_a_defect_of_an_exact_format_is_not_explained_away_by_a_tolerance(run, seen):
    seen["deviation"] = {"fp32": float("nan")}
    with pytest.raises(ParityError, match="report it") as caught:
        run_export(run, report=lambda line: None)
    assert "--tolerance-deg" not in str(caught.value)


def test_several_runs_are_converted_together_and_a_refused_one_costs_only_itself(run, seen, tmp_path, monkeypatch):
    second = tmp_path / "second"
    shutil.copytree(run, second)
    whole = parity.check_parity

    def refuse_first(files, samples, expected, tolerance, evidence_dir):
        seen["deviation"] = {"int8": 5.0} if evidence_dir == run else {}
        return whole(files, samples, expected, tolerance, evidence_dir)

    monkeypatch.setattr(parity, "check_parity", refuse_first)
    with pytest.raises(ParityError, match="run: Exported files differ"):
        export_all([ExportJob(run), ExportJob(second)], report=lambda line: None)
    ((first, other),) = seen["conversions"]
    assert (first.log_dir, other.log_dir) == (run, second)
    assert not (run / "model_int8.tflite").exists()
    assert (second / "model_int8.tflite").exists()


def test_formats_are_checked_first(run):
    with pytest.raises(ConfigError, match="int7"):
        run_export(run, formats=["int7"])


def test_poses_that_files_are_compared_with_are_those_of_the_network(run, seen):
    from hpe.deploy.samples import export_samples
    from hpe.model.net import load_model, predict_all

    kept = {}
    traced = export._trace

    def keep(*arguments):
        kept["traced"] = traced(*arguments)
        return kept["traced"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_trace", keep)
        run_export(run, report=lambda line: None)
    expected = predict_all(load_model(run), export_samples(TINY_DATA).parity)
    np.testing.assert_allclose(kept["traced"].expected, expected, atol=1e-3)
    assert dataclasses.is_dataclass(kept["traced"])
