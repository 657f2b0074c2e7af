"""JSON read through dataclasses: every key is there and of its type, or one message names the file and the key."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from hpe.io.errors import HpeError
from hpe.io.files import read_json

C = TypeVar("C")


class RecordError(HpeError, ValueError):
    """A JSON file that does not hold what it should; the message names the file and the key."""


def read_record(kind: type[C], path: str | Path) -> C:
    """The JSON object of a file as a dataclass; keys that the dataclass does not know are left out."""
    return from_json(kind, read_json(path), str(path))


def from_json(kind: type[C], values: Any, where: str, strict: bool = False) -> C:
    """A JSON object as a dataclass, nested ones included; `strict` refuses unknown keys.

    Raises:
        RecordError: naming `where` and the key, if a key is missing, unknown or of a wrong type.
    """
    if not isinstance(values, Mapping):
        raise RecordError(f"{where}: {_shown(values)} where an object belongs; restore the file or make it again")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    unknown = set(values) - {field.name for field in fields}
    if strict and unknown:
        raise RecordError(f"{where}: unknown setting {', '.join(sorted(map(str, unknown)))}")
    found = {}
    for field in fields:
        place = f"{where}: {field.name}"
        if field.name in values:
            found[field.name] = _value(hints[field.name], values[field.name], place, strict)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise RecordError(f"{place} is missing; restore the file or make it again")
    return kind(**found)


def _value(hint: Any, value: Any, where: str, strict: bool) -> Any:
    """`value` as the type `hint` wants it: JSON's lists become tuples, its text paths, its objects dataclasses."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _first_that_fits(arguments, value, where, strict)
    if origin is Literal and value in arguments:
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json(hint, value, where, strict)
    if origin in (list, tuple) and isinstance(value, list):
        return origin(_value(arguments[0], item, f"{where}[{i}]", strict) for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _value(arguments[1], item, f"{where}[{key!r}]", strict) for key, item in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    wanted = getattr(hint, "__name__", str(hint)) if origin is None else str(hint).replace("typing.", "")
    raise RecordError(f"{where} is {_shown(value)}, not {wanted}; restore the file or make it again")


def _first_that_fits(choices: tuple[Any, ...], value: Any, where: str, strict: bool) -> Any:
    """The value as the first type of a union that takes it; the error is that of the type that comes nearest."""
    if value is None and type(None) in choices:
        return None
    error: RecordError | None = None
    for choice in choices:
        if choice is type(None):
            continue
        try:
            return _value(choice, value, where, strict)
        except RecordError as refused:
            error = error or refused
    raise error or RecordError(f"{where} is {_shown(value)}; restore the file or make it again")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
