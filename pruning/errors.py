"""The base of every error that this package explains; what is not one of these is a bug and keeps its traceback."""


class PruningError(ValueError):
    """Something that the caller can fix; the message says what is wrong, where, and what to do."""
