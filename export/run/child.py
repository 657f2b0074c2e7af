"""A .tflite file from elsewhere, computed in a child process: what would have crashed this one ends the child alone.

The child has a limit on memory, each answer one on time. It is this file as a program; the two talk over the child's
standard input and output: first the model and a line of JSON about it, then a letter for each step.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from export.errors import ExportError, ModelFileError
from export.process import end_with_parent
from export.run.engines import Runtime, TFLiteRuntime

ROOM_BYTES = 512 << 20
"""What a model may take beyond eight times its own size, which covers packed copies of its weights."""
LIMIT_S = 60.0
"""The longest that loading, or one inference, may take."""
SET, INVOKE, GET = b"s", b"i", b"g"
FACTS = ("input_shape", "output_size", "input_scale", "input_zero_point", "output_scale", "output_zero_point")


class ChildRuntime(Runtime):
    """A file that cannot be shown to be safe; `doubt` is the reason, for messages. The child ends with this object."""

    def __init__(self, path: Path, threads: int, kernels: Sequence[str], doubt: str) -> None:
        self.path, self._doubt = path, doubt
        content = path.read_bytes()
        root = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        limits = [str(len(content)), str(ROOM_BYTES + 8 * len(content)), str(os.getpid())]
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "export.run.child", str(path), str(threads), ",".join(kernels), *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search},
        )
        weakref.finalize(self, _end, self._child)
        self._send(content)
        facts = json.loads(self._receive(struct.unpack("<I", self._receive(4))[0]))
        if "error" in facts:
            raise ExportError(facts["error"])
        self.kernels, self.init_ms = facts["kernels"], facts["init_ms"]
        for name in FACTS:
            setattr(self, name, facts[name])
        self.input_shape = tuple(facts["input_shape"])
        self._type = np.dtype(np.int8 if self.is_int8 else np.float32)

    def set_input(self, image: np.ndarray) -> None:
        self._send(SET + np.ascontiguousarray(image, self._type).tobytes())

    def invoke(self) -> None:
        self.timed_invoke()

    def timed_invoke(self) -> float:
        self._send(INVOKE)
        return struct.unpack("<d", self._receive(8))[0]

    def get_output(self) -> np.ndarray:
        self._send(GET)
        content = self._receive(self.output_size * self._type.itemsize)
        return np.frombuffer(content, self._type).reshape(1, -1)  # (1, K)

    def _send(self, content: bytes) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(content)
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._crashed() from None

    def _receive(self, size: int) -> bytes:
        assert self._child.stdout is not None
        content, end = b"", time.monotonic() + LIMIT_S
        while len(content) < size:
            if not select.select([self._child.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                _end(self._child)
                raise ModelFileError(f"{self.path} did not compute within {LIMIT_S:g} s; {self._doubt}.")
            part = os.read(self._child.stdout.fileno(), size - len(content))
            if not part:
                raise self._crashed()
            content += part
        return content

    def _crashed(self) -> ModelFileError:
        _end(self._child)
        return ModelFileError(
            f"{self.path} is a damaged .tflite file: computing it crashed or took too much memory; {self._doubt}. "
            "Export it again."
        )


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for stream in (child.stdin, child.stdout):
        try:
            if stream is not None:
                stream.close()
        except BrokenPipeError:  # what was never sent
            pass
    child.wait()


def _main(path: str, threads: int, kernels: Sequence[str], size: int, room_bytes: int) -> None:
    source, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    content = source.read(size)
    import ai_edge_litert.interpreter  # noqa: F401  before memory is limited

    _limit_memory(room_bytes)
    try:
        runtime = TFLiteRuntime(Path(path), threads, kernels, content)
    except ExportError as error:
        return _answer(answers, {"error": str(error)})
    facts = {name: np.asarray(getattr(runtime, name)).tolist() for name in (*FACTS, "init_ms", "kernels")}
    _answer(answers, facts)
    kind = np.dtype(np.int8 if runtime.is_int8 else np.float32)
    shape = (1, *runtime.input_shape)
    while step := source.read(1):  # until the parent is gone
        if step == SET:
            image = source.read(int(np.prod(shape)) * kind.itemsize)
            runtime.set_input(np.frombuffer(image, kind).reshape(shape))
            continue
        answers.write(struct.pack("<d", runtime.timed_invoke()) if step == INVOKE else runtime.get_output().tobytes())
        answers.flush()


def _answer(stream: IO[bytes], facts: dict[str, Any]) -> None:
    text = json.dumps(facts).encode()
    stream.write(struct.pack("<I", len(text)) + text)
    stream.flush()


def _limit_memory(room_bytes: int) -> None:
    """From here on, this process may take `room_bytes` more memory, where the system can limit it; no core dumps."""
    import resource

    pages = Path("/proc/self/statm")
    if pages.exists():
        limit = max(0, int(pages.read_text().split()[0]) * resource.getpagesize() + room_bytes)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    end_with_parent(int(sys.argv[6]))
    _main(sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4]), int(sys.argv[5]))
