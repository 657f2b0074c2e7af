"""Any torch model with one image in and one vector out -> ONNX -> TensorFlow Lite -> run, measure, compare.

Importing it costs numpy only; torch, onnx, onnxruntime, TensorFlow and LiteRT load inside the functions that need them.
"""

from export.errors import ExportError
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
from export.tflite import FORMATS, convert, file_sizes, read_metadata, write_metadata

__all__ = [
    "FORMATS",
    "Deviation",
    "ExportError",
    "LayerDeviation",
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
    "operators",
    "read_metadata",
    "write_metadata",
]
