"""Any torch model with one image in and one vector out -> ONNX -> TensorFlow Lite -> run, measure, compare.

Importing it costs numpy only; torch, onnx, onnxruntime, TensorFlow and LiteRT load inside the functions that need them.
"""

from export.compiler import Compiled, CompileError, compile_model
from export.convert.onnx import export_onnx
from export.convert.tflite import (
    FORMATS,
    Conversion,
    ConversionError,
    conversion_answer,
    convert,
    convert_all,
    file_sizes,
    read_metadata,
    write_metadata,
)
from export.errors import ExportError, ModelFileError
from export.micro.arena import plan_arena
from export.micro.boards import BOARDS
from export.micro.engines import engine_costs
from export.micro.flatbuffer import read_model
from export.micro.footprint import Footprint, footprint
from export.micro.sketch import write_arduino, write_model_sketch
from export.micro.tflm import micro_arena, run_micro
from export.run.latency import measure_latency
from export.run.parity import (
    Deviation,
    LayerDeviation,
    ParityError,
    check_int8_graph,
    check_parity,
    first_deviating,
    layer_deviations,
    measure_deviation,
    operators,
)
from export.run.runtime import Runtime, load_runtime
from export.run.xnnpack import SparseSpeed, sparse_speed

__all__ = [
    "BOARDS",
    "FORMATS",
    "CompileError",
    "Compiled",
    "Conversion",
    "ConversionError",
    "Deviation",
    "ExportError",
    "Footprint",
    "LayerDeviation",
    "ModelFileError",
    "ParityError",
    "Runtime",
    "SparseSpeed",
    "check_int8_graph",
    "check_parity",
    "compile_model",
    "conversion_answer",
    "convert",
    "convert_all",
    "engine_costs",
    "export_onnx",
    "file_sizes",
    "first_deviating",
    "footprint",
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
    "sparse_speed",
    "write_arduino",
    "write_metadata",
    "write_model_sketch",
]
