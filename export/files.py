"""Files and folders that appear whole or not at all, and what killed programs left of them. Used by `hpe`, too.

What is being written has a name of its own, `.NAME.PID@MACHINE.RANDOM.SUFFIX`, beside its place. A program that is
killed leaves it there; the next one that writes the same file removes it.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

MACHINE = re.sub(r"[^\w-]+", "-", platform.node())[:40]
LONGEST_STEM = 120
"""Characters of a name that its temporary name repeats; names have 255 at most."""
TEMPORARY = re.compile(r"\..+\.\d+@[\w-]+\.")
"""How every temporary name begins, whoever gave it."""
NO_FILE = "it is a folder, a pipe or a device, not a file"


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path to write to, which moves to `path` at the end; on any error `path` is as it was.

    A link stays: the file that it names is written. The temporary name keeps the suffix of `path`, since some writers
    (Pillow, matplotlib) choose the format by it. The system's errors name `path`, a folder of it that cannot be made,
    or the other file that they are about.
    """
    target = file_to_write(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with _errors_name(path, target):
        temporary = _begin(target)
        try:
            yield temporary
            os.chmod(temporary, 0o644)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def file_to_write(path: str | os.PathLike) -> Path:
    """The file that `path` means, links followed, there or not yet; OSError where something else has this name."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, NO_FILE, str(path))
    return Path(os.path.realpath(path))


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> Path:
    """Call `write(temporary_path)`, then move the finished file to `path`; on any error `path` is as it was."""
    with whole_file(path) as temporary:
        write(temporary)
    return Path(path)


def write_all(contents: Mapping[Path, bytes | str]) -> list[Path]:
    """Write several files, text as UTF-8; each is whole, and none is moved to its place before all are written."""
    with ExitStack() as stack:
        for path, content in contents.items():
            content = content.encode("utf-8") if isinstance(content, str) else content
            stack.enter_context(whole_file(path)).write_bytes(content)
    return list(contents)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write `text` as UTF-8, whole or not at all."""
    (written,) = write_all({Path(path): text})
    return written


def write_json(path: str | os.PathLike, value: Any) -> Path:
    """Write `value` as indented JSON; NaN and infinity are refused, since JSON has no such numbers."""
    return write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def work_folder(parent: str | os.PathLike, name: str) -> Iterator[Path]:
    """An empty folder inside `parent` that is removed at the end, and by the next call if this program is killed."""
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    remove_stale(parent, name)
    folder = Path(tempfile.mkdtemp(prefix=_prefix(name), dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Whether something has this name only while it is written, or because its writer was killed."""
    return TEMPORARY.match(path.name) is not None


def remove_stale(folder: Path, name: str) -> None:
    """Remove what programs of this machine that no longer run left in `folder` of writing `name`."""
    pattern = re.compile(rf"\.{re.escape(name[:LONGEST_STEM])}\.(\d+)@{re.escape(MACHINE)}\.")
    for entry in os.listdir(folder):
        found = pattern.match(entry)
        if found and not _runs(int(found[1])):
            left = folder / entry
            with suppress(OSError):  # another program may be cleaning, too
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _begin(target: Path) -> Path:
    """An empty file beside `target`, of a temporary name."""
    remove_stale(target.parent, target.stem)
    handle, name = tempfile.mkstemp(prefix=_prefix(target.stem), suffix=target.suffix, dir=target.parent)
    os.close(handle)
    return Path(name)


@contextmanager
def _errors_name(path: str | os.PathLike, target: Path) -> Iterator[None]:
    """Let an OSError name `path` where it names nothing (a full disk), the temporary file or the folder of both."""
    try:
        yield
    except OSError as error:
        named = str(error.filename)
        hidden = named == str(target.parent) or named.startswith(str(target.parent / _prefix(target.stem)))
        if error.errno is None or not (error.filename is None or hidden):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # of the same kind, by its number


def _prefix(name: str) -> str:
    return f".{name[:LONGEST_STEM]}.{os.getpid()}@{MACHINE}."


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's process, or no number of one
        return True
    return True
