"""Who may import whom, and what a light command must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {"hpe": {"hpe", "pruning", "export"}, "pruning": {"pruning"}, "export": {"export"}}
LEAVES = {
    "hpe/training/config.py": {"hpe.model.preprocess"},
    "hpe/pose/rotation.py": set(),
    "hpe/model/preprocess.py": {"hpe.pose.rotation"},
}
HEAVY = {"torch", "tensorflow", "timm", "scipy", "matplotlib", "onnx", "onnxruntime", "torch_pruning", "safetensors"}


def imports(path: Path) -> set[str]:
    """Modules that a file names in import statements, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_data_flows_one_way(package):
    for path in (ROOT / package).rglob("*.py"):
        ours = {name for name in imports(path) if name.split(".")[0] in ALLOWED}
        wrong = {name for name in ours if name.split(".")[0] not in ALLOWED[package]}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize(("file", "allowed"), LEAVES.items())
def test_leaves_import_nothing_of_ours(file, allowed):
    assert {name for name in imports(ROOT / file) if name.split(".")[0] in ALLOWED} <= allowed


def test_training_knows_no_pruner():
    for file in ("hpe/training/loop.py", "hpe/training/state.py"):
        assert not {name for name in imports(ROOT / file) if name.startswith("pruning")} - {"pruning.channels.pruner"}


@pytest.mark.parametrize(
    "module", ["hpe", "hpe.cli", "hpe.inference.predictor", "hpe.study.report", "export.run.runtime"]
)
def test_light_modules_load_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not HEAVY & set(loaded)
