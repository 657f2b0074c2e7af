"""From an int8 .tflite file to plain C99 that needs no library: see kernels/README.md for what the C is made of."""

from export.compiler.compile import PASSES, Compiled, c_name, compile_model
from export.compiler.graph import CompileError
from export.compiler.limits import Limits

__all__ = ["PASSES", "CompileError", "Compiled", "Limits", "c_name", "compile_model"]
