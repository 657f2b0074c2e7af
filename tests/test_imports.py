"""Who may import whom, and what a light command must not load."""

import ast
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {"hpe": {"hpe", "pruning", "export"}, "pruning": {"pruning"}, "export": {"export"}}
FLOW = ["pose", "io", "synthetic", "data", "model", "training", "deploy", "study", "cli"]
"""The folders of hpe in the order of the flow: a folder may import itself and what stands before it."""
NEEDED = {"pose", "io", "inference", "model.preprocess", "model.outputs", "model.zoo", "model.net"}
"""What hpe.inference may import of hpe; model.net (torch) for run folders alone, inside the function that opens one."""
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


def home(name: str) -> tuple[str, ...]:
    """The parts of a module's name after its root; () for the root itself."""
    return tuple(name.split(".")[1:])


@pytest.mark.parametrize("folder", FLOW)
def test_folders_of_hpe_import_what_stands_before_them(folder):
    allowed = {"inference"} if FLOW.index(folder) >= FLOW.index("deploy") else set()
    allowed |= set(FLOW[: FLOW.index(folder) + 1])
    for path in (ROOT / "hpe" / folder).rglob("*.py"):
        ours = {home(name)[:1] for name in imports(path) if name.split(".")[0] == "hpe"}
        wrong = {part[0] for part in ours if part} - allowed
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_inference_needs_little():
    for path in (ROOT / "hpe" / "inference").rglob("*.py"):
        for name in imports(path):
            if name.split(".")[0] == "hpe":
                parts = home(name)
                assert not parts or {parts[0], ".".join(parts[:2])} & NEEDED, f"{path.name} imports {name}"


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


def modules(root: str) -> dict[str, Path]:
    """Every module of a folder by its full name."""
    files = (ROOT / root).rglob("*.py")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported(path: Path, known: Container[str]) -> set[str]:
    """Those of the known modules that a file imports when it runs; `from folder import module` means the module."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in inside}
    return {name for name in names if name in known}


@pytest.mark.parametrize("package", ALLOWED)
def test_no_module_imports_itself_in_a_circle(package):
    """Imports inside functions count: they hide a circle, they do not open it."""
    known = modules(package)
    needs = {name: imported(path, known) - {name} for name, path in known.items()}
    while needs:
        free = {name for name, others in needs.items() if not others & needs.keys()}
        assert free, f"circles among {sorted(needs)}"
        needs = {name: others for name, others in needs.items() if name not in free}
