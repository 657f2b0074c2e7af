"""The one error of this package."""


class ExportError(RuntimeError):
    """A model cannot be exported, read or run; the message names the file and the remedy."""
