"""Any torch model with one image in and one vector out -> ONNX -> TensorFlow Lite -> run, measure, compare.

Importing it costs numpy only; torch, onnx, onnxruntime, TensorFlow and LiteRT load inside the functions that need them.
"""

from export.arena import plan_arena
from export.boards import BOARDS
from export.errors import ExportError
from export.flatbuffer import ModelFileError, read_model
from export.micro import micro_arena, run_micro
from export.onnx import export_onnx
from export.parity import (
    Deviation,
    LayerDeviation,
    ParityError,
    check_int8_graph,
    check_parity,
    first_stray,
    layer_deviations,
    measure_deviation,
    operators,
)
from export.runtime import Runtime, load_runtime, measure_latency
from export.sketch import write_arduino
from export.tflite import FORMATS, convert, file_sizes, read_metadata, write_metadata

__all__ = [
    "BOARDS",
    "FORMATS",
    "Deviation",
    "ExportError",
    "LayerDeviation",
    "ModelFileError",
    "ParityError",
    "Runtime",
    "check_int8_graph",
    "check_parity",
    "convert",
    "export_onnx",
    "file_sizes",
    "first_stray",
    "layer_deviations",
    "load_runtime",
    "measure_deviation",
    "measure_latency",
    "micro_arena",
    "operators",
    "plan_arena",
    "read_metadata",
    "read_model",
    "run_micro",
    "write_arduino",
    "write_metadata",
]
