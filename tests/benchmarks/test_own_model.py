"""The example for the user's own network, from end to end, small."""

import ast
from pathlib import Path

import export
import pruning
from benchmarks.examples import own_model


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


def test_it_uses_public_names_alone():
    tree = ast.parse(Path(own_model.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = {node.module: [alias.name for alias in node.names] for node in imports}
    assert not {name for name in ours if name.startswith(("hpe", "pruning.", "export."))}
    assert set(ours["pruning"]) <= set(pruning.__all__)
    assert set(ours["export"]) <= set(export.__all__)
