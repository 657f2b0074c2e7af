"""JSON files to which several steps add: each reads, checked, the keys that it knows."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar, Union

from hpe.io.configs import from_dict
from hpe.io.errors import ConfigError, FileError
from hpe.io.files import read_json

C = TypeVar("C")


def read_record(kind: type[C], path: str | Path) -> C:
    """The dataclass in a JSON file; FileError names file and key. Keys that the dataclass does not know are left out.

    `hpe.io.configs.read_dataclass` refuses them instead.
    """
    return from_json(kind, known_part(kind, read_json(path)), str(path))


def from_json(kind: type[C], values: Any, where: str) -> C:
    """A JSON object as a dataclass; FileError names `where`, the key, and what belongs there."""
    try:
        return from_dict(kind, values)
    except ConfigError as error:
        raise FileError(f"{where}: {error}; restore the file or make it again") from None


def known_part(hint: Any, value: Any) -> Any:
    """`value` without the keys that the dataclass `hint` does not know, in nested ones likewise."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        return {name: known_part(hints[name], entry) for name, entry in value.items() if name in hints}
    if origin is dict and isinstance(value, dict):
        return {name: known_part(arguments[1], entry) for name, entry in value.items()}
    if origin in (list, tuple) and isinstance(value, list):
        return [known_part(arguments[0], entry) for entry in value]
    if origin in (Union, types.UnionType):
        nested = [choice for choice in arguments if dataclasses.is_dataclass(choice)]
        return known_part(nested[0], value) if nested else value
    return value
