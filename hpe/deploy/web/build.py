"""`hpe web`: one HTML file for a browser, with the page of hpe.inference.live, the sketch and the model in it."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hpe.deploy.sketch import pose_net_settings
from hpe.inference.annotation import YELLOW
from hpe.inference.live.server import FOLDER as PAGE
from hpe.io.errors import ConfigError
from hpe.io.files import write_whole
from hpe.io.script_json import script_json
from hpe.model.zoo import resolve_file
from hpe.pose.overlay import BLUE, GREEN, RED

FOLDER = Path(__file__).parent
COMPILE = ("clang", "--target=wasm32", "-O3", "-mbulk-memory", "-nostdlib", "-nostdlibinc",
           "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics")  # fmt: skip
EXPORTS = ("web_longest_side", "web_pixels", "web_answer", "web_begin", "web_follow")
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:; media-src blob:"
)
"""Of the page: it may load nothing and send nothing."""


def write_web_page(model: str | Path, out: Path) -> Path:
    """Write a page in which an int8 model that locates the face follows it before the reader's camera.

    Args:
        model: a run folder, a file, or the name of a released one.
        out: the HTML file; it is written whole or not at all.

    Raises:
        ConfigError: the model does not say where the face is, clang or its linker for WebAssembly is absent, or `out`
            is no name of an HTML file.
        CompileError: the compiler does not take the model.
    """
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out {out}: a page's name ends in .html")
    settings, file = pose_net_settings(model), resolve_file(model)
    if settings is None or "place" not in settings:
        raise ConfigError(
            f"{model} does not say where the face is, which a page must find by itself: take b0-pi or b0-nano-locate, "
            "or train such a model with `hpe finetune RUN --locate`"
        )
    told = {
        "name": file.stem if Path(model).exists() else str(model),
        "note": f"{settings['note']}." if "note" in settings else "",
        "colours": {"box": _css(YELLOW), "axes": [_css(colour) for colour in (RED, GREEN, BLUE)]},
        "wasm": base64.b64encode(build_wasm(file, settings)).decode(),
    }
    page = page_text(told)
    return write_whole(out, lambda path: path.write_text(page, encoding="utf-8"))


def build_wasm(model: Path, settings: dict[str, Any]) -> bytes:
    """The sketch of a board (arduino/head_pose/src and web.cpp) with the model in it, as WebAssembly."""
    from export.compiler import compile_model
    from export.micro.flatbuffer import read_model
    from export.micro.sketch import sketches_folder
    from export.micro.sketch_settings import pose_settings
    from export.micro.tflm import check_int8

    for tool in (COMPILE[0], "wasm-ld"):
        if shutil.which(tool) is None:
            raise ConfigError(f"`hpe web` needs {tool}, which is not installed: `apt install clang lld` brings it")
    with TemporaryDirectory() as work:
        sketch = Path(work) / "sketch"
        shutil.copytree(sketches_folder() / "head_pose" / "src", sketch / "src")
        (sketch / "model_settings.h").write_text(pose_settings(check_int8(read_model(model)), None, settings))
        compile_model(model, sketch, "model")
        sources = [
            sketch / "model.c",
            *(sketch / "src" / f"{name}.cpp" for name in ("follow", "image", "pose")),
            FOLDER / "web.cpp",
        ]
        link = ["--no-entry", "--allow-undefined", "--strip-all", *(f"--export={name}" for name in EXPORTS)]
        command = [*COMPILE, "-isystem", str(FOLDER / "headers"), f"-I{sketch}", *map(str, sources),
                   *(f"-Wl,{option}" for option in link), "-o", str(sketch / "page.wasm")]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ConfigError(
                f"clang could not compile the page: {done.stderr.strip()[-800:]}. Give it a newer clang and lld"
            )
        return (sketch / "page.wasm").read_bytes()


def page_text(told: dict[str, Any]) -> str:
    """The page of hpe.inference.live with all that it loads in it, and the camera in place of the server's stream."""
    scripts = {
        "page.js": _read(PAGE / "page.js"),
        "stream.js": f"const MODEL = {script_json(told)};\n{_read(FOLDER / 'camera.js')}",
    }
    page = _read(PAGE / "page.html").replace(
        "<title>", f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<title>'
    )
    page = page.replace('<link rel="stylesheet" href="page.css">', f"<style>\n{_read(PAGE / 'page.css')}</style>")
    return re.sub(r'<script src="(\w+\.js)">', lambda hit: f"<script>\n{scripts[hit[1]]}", page)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _css(colour: tuple[int, int, int]) -> str:
    return "rgb({} {} {})".format(*colour)
