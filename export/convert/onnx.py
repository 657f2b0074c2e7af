"""A torch model -> one ONNX file that is known to compute the same."""

from __future__ import annotations

import copy
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ExportError
from export.files import whole_file

if TYPE_CHECKING:
    import torch

OPSET = 18
MODULE = "namespace"
"""The exporter's note of the module that an operator came from."""
TOLERANCE = 1e-3  # of the largest output (at least 1): float32 sums in another order, 4e-5 on an EfficientNet-B0


def export_onnx(model: torch.nn.Module, example_input: torch.Tensor, path: str | Path) -> Path:
    """Write `model` as ONNX (opset 18, weights inside, fixed batch of 1) and check it against torch in onnxruntime.

    The model is copied, moved to the CPU and put into eval mode; the caller's is left as it is. The dynamo exporter
    folds batch norms and keeps TensorFlow's SAME padding inside the convolutions.

    Args:
        model: one tensor in, one tensor out.
        example_input: float32 (1, C, H, W), or any batch, of which the first is taken; also the input of the check.
        path: the file to write; its folder is created. It is written whole or not at all.

    Raises:
        ExportError: the model cannot be traced, or the file does not reproduce torch's outputs.
    """
    import torch

    path = Path(path)
    # Channels-last weights would come out as a GATHER after the global pool.
    net = copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()
    example = example_input[:1].detach().cpu().float().contiguous()  # (1, C, H, W)
    with torch.no_grad():
        expected = net(example)
    if not isinstance(expected, torch.Tensor):
        raise ExportError(f"The model returns {type(expected).__name__}, not one tensor; wrap it before the export.")

    with whole_file(path) as temporary:
        _trace(net, example, str(temporary))
        _strip(str(temporary))
        _check(str(temporary), example.numpy(), expected.numpy())
    return path


def _trace(net: torch.nn.Module, example: torch.Tensor, path: str) -> None:
    """Run torch's exporter quietly: it prints progress, and its libraries warn about each other's versions."""
    import torch

    printed = StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(printed):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net,
                (example,),
                path,
                input_names=["input"],
                output_names=["output"],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        first_line = str(error).strip().splitlines()[:1]
        reason = first_line[0] if first_line else type(error).__name__
        raise ExportError(f"torch cannot export {type(net).__name__} to ONNX: {reason}") from error


def _strip(path: str) -> None:
    """Take out what the exporter notes of the source: stack traces with this machine's paths, beside each operator.

    The module that an operator came from stays, by which viewers group them.
    """
    import onnx

    model = onnx.load(path)
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        kept = [entry for entry in part.metadata_props if entry.key == MODULE]
        del part.metadata_props[:]
        part.metadata_props.extend(kept)
    onnx.save(model, path)


def _check(path: str, example, expected) -> None:
    """Compare onnxruntime's output with torch's on the example input."""
    import numpy as np

    from export.run.runtime import load_runtime

    runtime = load_runtime(path)
    actual = runtime.run_one(example.transpose(0, 2, 3, 1))
    worst = float(np.abs(actual - expected.reshape(1, -1)).max())
    limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not worst <= limit:  # a NaN fails too
        raise ExportError(f"The ONNX file differs from torch by {worst:.3g} (limit {limit:.3g}); it was not kept.")
