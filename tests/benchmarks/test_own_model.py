"""The example for the user's own network, from end to end, small."""

import ast
import shutil
from pathlib import Path

import numpy as np

import export
import pruning
from benchmarks.examples import own_model
from export import compile_model
from export.compiler.emulator import missing_tools
from export.compiler.emulator.model import run_model
from tests.export.compiler.host import build, random_inputs, reference


def test_own_network_from_training_to_the_board(tmp_path):
    net = own_model.network(0.25, stages=[[1, 16, 1, 1], [6, 32, 2, 2], [6, 64, 1, 2]])
    dense, masks, channels = own_model.main(tmp_path, net, side=16, epochs=2, board="nano33ble", count=128)
    assert [row["network"] for row in (dense, masks, channels)] == ["dense", "masks", "channels"]
    assert masks["sparsity"] > 0.4
    assert channels["macs"] < 0.8 * dense["macs"] == 0.8 * masks["macs"]
    assert channels["bytes"] < 0.65 * dense["bytes"]
    for row in (dense, masks, channels):
        assert row["bytes"] <= row["predicted_bytes"]
        assert abs(row["int8_error"] - row["error"]) < 0.1
        assert row["fits"]
        assert row["engine"] == "c"
        check_compiled(tmp_path, row["network"])


def check_compiled(folder: Path, name: str) -> None:
    """The C that was written gives the bytes of LiteRT's reference kernels: on this computer, and on a Cortex-M4."""
    (model,) = folder.glob(f"{name}*int8.tflite")
    again = compile_model(model, folder / "again", name)
    assert [file.read_bytes() for file in again.files] == [
        (folder / "firmware" / file.name).read_bytes() for file in again.files
    ]
    inputs = random_inputs(again, model.read_bytes(), 16)
    expected = reference(model.read_bytes())(inputs)
    if shutil.which("gcc"):
        np.testing.assert_array_equal(build(again, folder)(inputs), expected)
    if not missing_tools():
        run = run_model(again, [image.tobytes() for image in inputs[:4]])
        np.testing.assert_array_equal(run.outputs, expected[:4].view(np.uint8))


def test_it_uses_public_names_alone():
    tree = ast.parse(Path(own_model.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = {node.module: [alias.name for alias in node.names] for node in imports}
    assert not {name for name in ours if name.startswith(("hpe", "pruning.", "export."))}
    assert set(ours["pruning"]) <= set(pruning.__all__)
    assert set(ours["export"]) <= set(export.__all__)
