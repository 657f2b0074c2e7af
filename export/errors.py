"""The errors of this package."""


class ExportError(RuntimeError):
    """A model cannot be exported, read or run; the message names the file and the remedy."""


class ModelFileError(ExportError, ValueError):
    """The file is no usable .tflite model; the message names the file and what is wrong with it."""
