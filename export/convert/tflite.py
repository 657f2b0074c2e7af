"""An ONNX file -> TensorFlow Lite files in every form, through a child process (export/convert/worker.py)."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.convert.rewrite import dense_as_convolutions, strip_names
from export.errors import ExportError
from export.files import work_folder, write_all, write_json
from export.process import command

FORMATS = ("fp32", "fp16", "sparse", "dynamic", "dynamic_sparse", "int8", "int8_sparse")
INT8_FORMATS = ("int8", "int8_sparse")
RANGE_QUANTILE = 0.95
"""The share of the calibration samples that an int8 activation holds without saturating; 1 is plain min-max."""
WORKER = Path(__file__).with_name("worker.py")


def convert(
    onnx_path: str | Path,
    out_dir: str | Path,
    formats: Sequence[str] = ("fp32", "int8"),
    calibration: np.ndarray | None = None,
    timeout_s: float = 600.0,
    range_quantile: float = RANGE_QUANTILE,
) -> dict[str, Path]:
    """Convert ONNX (one float (1, C, H, W) input) to TensorFlow Lite (1, H, W, C) files out_dir/STEM_FORMAT.tflite.

    Formats: fp32; fp16 (weights); sparse (fp32, tensors with many zeros stored compressed); dynamic (int8 weights,
    float activations: dynamic range); dynamic_sparse; int8 (everything, input and output too); int8_sparse.
    The sparse int8 ones run without XNNPACK only. In int8, dense layers are 1 x 1 convolutions: dense_as_convolutions
    says why. Tensor names are stripped from the files. The converter's log is
    kept as out_dir/STEM_convert.log, with times and peak memory; every file is written whole or not at all.

    Args:
        onnx_path: as export_onnx writes it.
        out_dir: created where absent.
        formats: some of FORMATS.
        calibration: float32 (N, H, W, C), normalised as in training; needed for int8. 100 or more samples.
        timeout_s: the child process is killed after this long.
        range_quantile: int8 ranges reach to this quantile, over the samples, of each sample's lowest and highest
            value; those of input and output to all. 1.0 is min-max, which a few odd samples can spoil.

    Returns:
        format -> file.

    Raises:
        ValueError: an unknown format, no calibration for int8, or a quantile outside 0.5 to 1.
        ExportError: the conversion failed or took too long; the message names the log.
    """
    onnx_path, out_dir = Path(onnx_path), Path(out_dir)
    _check_request(onnx_path, formats, calibration)
    if not 0.5 <= range_quantile <= 1:
        raise ValueError(f"range_quantile is {range_quantile}; it must lie between 0.5 and 1.")
    out_dir.mkdir(parents=True, exist_ok=True)
    log = out_dir / f"{onnx_path.stem}_convert.log"
    with work_folder(out_dir, "convert") as folder:
        work = folder.resolve()
        shutil.copyfile(onnx_path, work / "model.onnx")  # onnx2tf writes into its input
        if calibration is not None:
            np.save(work / "calibration.npy", np.asarray(calibration, np.float32))
        request = {
            "onnx": str(work / "model.onnx"),
            "out_dir": str(work),
            "formats": list(formats),
            "calibration": str(work / "calibration.npy") if calibration is not None else None,
            "range_quantile": range_quantile,
        }
        _run_worker(request, work, log, timeout_s)
        contents = {fmt: (work / f"{fmt}.tflite").read_bytes() for fmt in formats}
    if "int8" in contents:
        contents["int8"] = dense_as_convolutions(contents["int8"])
    files = {fmt: out_dir / f"{onnx_path.stem}_{fmt}.tflite" for fmt in formats}
    write_all({files[fmt]: strip_names(content) for fmt, content in contents.items()})
    return files


def _check_request(onnx_path: Path, formats: Sequence[str], calibration: np.ndarray | None) -> None:
    """Refuse what would fail later, after the wait."""
    from export.run.runtime import load_runtime

    unknown = [fmt for fmt in formats if fmt not in FORMATS]
    if unknown or not formats:
        raise ValueError(f"Unknown formats {unknown}; choose from {', '.join(FORMATS)}.")
    shape = load_runtime(onnx_path).input_shape  # raises on what is no ONNX file with one input and one output
    if calibration is not None and (calibration.ndim != 4 or calibration.shape[1:] != shape or not len(calibration)):
        raise ValueError(
            f"calibration has shape {calibration.shape}; {onnx_path} needs (N, {shape[0]}, {shape[1]}, {shape[2]})."
        )
    if calibration is not None and not np.isfinite(calibration).all():
        raise ValueError("calibration holds values that are not finite; leave those samples out.")
    if calibration is None and any(fmt in INT8_FORMATS for fmt in formats):
        raise ValueError("int8 needs calibration samples (100 or more images, normalised as in training).")


def _run_worker(request: dict[str, Any], work: Path, log: Path, timeout_s: float) -> None:
    """Run the child to its end, with its output in `log`; raise ExportError unless it succeeded."""
    (work / "request.json").write_text(json.dumps(request))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    with log.open("w") as stream:
        try:
            child = subprocess.run(
                command(WORKER, work / "request.json"),
                cwd=work,
                env=environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"The conversion took longer than {timeout_s:g} s and was stopped; see {log}.") from error
        answer_file = work / "answer.json"
        answer = json.loads(answer_file.read_text()) if answer_file.is_file() else {}
        stream.write(json.dumps(answer) + "\n")
    if child.returncode != 0 or "error" in answer:
        reason = " ".join(answer.get("error", f"the child process ended with code {child.returncode}").split())
        raise ExportError(f"The conversion failed: {reason[:300]}; see {log}.")


def file_sizes(path: str | Path) -> dict[str, int]:
    """{"size_bytes", "gzip_bytes"}: as it is, and at gzip level 9 (zlib's, within 2 % of the program's)."""
    content = Path(path).read_bytes()
    return {"size_bytes": len(content), "gzip_bytes": len(gzip.compress(content, 9, mtime=0))}


def write_metadata(model_path: str | Path, metadata: dict[str, Any]) -> Path:
    """Write what a user of the file must know (input size, normalisation, units, ...) beside it, as model_path.json."""
    return write_json(_metadata_path(model_path), metadata)


def read_metadata(model_path: str | Path) -> dict[str, Any]:
    """What write_metadata wrote; empty where there is no such file.

    Raises:
        ExportError: the file is not a JSON object.
    """
    path = _metadata_path(model_path)
    if not path.is_file():
        return {}
    try:
        metadata = json.loads(path.read_text())
    except ValueError as error:
        raise ExportError(f"{path} is not JSON ({error}); export the model again.") from error
    if not isinstance(metadata, dict):
        raise ExportError(f"{path} holds no JSON object; export the model again.")
    return metadata


def _metadata_path(model_path: str | Path) -> Path:
    return Path(model_path).with_suffix(".json")
