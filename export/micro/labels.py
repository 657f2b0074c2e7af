"""What a classifier's outputs mean: a text file with one label a line, in the order of the outputs."""

from __future__ import annotations

from pathlib import Path

from export.errors import ExportError
from export.micro.flatbuffer import Model


def read_labels(path: str | Path, model: Model) -> list[str]:
    """The labels of a model, from a UTF-8 file.

    Raises:
        ExportError: the file cannot be read, has a line that is empty or cannot be printed, or more or fewer labels
            than the model has outputs.
    """
    outputs = model.output.elements
    if outputs < 2:
        raise ExportError(f"{model.path} has one output, so there is no highest one: leave out --labels.")
    try:
        labels = Path(path).read_text(encoding="utf-8").removeprefix("\ufeff").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ExportError(f"--labels {path} cannot be read: {reason}.") from error
    labels = [label.strip() for label in labels]
    while labels and not labels[-1]:
        labels.pop()
    for line, label in enumerate(labels, 1):
        if not label or not label.isprintable() or label.startswith("#"):
            what = "is empty" if not label else "begins with '#'" if label.isprintable() else "cannot be printed"
            raise ExportError(f"--labels {path}: line {line} {what}; give one label a line.")
    if len(labels) != outputs:
        raise ExportError(f"--labels {path} has {len(labels)} labels, {model.path} has {outputs} outputs.")
    return labels


def c_string(text: str) -> str:
    """Text as a C string literal in ASCII."""
    plain = set(range(32, 127)) - set(b'"\\?')  # ?? begins a trigraph
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
