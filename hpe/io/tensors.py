"""Named tensors in a safetensors file: written whole or not at all, read without pickle, errors in plain words."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hpe.io.errors import HpeError
from hpe.io.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor


class TensorFileError(HpeError, OSError):
    """A file of tensors that cannot be written or read; the message names it and the reason."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, and texts for the header of the file.

    Raises:
        TensorFileError: if the disk is full or the file may not be written; what was there before is still there.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        write_whole(path, lambda temporary: save_file(state, temporary, dict(metadata or {})))
    except SafetensorError as error:
        raise _not_written(path, _code(error), str(error)) from None
    except OSError as error:
        raise _not_written(path, error.errno, str(error)) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and the texts of its header.

    Raises:
        TensorFileError: if it is missing or no whole safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise TensorFileError(f"{path}: not a whole safetensors file ({error})") from None
    except (OSError, AttributeError) as error:  # a number type that torch does not know is an AttributeError
        raise TensorFileError(f"{path}: cannot be read ({error})") from None


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or infinity."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return name
    return None


def _code(error: Exception) -> int | None:
    """The number of an I/O error that safetensors reports as text (`... (os error 28)`)."""
    code = re.search(r"(?:os error |code: )(\d+)", str(error))
    return None if code is None else int(code[1])


def _not_written(path: Path, code: int | None, words: str) -> TensorFileError:
    """The error of a failed write, in the system's words and with its number, by which a full disk is known."""
    full = "; free some space" if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else ""
    error = TensorFileError(f"{path}: cannot be written ({words if code is None else os.strerror(code)}{full})")
    error.errno = code
    return error
