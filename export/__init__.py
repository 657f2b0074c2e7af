"""Any torch model with one image in and one vector out -> ONNX -> TensorFlow Lite -> run, measure, compare.

Importing it costs numpy only; torch, onnx, onnxruntime, TensorFlow and LiteRT load inside the functions that need them.
"""

from export.errors import ExportError
from export.onnx import export_onnx
from export.runtime import Runtime, load_runtime, measure_latency
from export.tflite import FORMATS, convert, file_sizes, read_metadata, write_metadata

__all__ = [
    "FORMATS",
    "ExportError",
    "Runtime",
    "convert",
    "export_onnx",
    "file_sizes",
    "load_runtime",
    "measure_latency",
    "read_metadata",
    "write_metadata",
]
