"""Synthetic heads: reproducible to the byte, whatever draws them; bad arguments say what to do."""

import ast
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hpe.io.errors import ConfigError
from hpe.synthetic import PRESETS, prepare, render
from hpe.synthetic.compiled import compiled
from hpe.synthetic.draws import Draws

# Reproducible to the byte


def test_an_image_depends_on_seed_index_and_preset_alone():
    images, pose_deg = render(range(12), 7, "full", margin=8)
    for chunk in ([11, 0, 4], [4], range(3, 9)):
        again, again_deg = render(chunk, 7, "full", margin=8)
        np.testing.assert_array_equal(again, images[list(chunk)])
        np.testing.assert_array_equal(again_deg, pose_deg[list(chunk)])


def test_threads_do_not_change_a_byte():
    images, _ = render(range(8), 1, "full")
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: render([i], 1, "full")[0], range(8)))
    np.testing.assert_array_equal(np.concatenate(parts), images)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_blas_threads_do_not_change_a_byte(threads):
    code = "from hpe.synthetic import render; import sys; sys.stdout.buffer.write(render(range(4), 2, 'full')[0])"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout
    assert hashlib.sha256(output).digest() == hashlib.sha256(render(range(4), 2, "full")[0].tobytes()).digest()


def test_seeds_presets_and_indices_differ():
    pictures = [render([i], seed, preset)[0].tobytes() for i in (0, 1) for seed in (0, 1) for preset in PRESETS]
    assert len(set(pictures)) == len(pictures)


def test_clean_shows_the_heads_of_full():
    clean, full = (render(range(40), 0, preset) for preset in ("clean", "full"))
    np.testing.assert_array_equal(clean[1], full[1])
    assert np.abs(clean[0].astype(int) - full[0]).mean() > 3


def test_draws_are_clipped_counted_and_independent_of_each_other():
    first, other = Draws(5, 1, 2), Draws(5, 2, 2)
    assert first.uniform() != other.uniform()
    assert max(abs(first.normal()) for _ in range(100)) <= 2.3
    with pytest.raises(RuntimeError, match="enlarge the block"):
        sum(first.uniform() for _ in range(10_000))


def test_it_imports_nothing_heavy():
    code = (
        "import sys, hpe.synthetic; print([m for m in ('torch', 'scipy', 'tensorflow', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Compiled loops


def compiled_functions() -> list:
    modules = [module for name, module in sys.modules.items() if name.startswith("hpe.synthetic.")]
    functions = [value for module in modules for value in vars(module).values() if hasattr(value, "py_func")]
    return list(dict.fromkeys(functions))


def test_preparing_compiles_all_that_heads_need():
    prepare()
    before = {function: len(function.signatures) for function in compiled_functions()}
    for preset in PRESETS:
        render(range(100, 250), 3, preset, margin=8)
    assert len(before) > 20
    assert {function: len(function.signatures) for function in compiled_functions()} == before


def test_compiled_code_uses_nothing_of_another_file():
    """Numba's cache would not notice a change there."""
    folder = Path(compiled.__code__.co_filename).parent
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text())
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        foreign = {alias.name for node in imports if (node.module or "").startswith("hpe.") for alias in node.names}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef) and "compiled" in map(ast.unparse, function.decorator_list):
                used = {node.id for line in function.body for node in ast.walk(line) if isinstance(node, ast.Name)}
                assert not used & foreign, f"{path.name}: {function.name}"


def test_without_a_cache_folder_the_loops_still_compile(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    assert compiled(lambda x: x + 1)(2) == 3


def test_without_numba_presets_are_known_and_the_command_line_names_the_extra():
    code = (
        "import sys; sys.modules['numba'] = None; from hpe.synthetic import PRESETS\n"
        "from hpe.cli.main import main; main(['data', 'prepare', 'synthetic:easy:1:987654'])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2
    assert "numba" in ended.stderr
    assert "train" in ended.stderr
    assert "Traceback" not in ended.stderr


# Arguments and shapes


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_types(preset):
    images, pose_deg = render([3, 1], 0, preset, size=48, margin=4)
    assert images.shape == (2, 56, 56, 3)
    assert images.dtype == np.uint8
    assert pose_deg.shape == (2, 3)
    assert pose_deg.dtype == np.float32


def test_no_indices_give_empty_arrays():
    images, pose_deg = render([], 0, "easy")
    assert images.shape == (0, 64, 64, 3)
    assert pose_deg.shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0], 0, "hard"), "use one of easy, full, clean"),
        (([0], -1, "easy"), "must not be negative"),
        (([-3], 0, "easy"), "must not be negative"),
        (([0], 0, "easy", 8), "size must be"),
        (([0], 0, "easy", 64, -1), "margin"),
    ],
)
def test_bad_arguments_say_what_to_do(arguments, message):
    with pytest.raises(ConfigError, match=message):
        render(*arguments)
