"""From an int8 .tflite file to plain C99 that needs no library: see kernels/README.md for what the C is made of."""

from export.compiler.arrange import PASSES, SMALL
from export.compiler.compile import Compiled, c_name, compile_model
from export.compiler.graph import CompileError
from export.compiler.limits import Limits
from export.compiler.profile import explorer_data, profile_model

__all__ = [
    "PASSES",
    "SMALL",
    "CompileError",
    "Compiled",
    "Limits",
    "c_name",
    "compile_model",
    "explorer_data",
    "profile_model",
]
