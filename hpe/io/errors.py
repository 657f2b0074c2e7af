"""The base of every error that this application explains; what is not one of these keeps its traceback."""

from __future__ import annotations


class HpeError(Exception):
    """Something that the user can fix; the message says what is wrong, where, and what to do."""


class ConfigError(HpeError):
    """A setting that cannot be used; the message names the flag and what it may be."""


class FileError(HpeError, ValueError):
    """A file that cannot be used; the message names it and what to do."""


def install(extra: str) -> str:
    """What to type for an extra of this project."""
    return f"pip install '.[{extra}]' in a clone of the project"


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)
