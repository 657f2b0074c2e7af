"""The one error of this package."""


class ExportError(RuntimeError):
    """A model cannot be exported, read or run; the message is one sentence that names the file and the remedy."""
