"""The generated files of a sketch that runs its model in TensorFlow Lite Micro: the model's bytes and its operators."""

from __future__ import annotations

import numpy as np

from export.errors import ExportError
from export.micro.boards import OPS, Board
from export.micro.flatbuffer import Model
from export.micro.interpreter import interpreter_footprint
from export.micro.logistic import logistic_table
from export.micro.sketch_text import generated, rows

_OUTPUT_BYTES = 4
"""Of the sketch's own RAM for each output: a float."""


def tflm_files(model: Model, content: bytes, board: Board) -> dict[str, str]:
    """model_data.{h,cpp} (the model, in flash) and op_resolver.h (the operators that it uses, no others).

    Raises ExportError for a model that does not fit the board or that the library cannot run.
    """
    verdict = interpreter_footprint(model.path, board)
    if not verdict.fits:
        raise ExportError(f"{model.path} {verdict.verdict}. {' '.join(verdict.advice)}")
    spare = verdict.ram_limit_bytes - verdict.ram_bytes
    outputs = _OUTPUT_BYTES * model.output.elements
    if outputs > spare:
        raise ExportError(
            f"{model.path} does not fit the {board.title}: RAM is {outputs - spare:,} bytes short, since the sketch "
            f"takes {outputs:,} for the outputs as real numbers. Take a model of fewer outputs."
        )
    return {
        "model_data.h": _model_data_h(model),
        "model_data.cpp": _model_data_cpp(model, content),
        "op_resolver.h": _op_resolver(model),
    }


def _model_data_h(model: Model) -> str:
    return f"""{generated(model)}
#ifndef SKETCH_MODEL_DATA_H_
#define SKETCH_MODEL_DATA_H_

extern const unsigned char g_model[];
extern const unsigned int g_model_bytes;

#endif  // SKETCH_MODEL_DATA_H_
"""


def _model_data_cpp(model: Model, content: bytes) -> str:
    values = ",\n".join(",".join(map(str, content[i : i + 40])) for i in range(0, len(content), 40))
    return f"""{generated(model)}
#include "model_data.h"

alignas(16) const unsigned char g_model[] = {{
{values}
}};
const unsigned int g_model_bytes = {len(content)};
"""


def _op_resolver(model: Model) -> str:
    names = sorted({op.name for op in model.ops})
    registrations = "\n".join(
        f"  if (resolver.{OPS[name].method}() != kTfLiteOk) return kTfLiteError;" for name in names
    )
    inputs = [model.tensors[op.inputs[0]] for op in model.ops if op.name == "LOGISTIC"]
    include = '\n#include "src/logistic_table.h"' if inputs else ""
    resolver = f"using OpResolver = tflite::MicroMutableOpResolver<{len(names)}>;"
    ready = "true"
    if inputs:
        tables = np.stack([logistic_table(t.scale, t.zero_point) for t in inputs])
        resolver = f"""// The model's LOGISTIC operators, in their order: the output for each input from -128 to 127.
constexpr int8_t kLogisticTables[{len(inputs)}][256] = {{
{rows(tables)}}};

struct OpResolver : TableLogisticResolver<{len(names)}> {{
  OpResolver() : TableLogisticResolver<{len(names)}>(kLogisticTables, {len(inputs)}) {{}}
}};"""
        ready = "OpResolver::AllTaken()"
    return f"""{generated(model)}
#ifndef SKETCH_OP_RESOLVER_H_
#define SKETCH_OP_RESOLVER_H_
{include}
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace sketch {{

{resolver}

inline TfLiteStatus RegisterOps(OpResolver& resolver) {{
{registrations}
  return kTfLiteOk;
}}

// After AllocateTensors(): whether the operators are those of this model.
inline bool OpsAreReady() {{ return {ready}; }}

}}  // namespace sketch

#endif  // SKETCH_OP_RESOLVER_H_
"""
